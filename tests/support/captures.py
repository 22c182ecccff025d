"""A small policy, and captures of a little traffic that was judged by it, without a proxy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mitmgate.judge.choosing import KEEP_ALL, Keep
from mitmgate.judge.inputs import AnswerInput, DialInput, EndInput, Input, RequestInput, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Resolution
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.http import AnswerHead, RequestHead

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
BEARER = "hvAp0mZ1Jq7rTn5uWx3yLk9s"
STARTED = 1_777_887_000.0
POLICY = """version: 1
mode: enforce
servers:
  files: {url: "https://files.example/mcp/**"}
mcp:
  unknown_servers: ask
  rules:
    - {id: no-force, tool: push, where: {/arguments/force: {equals: true}}, then: deny}
    - {id: reads, tool: [get, list], then: allow}
  otherwise: ask
egress:
  rules:
    - {id: docs, host: [docs.example], methods: [GET, PUT], then: allow}
  otherwise: deny
scan:
  secrets: {arguments: redact, results: redact}
  injection: {results: deny}
"""


def call(
    exchange: str, tool: str, arguments: object, *, number: int = 1, host: str = "files.example"
) -> RequestInput:
    """Return a tools/call with a bearer in its head; *number* is its JSON-RPC id."""
    params = {"name": tool, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    headers = (("host", host), ("content-type", "application/json"),
               ("authorization", f"Bearer {BEARER}"))  # fmt: skip
    head = RequestHead("POST", "https", host, 443, "/mcp/x", headers)
    return RequestInput(exchange, "192.0.2.7", head, host, json.dumps(body).encode(), Tunnel())


def result(exchange: str, text: str, *, number: int = 1) -> AnswerInput:
    """Return the answer to a call."""
    content = [{"type": "text", "text": text}]
    body = {"jsonrpc": "2.0", "id": number, "result": {"content": content}}
    head = AnswerHead(200, (("content-type", "application/json"),))
    return AnswerInput(exchange, head, json.dumps(body).encode())


TRAFFIC: list[Input] = [
    call("a-1", "get", {"q": f"with {KEY}"}),
    DialInput("a-1", "192.0.2.7", "files.example", 443, ("198.51.100.1",)),
    call("a-2", "push", {"force": False}),
    result("a-1", f"found {KEY}"),
    EndInput("a-1"),
    result("a-2", "done"),
    EndInput("a-2"),
    call("a-3", "push", {"force": True}),
    EndInput("a-3"),
]


def record(
    folder: Path,
    inputs: Iterable[Input] = TRAFFIC,
    *,
    scanner: Scanner | None = None,
    keep: Keep = KEEP_ALL,
) -> Path:
    """Capture *inputs*, one each second; every question is answered by allow."""
    scanner = scanner or Scanner(installed_packs(), hash_key=b"k" * 32)
    judge = Judge(load_policy(POLICY, file="p.yaml"), scanner)
    run = Run(judge.policy.hash, judge.mode)
    recording = open_recording(folder, scanner=scanner, run=run, clock=lambda: STARTED, keep=keep)
    for second, given in enumerate(inputs):
        now = STARTED + second
        outcome = judge.conclude(judge.prepare(given), now=now)
        assert recording.input(given, now=now)
        if outcome is None:
            continue
        assert recording.outcome(outcome)
        if outcome.effective is Verdict.ASK:
            judge.apply_resolution(outcome, "allow")
            told = Resolution(outcome.id, "allow", "console", None, None, 0.0)
            assert recording.resolution(outcome, told)
    recording.close()
    assert recording.failure is None
    return recording.path
