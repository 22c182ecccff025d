"""What becomes of one input, in the words of docs/wire.md."""

from __future__ import annotations

import json
from collections.abc import Iterator

from judging import JSON, answer, call, event, make_judge, message, request, text_result
from mitmproxy.test import tflow
from piping import make_rig

from mitmgate.errors import WireError
from mitmgate.judge.channels import ENDS_STREAM
from mitmgate.judge.inputs import AnswerInput, EventInput, Input, MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.limits import Limits
from mitmgate.mitm.events import StreamJudge
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import AnswerHead, Headers
from mitmgate.wire.strictjson import MOST_VALUES

CALL = json.dumps(message("tools/call", {"name": "get_x", "arguments": {"a": "b"}})).encode()
FINE = json.dumps(text_result("fine")).encode()
DEEP = b"[" * 10_000 + b"]" * 10_000
MANY = b"[" + b"[]," * MOST_VALUES + b"[]]"
LARGE = b" " * 50_000_000
LIMIT = Limits().event
SOCKET: Headers = (
    ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-protocol", "mcp"),
)  # fmt: skip


type Seen = tuple[str, str, str, str]
"""Verdict, code, rule, and what is read instead, in the words of the page."""


def seen(judge: Judge, *given: Input) -> Seen:
    """Judge *given*, and return what comes of the last of them."""
    for one in given[:-1]:
        judge.conclude(judge.prepare(one), now=0.0)
    prepared = judge.prepare(given[-1])
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    if outcome.verdict is Verdict.ALLOW:
        assert judge.edited(outcome, prepared) is None
        return "passed", "-", "-", "as it came"
    assert outcome.verdict is Verdict.DENY
    instead = judge.stop(outcome, prepared, "no")
    if outcome.kind in ("request", "answer"):
        reply = judge.reply(outcome, "no", instead)
        told = in_words(reply.status, reply.body)
    else:
        told = "nothing" if instead is None else in_words(200, instead.encode())
    return "denied", outcome.code, outcome.rule, told


def in_words(status: int, body: bytes) -> str:
    """Return what a client gets with *status* and *body*."""
    document = json.loads(body) if body else None
    if document is None:
        return str(status)
    if isinstance(document, list):
        return "a denial for each id"
    if "jsonrpc" not in document:
        return f"problem {status}"
    assert status == (200 if "result" in document else 400)
    if "result" in document:
        assert document["result"]["isError"] is True
        return "denial"
    code = document["error"]["code"]
    return f"error {code}" + (" without an id" if document["id"] is None else "")


def asked(*given: bytes | tuple[bytes, Headers] | RequestInput, host: str = "") -> Iterator[Seen]:
    """Try each of *given* as a request to an MCP endpoint, or to *host*, which has a rule."""
    where = {"host": host} if host else {}
    for one in given:
        body, headers = one if isinstance(one, tuple) else (one, JSON)
        if isinstance(body, RequestInput):
            yield seen(make_judge(), body)
        else:
            yield seen(make_judge(), request("POST", body=body, headers=headers, **where))


def answered(*given: bytes | tuple[bytes, Headers] | AnswerInput | EventInput) -> Iterator[Seen]:
    """Try each of *given* as an answer to a call with the id 1."""
    for one in given:
        body, headers = one if isinstance(one, tuple) else (one, JSON)
        found = body if not isinstance(body, bytes) else answer(body, headers=headers)
        yield seen(make_judge(), call("get_x"), found)


async def streamed(*chunks: bytes, encoding: str = "") -> Seen:
    """Try *chunks* as the events that answer a call with the id 1."""
    rig = make_rig()
    await rig.pipeline.decide(call("get_x"), connection="c")
    coding = (("content-encoding", encoding),) if encoding else ()
    head = AnswerHead(200, (("content-type", "text/event-stream"), *coding))
    out = b""
    try:
        stream = StreamJudge(rig.pipeline, tflow.tflow(), exchange="x", head=head)
        for chunk in chunks:
            out += b"".join(piece for piece in stream.feed(chunk) if isinstance(piece, bytes))
    except WireError as problem:
        ruling = rig.pipeline.fail("x", "event", problem.code, str(problem))
        last = rig.pipeline.judge.denial(ruling.outcome, ruling.detail)
        assert last is not None
        assert "The tool has run" in last
        outcome = ruling.outcome
        return "denied", outcome.code, outcome.rule, f"{in_words(200, last.encode())}, the end"
    assert out == b"".join(chunks) or encoding
    assert b'"fine"' in out
    return "passed", "-", "-", "the events, plain" if encoding else "as it came"


def opened(*given: str, host: str = "files.example", path: str = "/mcp") -> Iterator[Seen]:
    """Try each of *given* as the first event of a stream, of type ``endpoint``."""
    for data in given:
        stream = request("GET", host, path, headers=(("accept", "text/event-stream"),))
        verdict, code, rule, told = seen(make_judge(), stream, event(data, kind="endpoint"))
        assert told in ("nothing", "as it came")
        assert (told == "nothing") == (code in ENDS_STREAM)
        yield verdict, code, rule, "the end" if told == "nothing" else told


def framed(*given: str | bytes) -> Iterator[Seen]:
    """Try each of *given* as a message on a WebSocket, of the client and of the server."""
    for data in given:
        for from_client in (True, False):
            opening = request("GET", headers=SOCKET)
            yield seen(make_judge(), opening, MessageInput("x", 0, from_client, data))


def late(judge: Judge, *given: Input) -> Iterator[Seen]:
    """Try the last of *given*, after *judge* has seen the others."""
    yield seen(judge, *given)
