"""A capture replays to what happened, whatever kind of run it was made by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mitmgate.judge.inputs import EndInput, RequestInput, Shown, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.agents import hash_token
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.replay.capture import read_capture
from mitmgate.replay.compare import Comparison
from mitmgate.replay.golden import read_golden, write_golden
from mitmgate.replay.run import replay
from mitmgate.scan.engine import Scanner
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


@pytest.mark.parametrize(("policy", "shadow", "verdict"), RUNS.values(), ids=RUNS)
def test_it_replays_to_the_same(
    tmp_path: Path, scanner: Scanner, policy: str, *, shadow: bool, verdict: str
) -> None:
    rules = load_policy(policy, file="p.yaml")
    judge = Judge(rules, scanner, shadow=shadow)
    recording = open_recording(
        tmp_path, scanner=scanner, run=Run(rules.hash, judge.mode, shadow), clock=lambda: MORNING
    )
    shown = Shown("ann", hash_token(TOKEN)) if "agents:" in policy else None
    asked = RequestInput("a", "192.0.2.7", HEAD, "files.example", CALL, Tunnel(), shown)
    outcome = judge.conclude(judge.prepare(asked), now=MORNING)
    assert outcome is not None
    assert (outcome.verdict.word, outcome.enforced) == (verdict, not shadow)
    assert recording.input(asked)
    assert recording.outcome(outcome)
    assert recording.input(EndInput("a"))
    recording.close()
    golden = read_golden(golden_path(recording.path))
    assert golden is not None
    replayed = replay(
        read_capture(recording.path, scanner.sample_for),
        lambda shadow: Judge(rules, scanner, shadow=shadow),
        scanner,
    )
    compared = Comparison()
    compared.add(recording.path, golden, replayed)
    assert (compared.outcomes, compared.same, compared.differences) == (1, 1, [])
    before = golden_path(recording.path).read_bytes()
    write_golden(golden_path(recording.path), replayed.outcomes.values())
    assert golden_path(recording.path).read_bytes() == before
