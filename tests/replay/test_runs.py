"""A capture replays to what happened, whatever kind of run it was made by."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import EndInput, RequestInput, Shown, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.agents import hash_token
from mitmgate.policy.load import Policy, load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.lines import encode_line
from mitmgate.record.meta import meta_path
from mitmgate.replay.entries import CutLine, HeaderLine, InputLine, PolicyLine
from mitmgate.replay.golden import read_golden
from mitmgate.scan.canary import Canary, canary_pack
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve.replaying import pairs, read_lines_for, run_files
from mitmgate.wire.http import RequestHead

MORNING = datetime(2026, 5, 4, 9, 30, tzinfo=UTC).timestamp()  # a Monday
TOKEN = "t" * 32
HOURS = 'time: {from: "09:00", to: "10:00", days: [mon]}'
POLICY = """version: 1
servers: {files: {url: "https://files.example/mcp/**"}}
mcp:
  rules: [{id: no-force, tool: push, where: {/arguments/force: {equals: true}}, then: deny}]
  otherwise: ask
"""
HEAD = RequestHead(
    "POST", "https", "files.example", 443, "/mcp/x", (("content-type", "application/json"),)
)
CALL = (
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call",'
    b' "params": {"name": "push", "arguments": {"force": true}}}'
)
BATCH = b'[%s, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}]' % CALL
CANARY = Canary("notes", "password", ("Zq7Xw2Lm9Tr4Vb6Kd1Pf8Hs3",), "~/notes", "")
RUNS = {
    "an agent with a token": (
        POLICY + f'agents:\n  ann: {{tokens: ["{hash_token(TOKEN)}"]}}\n',
        False,
        "deny",
    ),
    "a rule in shadow mode": (
        POLICY.replace("tool: push,", "tool: push, mode: shadow,"),
        False,
        "ask",
    ),
    "a rule for the morning": (
        POLICY.replace("tool: push,", f"tool: push, {HOURS},"),
        False,
        "deny",
    ),
    "a run that enforces nothing": (POLICY, True, "deny"),
}


def _recorded(
    folder: Path, policy: str, scanner: Scanner, asked: RequestInput, *, shadow: bool = False
) -> tuple[Path, Policy, Outcome]:
    """Return a capture of one call that was judged in the morning, its policy and its outcome."""
    rules = load_policy(policy, file="p.yaml")
    judge = Judge(rules, scanner, shadow=shadow)
    recording = open_recording(
        folder, scanner=scanner, run=Run(rules.hash, judge.mode, shadow), clock=lambda: MORNING
    )
    canaries = [rule for rule in scanner.book.rules if rule.startswith("canary.")]
    assert recording.policy(rules.hash, judge.mode, canaries)
    outcome = judge.conclude(judge.prepare(asked), now=MORNING)
    assert outcome is not None
    assert recording.input(asked, now=MORNING)
    assert recording.outcome(outcome)
    assert recording.input(EndInput(asked.exchange), now=MORNING)
    recording.close()
    assert recording.failure is None
    return recording.path, rules, outcome


def _call(body: bytes = CALL, shown: Shown | None = None) -> RequestInput:
    return RequestInput("a1b2c3-1", "192.0.2.7", HEAD, "files.example", body, Tunnel(), shown)


@pytest.mark.parametrize(("policy", "shadow", "verdict"), RUNS.values(), ids=RUNS)
def test_it_replays_to_the_same(
    tmp_path: Path, scanner: Scanner, policy: str, *, shadow: bool, verdict: str
) -> None:
    shown = Shown("ann", hash_token(TOKEN)) if "agents:" in policy else None
    asked = _call(CALL, shown)
    capture, rules, outcome = _recorded(tmp_path, policy, scanner, asked, shadow=shadow)
    assert (outcome.verdict.word, outcome.enforced) == (verdict, not shadow)
    before = golden_path(capture).read_bytes()
    compared = run_files([tmp_path], rules)
    assert (compared.outcomes, compared.same, compared.unsealed) == (1, 1, 0)
    assert run_files([capture], rules, accept="different").updated
    assert golden_path(capture).read_bytes() == before


def test_a_canary_is_found_again_without_being_known(tmp_path: Path) -> None:
    scanner = Scanner([*installed_packs(), canary_pack([CANARY])], hash_key=b"k" * 32)
    body = CALL.replace(b'"force": true', b'"note": "take %s"' % CANARY.values[0].encode())
    policy = POLICY + "scan: {canary: {arguments: deny}}\n"
    capture, rules, outcome = _recorded(tmp_path, policy, scanner, _call(body))
    assert (outcome.verdict.word, outcome.code) == ("deny", "finding")
    assert CANARY.values[0] not in capture.read_text()
    assert run_files([capture], rules).exit_code == 0


def test_each_message_of_a_batch_has_its_golden_line(tmp_path: Path, scanner: Scanner) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call(BATCH))
    golden = read_golden(golden_path(capture))
    assert golden is not None
    assert [(one.message, one.method, one.verdict.word) for one in golden.values()] == [
        ("0", "batch", "deny"), ("0.0", "tools/call", "deny"), ("0.1", "tools/list", "allow"),
    ]  # fmt: skip
    lax = load_policy(POLICY.replace("then: deny", "then: allow"), file="p.yaml")
    assert run_files([capture], rules).exit_code == 0
    assert {one.line for one in run_files([capture], lax).weaker} == {2}
    assert len(run_files([capture], lax).weaker) == 2


def test_it_says_what_was_in_force_and_whose_call_it_was(tmp_path: Path, scanner: Scanner) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call())
    header, first, last, _close = read_lines_for(capture, rules)
    assert isinstance(header, HeaderLine)
    assert (header.policy, header.mode, header.run) == (rules.hash, "enforce", "a1b2c3")
    assert (header.started, header.keep, header.segment) == (MORNING, (), 1)
    assert isinstance(first, InputLine)
    assert isinstance(last, InputLine)
    assert (first.id, first.message, first.at) == ("a1b2c3-1", 0, MORNING)
    assert (last.id, last.message) == (None, 1)


def test_two_policies_are_compared_without_golden_files(tmp_path: Path, scanner: Scanner) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call())
    golden_path(capture).unlink()
    lax = load_policy(POLICY.replace("then: deny", "then: allow"), file="p.yaml")
    told = [
        [outcome.verdict.word for side in (pair.before, pair.after) for outcome in side.outcomes]
        for pair in pairs(read_lines_for(capture, rules), rules, lax)
    ]
    assert told == [["deny", "allow"], []]


def test_only_what_is_chosen_is_compared(tmp_path: Path, scanner: Scanner) -> None:
    capture, _, _ = _recorded(tmp_path, POLICY, scanner, _call())
    lax = load_policy(POLICY.replace("then: deny", "then: allow"), file="p.yaml")
    with pytest.raises(ConfigError, match="fits no outcome"):
        run_files([capture], lax, only=lambda one: one.tool == "pull")
    assert run_files([capture], lax, only=lambda one: one.verdict.word == "deny").exit_code == 3


def test_weaker_outcomes_are_accepted_when_that_is_said(tmp_path: Path, scanner: Scanner) -> None:
    capture, _, _ = _recorded(tmp_path, POLICY, scanner, _call())
    lax = load_policy(POLICY.replace("then: deny", "then: allow"), file="p.yaml")
    assert not run_files([capture], lax, accept="different").updated
    assert run_files([capture], lax, accept="weaker").updated
    assert run_files([capture], lax).exit_code == 0


def _with(capture: Path, *lines: dict[str, Any]) -> Path:
    """Return a copy of *capture* with *lines* between the call and its end."""
    header, call, *rest = capture.read_bytes().splitlines(keepends=True)
    end = json.loads(rest[-1]) | {"lines": 3 + len(lines)}
    copy = capture.with_name("copy.jsonl")
    body = b"".join(encode_line(line) for line in lines)
    copy.write_bytes(header + call + body + rest[0] + encode_line(end))
    golden_path(copy).write_bytes(golden_path(capture).read_bytes())
    return copy


def test_a_new_policy_and_a_cut_are_read(tmp_path: Path, scanner: Scanner) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call())
    copy = _with(
        capture,
        {"type": "policy", "policy": "sha256:2", "mode": "shadow", "canaries": [], "at": 1.0},
        {"type": "cut", "exchange": 1, "message": 1, "bytes": 17_000_000, "at": 2.0},
    )
    lines = list(read_lines_for(copy, rules))
    assert lines[2:4] == [
        PolicyLine(3, MORNING + 1, "sha256:2", "shadow", ()), CutLine(4, 1, 1, 17_000_000),
    ]  # fmt: skip
    compared = run_files([copy], rules)
    assert (compared.exit_code, compared.cut, compared.unsealed) == (0, 1, 1)


def test_what_was_carried_over_is_judged_and_not_compared(tmp_path: Path, scanner: Scanner) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call())
    text = capture.read_text().replace('"id":"a1b2c3-1"', '"id":"a1b2c3-1","carried":true')
    meta_path(capture).unlink()
    with pytest.raises(ConfigError, match="nothing was recorded here"):
        run_files([_written(capture, text)], rules)


def _written(capture: Path, text: str) -> Path:
    capture.write_text(text)
    return capture


REFUSED = {
    "an input that is there already": ('"message":1,', '"message":0,', "is there already"),
    "a negative exchange": ('"exchange":1,"message":1', '"exchange":-1,"message":1', "exchange is"),
    "a header without its mode": ('"mode":"enforce",', "", "missing keys: mode"),
    "canaries that are no list": ('"canaries":[]', '"canaries":"x"', "wrong type"),
    "a time in words": ('"at":0.0}', '"at":"now"}', "a time is not a number"),
    "a flag that is none": ('"shadow":false', '"shadow":0', "neither true nor false"),
}


@pytest.mark.parametrize(("old", "new", "message"), REFUSED.values(), ids=REFUSED)
def test_a_line_is_refused(
    tmp_path: Path, scanner: Scanner, old: str, new: str, message: str
) -> None:
    capture, rules, _ = _recorded(tmp_path, POLICY, scanner, _call())
    assert old in capture.read_text()
    _written(capture, capture.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        run_files([capture], rules)
