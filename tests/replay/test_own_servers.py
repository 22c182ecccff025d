"""A server whose path is a secret is known again at replay, and its path is in no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from captures import KEY, STARTED
from leaks import left

from mitmgate.judge.inputs import AnswerInput, EndInput, EventInput, Input, RequestInput, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import Policy, load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.ours import paths_of
from mitmgate.scan.engine import Scanner
from mitmgate.serve.replaying import run_files
from mitmgate.wire.http import AnswerHead, RequestHead

DRAWN = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
OTHER = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
HOST = "files.example"
SERVERS = {"one": f"/mcp/{DRAWN}", "two": f"/mcp/{OTHER}/**", "three": f"/{KEY}/mcp"}
RULES = """
mcp: {unknown_servers: deny, rules: [{id: reads, tool: [get], then: allow}], otherwise: deny}
scan: {secrets: {arguments: redact, results: redact}}
"""


def _policy(servers: dict[str, str]) -> Policy:
    lines = [f'  {name}: {{url: "https://{HOST}{path}"}}\n' for name, path in servers.items()]
    return load_policy(f"version: 1\nservers:\n{''.join(lines)}{RULES}", file="p.yaml")


def _call(exchange: str, path: str) -> list[Input]:
    told_of = f"https://{HOST}{path}" if DRAWN in path else ""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "get", "arguments": {"at": told_of}}}  # fmt: skip
    headers = (("host", HOST), ("content-type", "application/json"))
    head = RequestHead("POST", "https", HOST, 443, path, headers)
    asked = RequestInput(exchange, "192.0.2.7", head, HOST, json.dumps(body).encode(), Tunnel())
    told = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
    answer = AnswerHead(200, (("content-type", "application/json"),))
    return [asked, AnswerInput(exchange, answer, json.dumps(told).encode()), EndInput(exchange)]


def _legacy() -> list[Input]:
    """Return a stream of the older transport, whose server names the URL to post to."""
    head = RequestHead("GET", "https", HOST, 443, f"/mcp/{OTHER}/sse",
                       (("host", HOST), ("accept", "text/event-stream")))  # fmt: skip
    stream = AnswerHead(200, (("content-type", "text/event-stream"),))
    return [RequestInput("a-9", "192.0.2.7", head, HOST, b"", Tunnel()),
            EventInput("a-9", 0, "endpoint", f"/mcp/{OTHER}/messages", stream)]  # fmt: skip


@pytest.fixture
def captured(tmp_path: Path, scanner: Scanner) -> Path:
    policy = _policy(SERVERS)
    judge = Judge(policy, scanner)
    run = Run(policy.hash, judge.mode)
    recording = open_recording(tmp_path, scanner=scanner, run=run, clock=lambda: STARTED)
    assert recording.policy(policy.hash, judge.mode, [], paths_of(policy))
    inputs = [*_legacy(), *_call("a-1", f"/mcp/{DRAWN}"), *_call("a-2", f"/mcp/{OTHER}/messages"),
              *_call("a-3", f"/{KEY}/mcp"), *_call("a-4", f"/mcp/{DRAWN[::-1]}")]  # fmt: skip
    for given in inputs:
        outcome = judge.conclude(judge.prepare(given), now=STARTED)
        assert recording.input(given, now=STARTED)
        assert outcome is None or recording.outcome(outcome)
    recording.close()
    return recording.path


def _servers(capture: Path) -> list[tuple[str | None, str, str]]:
    lines = map(json.loads, golden_path(capture).read_text().splitlines())
    return [
        (line["server"], line["verdict"], line["rule"])
        for line in lines
        if line["tool"] == "get" and line["kind"] == "request"
    ]


def test_the_servers_are_known_again(captured: Path) -> None:
    assert _servers(captured) == [
        ("one", "allow", "reads"), ("two", "allow", "reads"), ("three", "deny", "scan.secrets"),
        (None, "deny", "unknown_servers"),
    ]  # fmt: skip
    compared = run_files([captured], _policy(SERVERS))
    assert (compared.exit_code, compared.differences) == (0, [])


def test_the_paths_are_in_no_file(captured: Path) -> None:
    texts = [path.read_text() for path in captured.parent.iterdir()]
    assert left(texts, [DRAWN, OTHER, KEY, DRAWN[::-1]]) == []


def test_a_server_that_the_policy_no_longer_names_is_seen(captured: Path) -> None:
    fewer = {name: path for name, path in SERVERS.items() if name != "two"}
    assert run_files([captured], _policy(fewer)).exit_code == 1


def test_a_path_that_was_rotated_since_is_the_servers_own(captured: Path) -> None:
    rotated = {**SERVERS, "one": f"/mcp/{DRAWN[1:]}0"}
    assert run_files([captured], _policy(rotated)).exit_code == 0
