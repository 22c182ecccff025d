"""Captures are looked through by the rules of a policy, its allow list and the planted canaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from captures import KEY

from mitmgate.cli.app import invoke
from mitmgate.policy.load import load_policy
from mitmgate.record.verify import look_at
from mitmgate.scan.canary import Canary
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve.canaries import save_canaries
from mitmgate.serve.state import hash_key
from mitmgate.serve.verifying import verifier

BAIT = "plain-words-as-bait"
POLICY = "version: 1\nmcp: {otherwise: deny}\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    hash_key(folder)
    return folder


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a.har"
    path.write_text(json.dumps({"log": {"comment": f"{BAIT} and {KEY}"}}))
    return path


def _found(path: Path, policy: str, state: Path | None) -> list[str]:
    rules = load_policy(policy, file=str(path.with_name("policy.yaml")))
    return [leak.rule for leak in look_at([path], verifier(rules, state)).found]


def test_a_planted_canary_is_no_text_to_commit(written: Path, state: Path) -> None:
    assert _found(written, POLICY, state) == ["secret.aws-access-key"]
    save_canaries(state, [Canary("bait", "password", (BAIT,), "the bin", "2026-01-01")])
    assert sorted(_found(written, POLICY, state)) == ["canary.bait", "secret.aws-access-key"]
    assert _found(written, POLICY, None) == ["secret.aws-access-key"]


def test_a_value_that_the_policy_allows_is_left_in_peace(written: Path, state: Path) -> None:
    known = Scanner(installed_packs(), hash_key=hash_key(state)).value_hash(KEY.encode())
    allowed = f"{POLICY}scan: {{allow: [{{value: {known}, reason: of the manual}}]}}\n"
    assert _found(written, allowed, state) == []
    assert _found(written, allowed, None) == ["secret.aws-access-key"]


def test_what_is_allowed_in_traffic_may_not_be_committed(written: Path, state: Path) -> None:
    allowed = f"{POLICY}scan: {{allow: [{{rule: secret.*, reason: a test}}]}}\n"
    assert _found(written, allowed, state) == ["secret.aws-access-key"]


def test_the_command_goes_by_the_canaries_of_the_state_folder(
    written: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_canaries(state, [Canary("bait", "password", (BAIT,), "the bin", "2026-01-01")])
    assert invoke(["capture", "verify", str(written), "--state-dir", str(state)]) == 1
    told = capsys.readouterr()
    assert "canary.bait" in told.out
    assert BAIT not in told.out + told.err
