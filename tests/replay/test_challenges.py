"""Where a server says that its OAuth metadata is: replay finds it there again, and no secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from captures import POLICY, call

from mitmgate.judge.inputs import AnswerInput, EndInput, Input, RequestInput, Tunnel
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.replay.golden import read_golden
from mitmgate.serve.replaying import run_files
from mitmgate.wire.http import AnswerHead, RequestHead

type Record = Callable[[Sequence[Input]], Path]
SECRET = "s" + "ecret-Zq7Xw2Lm9Tr4Vb6Kd1Pf8Hs3"


def _challenged(challenge: str, target: str) -> list[Input]:
    """Return a call that is refused with *challenge*, and the request for *target* after it."""
    head = RequestHead("GET", "https", "files.example", 443, target, (("host", "files.example"),))
    refused = AnswerHead(401, (("www-authenticate", challenge),))
    return [
        call("a-1", "get", {}), AnswerInput("a-1", refused, b""), EndInput("a-1"),
        RequestInput("a-2", "192.0.2.7", head, "files.example", b"", Tunnel()), EndInput("a-2"),
    ]  # fmt: skip


CHALLENGES: dict[str, tuple[str, str, str | None]] = {
    "a place of its own": (
        'Bearer error="x", resource_metadata="https://files.example/meta"', "/meta",
        "oauth:metadata"),
    "a long place on a port": (
        'Bearer resource_metadata="https://files.example:443/custom/metadata/location.json"',
        "/custom/metadata/location.json", "oauth:metadata"),
    "a place without quotes": (
        "Bearer resource_metadata=https://files.example/meta, scope=a", "/meta", "oauth:metadata"),
    "another place": (
        'Bearer resource_metadata="https://files.example/other"', "/meta", None),
    "no place": ('Bearer realm="x"', "/meta", None),
    "a place with a secret in it": (
        f'Bearer resource_metadata="https://files.example/meta?token={SECRET}"',
        f"/meta?token={SECRET}", None),
    "a secret beside the place": (
        f'Bearer nonce="{SECRET}", resource_metadata="https://files.example/meta"', "/meta",
        "oauth:metadata"),
    "no URL": ('Bearer resource_metadata="]["', "/meta", None),
}  # fmt: skip


@pytest.mark.parametrize(("challenge", "target", "tool"), CHALLENGES.values(), ids=CHALLENGES)
def test_what_is_asked_for_after_a_challenge_replays_to_the_same(
    record: Record, challenge: str, target: str, tool: str | None
) -> None:
    capture = record(_challenged(challenge, target))
    golden = read_golden(golden_path(capture))
    assert golden is not None
    assert golden[2, "0"].tool == tool
    compared = run_files([capture], load_policy(POLICY, file="p.yaml"))
    stored_whole = SECRET not in target
    assert (compared.exit_code, compared.not_compared == 0) == (0, stored_whole)
    assert SECRET not in capture.read_text() + golden_path(capture).read_text()
