"""``mitmgate learn``: a patch that applies, and does what it says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mitmgate.cli.app import invoke
from mitmgate.policy.call import request_call
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.load import load_policy_file

POLICY = """\
version: 1
# people are asked about everything
egress:
  rules:
    # never there
    - {id: never, host: never.example, then: deny}
    - id: asks  # for now
      host: "*.example"
      then: ask
  otherwise: deny
"""
TIME = "2999-01-01T00:00:00.000Z"


def decision(number: int, url: str, **more: Any) -> dict[str, Any]:
    return {
        "v": 1, "time": TIME, "type": "decision", "id": f"{number}.0", "exchange": str(number),
        "kind": "request", "channel": "egress", "agent": "10.0.0.1", "server": None,
        "host": url.split("/")[2], "port": 443, "endpoint": url, "method": "GET", "tool": None,
        "verdict": "ask", "enforced": True, "rule": "asks", "code": "rule", "reason": "r", **more,
    }  # fmt: skip


def answer(number: int, word: str) -> dict[str, Any]:
    return {"v": 1, "time": TIME, "type": "resolution", "id": f"{number}.0", "answer": word,
            "via": "shell", "operator": "eva", "reason": None, "waited": 1.0}  # fmt: skip


RECORDS = [
    {"v": 1, "time": TIME, "type": "policy", "result": "applied"},
    decision(1, "https://api.example/v1/items"), answer(1, "allow"),
    decision(2, "https://bad.example/steal"), answer(2, "deny"),
    decision(3, "https://new.other/x", verdict="deny", rule="otherwise", code="otherwise"),
    decision(4, "https://late.example/x"),
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    text = "".join(f"{json.dumps(record)}\n" for record in RECORDS)
    (tmp_path / "audit" / "audit.jsonl").write_text(text)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def learned(state: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    assert invoke(["learn", "--state-dir", str(state), *more]) == 0
    return capsys.readouterr().out


def verdicts(path: Path) -> dict[str, str]:
    policy = load_policy_file(path)
    urls = ("api.example/v1/items", "api.example/v1", "bad.example/steal", "bad.example/",
            "new.other/x", "new.other/", "late.example/x")  # fmt: skip
    calls = {url: request_call(f"https://{url}", "GET", "10.0.0.1") for url in urls}
    return {url: decide_egress(policy, call).verdict.word for url, call in calls.items()}


def test_the_patch_applies_and_opens_what_was_approved_and_no_neighbour(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patch = learned(state, capsys)
    assert (state / "policy.yaml").read_text() == POLICY
    done = subprocess.run(["patch"], input=patch, text=True, cwd=state, check=False,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert verdicts(state / "policy.yaml") == {
        "api.example/v1/items": "allow", "api.example/v1": "ask",
        "bad.example/steal": "deny", "bad.example/": "ask",
        "new.other/x": "ask", "new.other/": "deny", "late.example/x": "ask",
    }  # fmt: skip
    kept = (state / "policy.yaml").read_text()
    assert all(comment in kept for comment in ("# people are", "# never there", "# for now"))


def test_a_policy_whose_rules_stand_on_one_line(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = '{id: asks, host: "*.example", then: ask}'
    (state / "policy.yaml").write_text(f"version: 1\negress: {{rules: [{rule}]}}\n")
    patch = learned(state, capsys)
    subprocess.run(["patch"], input=patch, text=True, cwd=state, check=True, capture_output=True)
    assert verdicts(state / "policy.yaml")["api.example/v1/items"] == "allow"


def test_what_it_loosens_and_leaves_out_is_told_first(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = learned(state, capsys).splitlines()
    assert lines[:4] == [
        "# 3 rules proposed; nothing was changed.",
        "# left out: late.example: asked, and nobody answered (1 times)",
        "# loosens: rule learned-api.example is new and allows, above asks",
        "# loosens: rule learned-new.other is new and asks",
    ]


def test_the_policy_that_the_patch_gives_teaches_nothing_more(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(learned(state, capsys, "--json"))
    assert [rule["then"] for rule in found["rules"]] == ["deny", "allow", "ask"]
    assert found["still_other"] == []


def test_without_a_policy_file_the_patch_makes_one(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "policy.yaml").unlink()
    patch = learned(state, capsys)
    subprocess.run(["patch"], input=patch, text=True, cwd=state, check=True, capture_output=True)
    assert verdicts(state / "policy.yaml")["api.example/v1/items"] == "allow"


def test_nothing_to_learn(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "audit" / "audit.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    assert learned(state, capsys) == "# no rules proposed; nothing was changed.\n"


def test_a_time_that_is_none(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["learn", "--since", "x", "--state-dir", str(state)]) == 2
    assert "--since" in capsys.readouterr().err
