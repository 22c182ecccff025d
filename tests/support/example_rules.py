"""Makes the capture of the example repository anew: ``python tests/support/example_rules.py``.

Run it where the format of captures or the policy of the example changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mitmgate.judge.inputs import AnswerInput, DialInput, EndInput, Input, RequestInput, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Resolution
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy_file
from mitmgate.policy.verdict import Verdict
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.serve.replaying import scanner_for
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-rules"
STARTED = 1_790_000_000.0
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
_JSON: Headers = (("content-type", "application/json"),)
_TOOLS = [
    {"name": name, "description": text, "inputSchema": {"type": "object"}}
    for name, text in (("read_note", "Read a note."), ("save_note", "Save a note."),
                       ("delete_notes", "Delete notes."))
]  # fmt: skip
_HELLO = {
    "protocolVersion": "2025-06-18", "capabilities": {},
    "clientInfo": {"name": "example", "version": "1"},
}  # fmt: skip
_WELCOME = {
    "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
    "serverInfo": {"name": "notes", "version": "1"},
}  # fmt: skip


class Talk:
    """A conversation of one client; each of its methods gives the inputs of one exchange."""

    def __init__(self, host: str = "notes.example") -> None:
        self._host, self._count = host, 0

    def asks(self, method: str, params: Any, result: Any) -> Iterator[Input]:
        """Yield an MCP request, and the answer with that *result*."""
        self._count += 1
        number, name = self._count, f"example-{self._count:x}"
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        told = {"jsonrpc": "2.0", "id": number, "result": result}
        head = self._head("POST", self._host, "/mcp", _JSON)
        yield self._sent(name, head, json.dumps(message).encode())
        yield AnswerInput(name, AnswerHead(200, _JSON), json.dumps(told).encode())
        yield EndInput(name)

    def calls(self, tool: str, arguments: dict[str, Any], text: str = "ok") -> Iterator[Input]:
        """Yield a call of *tool*, and an answer with *text*."""
        params = {"name": tool, "arguments": arguments}
        return self.asks("tools/call", params, {"content": [{"type": "text", "text": text}]})

    def gets(self, host: str, target: str) -> Iterator[Input]:
        """Yield a GET, and a page."""
        self._count += 1
        name = f"example-{self._count:x}"
        yield self._sent(name, self._head("GET", host, target, ()))
        yield DialInput(name, "127.0.0.1", host, 443, ("1.1.1.1",))
        yield AnswerInput(name, AnswerHead(200, (("content-type", "text/plain"),)), b"a page\n")
        yield EndInput(name)

    @staticmethod
    def _head(method: str, host: str, target: str, headers: Headers) -> RequestHead:
        return RequestHead(method, "https", host, 443, target, (("host", host), *headers))

    @staticmethod
    def _sent(name: str, head: RequestHead, body: bytes = b"") -> RequestInput:
        tunnel = Tunnel(f"{head.host}:443", head.host)
        return RequestInput(name, "127.0.0.1", head, head.host, body, tunnel)


def traffic() -> Iterator[Iterator[Input]]:
    talk = Talk()
    yield talk.asks("initialize", _HELLO, _WELCOME)
    yield talk.asks("tools/list", {}, {"tools": _TOOLS})
    yield talk.calls("read_note", {"title": "plants"}, "Water the plants.")
    yield talk.calls("read_note", {"title": "keys"}, f"The key is {KEY}.")
    yield talk.calls("read_note", {"title": KEY})
    yield talk.calls("save_note", {"title": "plants", "text": "Done."}, "Saved.")
    yield talk.calls("delete_notes", {"force": True})
    yield talk.gets("docs.example", "/guide")
    yield talk.gets("paste.example", "/new")


def record(policy_file: Path, folder: Path, name: str) -> Path:
    """Judge the traffic by that policy and write its capture *name* into *folder*."""
    policy = load_policy_file(policy_file)
    scanner = scanner_for(policy)
    judge = Judge(policy, scanner)
    recording = open_recording(
        folder, scanner=scanner, run=Run(policy.hash, judge.mode), clock=lambda: STARTED
    )
    for seconds, exchange in enumerate(traffic()):
        now = STARTED + seconds
        for given in exchange:
            outcome = judge.conclude(judge.prepare(given), now=now)
            assert recording.input(given, now=now)
            if outcome is None:
                continue
            assert recording.outcome(outcome)
            if outcome.effective is Verdict.ASK:
                judge.apply_resolution(outcome, "allow")
                answer = Resolution(outcome.id, "allow", "console", None, None, 0.0)
                assert recording.resolution(outcome, answer)
            elif outcome.effective is Verdict.DENY:
                recording.input(EndInput(given.exchange), now=now)
                judge.conclude(EndInput(given.exchange), now=now)
                break
    recording.close()
    assert recording.failure is None
    capture = folder / f"{name}.jsonl"
    for path in (golden_path, meta_path):
        path(recording.path).rename(path(capture))
    return recording.path.rename(capture)


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLE
    print(record(where / "policy.yaml", where / "captures", "notes"))  # noqa: T201
