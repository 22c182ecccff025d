"""docs/wire.md tells what becomes of bad input: each row of its tables is tried out."""

from __future__ import annotations

import gzip
import inspect
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from bad_input import (
    CALL,
    DEEP,
    FINE,
    LARGE,
    LIMIT,
    MANY,
    Seen,
    answered,
    asked,
    framed,
    late,
    opened,
    streamed,
)
from judging import (
    JSON,
    MODERN,
    answer,
    call,
    event,
    make_judge,
    message,
    modern_call,
    post,
    text_result,
)
from judging import request as http
from markdown_it import MarkdownIt

from mitmgate.judge.batches import MOST_MESSAGES
from mitmgate.judge.inputs import AnswerInput, RequestInput
from mitmgate.judge.limits import Limits
from mitmgate.mitm.events import MOST_DENIED
from mitmgate.mitm.options import DEFAULTS
from mitmgate.mitm.sockets import PENDING_BYTES
from mitmgate.mitm.streams import QUEUED_BYTES
from mitmgate.wire.body import MAX_CODINGS, ZSTD_WINDOW
from mitmgate.wire.http import Headers
from mitmgate.wire.mirror import MOST_PARAMS
from mitmgate.wire.sessions import Sessions
from mitmgate.wire.strictjson import MOST_VALUES, parse_json

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "wire.md"
SOCKETS = ROOT / "tests" / "e2e" / "test_bad_wire.py"


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of the first table under the heading *title*, by their first cell."""
    tokens = iter(MarkdownIt().enable("table").parse(PAGE.read_text("utf-8")))
    heading = False
    for token in tokens:
        if heading and token.content == title:
            break
        heading = token.type == "heading_open"
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append(token.content.replace("`", ""))
        elif token.type == "table_close":
            break
    return {first: rest for first, *rest in rows[1:]}


UTF16: Headers = (("content-type", "application/json; charset=utf-16"),)
UTF7: Headers = (("content-type", "application/json; charset=utf-7"),)


def coded(*codings: str) -> Headers:
    return (*JSON, ("content-encoding", ", ".join(codings)))


def in_session(name: str, exchange: str, **rest: Any) -> RequestInput:
    return call("get_x", headers=(*JSON, ("mcp-session-id", name)), exchange=exchange, **rest)


def listening(session: str) -> RequestInput:
    headers = (("accept", "text/event-stream"), ("mcp-session-id", session))
    return http("GET", headers=headers, exchange="stream")


def renamed(session: str) -> AnswerInput:
    return answer(text_result("x", 1), headers=(*JSON, ("mcp-session-id", session)), exchange="a")


def put(old: bytes, new: bytes, text: bytes = CALL) -> bytes:
    assert text.count(old) == 1
    return text.replace(old, new)


def data(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"


EVENTS = data(FINE)
LINE = b"x" * 1000 + b"\n"
GZIP = gzip.compress
BOMB = GZIP(LARGE)
OTHER = "docs.example"
META = {"io.modelcontextprotocol/protocolVersion": MODERN}
MIRRORED: Headers = (
    *JSON, ("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "get_x"),
)  # fmt: skip
TWO_READINGS = (put(b'"id": 1', b'"id": 1, "id": 1'), put(b'"b"', DEEP), put(b'"b"', b"NaN"))

type Case = Callable[[], Iterator[Seen]]

CASES: dict[str, Case] = {
    "a request that is cut short, two of them, a comma too many": lambda: asked(
        CALL[:-3], CALL + CALL, put(b"}}}", b"},}}")),
    "a request that is no JSON, or nothing": lambda: asked(b"<html>", b"hello", b""),
    "a request 10,000 levels deep": lambda: asked(
        put(b'"b"', DEEP), put(b'"b"', b"[" * 128 + b"]" * 128)),
    "a request of 50 MB, or one that unpacks to it": lambda: asked(
        CALL + LARGE, (BOMB, coded("gzip")), (zlib.compress(CALL + LARGE), coded("deflate"))),
    "more than 1,000,000 values in one JSON text": lambda: asked(put(b'"b"', MANY)),
    "half a surrogate pair": lambda: asked(put(b'"b"', rb'"\ud800"'), put(b'"a"', rb'"\udfff"')),
    "bytes that are no UTF-8": lambda: asked(put(b'"b"', b'"\xff"')),
    "UTF-16 under its charset": lambda: asked((CALL.decode().encode("utf-16"), UTF16)),
    "UTF-16 that nothing announces": lambda: asked(
        CALL.decode().encode("utf-16"), CALL.decode().encode("utf-16-le")),
    "a charset that nobody here reads": lambda: asked((CALL, UTF7)),
    "a byte order mark of UTF-8": lambda: asked(b"\xef\xbb\xbf" + CALL),
    "NaN, Infinity, 1e999": lambda: asked(
        *(put(b'"b"', value) for value in (b"NaN", b"-Infinity", b"1e999"))),
    "the same key twice, at any depth": lambda: asked(
        put(b'"id": 1', b'"id": 1, "id": 1'), put(b'"b"', b'[{"x": {"y": 1, "y": 1}}]'),
        put(b'"method"', rb'"method": "ping", "m\u0065thod"')),
    "a protocol key in another spelling": lambda: asked(
        put(b'"params"', b'"Params"'), put(b'"name"', rb'"name": "y", "name\u0000"'),
        put(b'"arguments"', "\"argument\u017f\"".encode())),
    "a key that a rule reads, in another spelling": lambda: asked(
        *(call("push", {key: True}) for key in ("Force", "force\0", "\uff46orce"))),
    "a member that JSON-RPC does not know": lambda: asked(put(b'"id"', b'"x": 1, "id"')),
    "an id that is null, true, 1.5, 1.0 or an object": lambda: asked(
        *(put(b'"id": 1', b'"id": ' + i) for i in (b"null", b"true", b"1.5", b"1.0", b"{}"))),
    "an id that is 0, empty, or of thirty digits": lambda: asked(
        *(put(b'"id": 1', b'"id": ' + i) for i in (b"0", b'""', b"123456789" * 3 + b"123"))),
    "params that are a list": lambda: asked(b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}'),
    "a request and an answer in one, or another version": lambda: asked(
        put(b'"id"', b'"result": 1, "id"'), put(b'"2.0"', b'"1.0"')),
    "a header that disagrees with the body (2026-07-28)": lambda: asked(
        modern_call("get_x", mcp_name="get_y"), modern_call("get_x", mcp_method="ping"),
        post(message("tools/call", {"name": "get_x", "_meta": META}))),
    "no version in the body, 2026-07-28 in the header": lambda: asked((CALL, MIRRORED)),
    "two Content-Type, Content-Encoding or Mcp-Session-Id": lambda: asked(
        *((CALL, (*JSON, (name, "a"), (name, "b"))) for name in
          ("content-type", "content-encoding", "mcp-session-id"))),
    "up to three content codings, one upon the other": lambda: asked(
        (GZIP(GZIP(zlib.compress(CALL))), coded("deflate", "gzip", "gzip"))),
    "a content coding that nobody knows, or a fourth": lambda: asked(
        (CALL, coded("rot13")), (GZIP(GZIP(GZIP(GZIP(CALL)))), coded(*["gzip"] * 4))),
    "a content coding cut short, broken, or with more behind it": lambda: asked(
        (GZIP(CALL)[:-5], coded("gzip")), (CALL, coded("gzip")),
        (GZIP(CALL) + GZIP(CALL), coded("gzip"))),
    "a batch with one id twice": lambda: asked(b"[" + CALL + b"," + CALL + b"]"),
    "a batch of 1,001 messages": lambda: asked(
        post([message("ping", number=number) for number in range(MOST_MESSAGES + 1)])),
    "an empty batch, or one with something else in it": lambda: asked(b"[]", b"[1]", b"[[]]"),
    "a batch of 2026-07-28": lambda: asked((b"[" + CALL + b"]", MIRRORED)),
    "a client's answer to what no server asked": lambda: asked(
        FINE, b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'),
    "what has two readings, one of them JSON-RPC, for another host": lambda: asked(
        *TWO_READINGS, put(b'"b"', b'"\xff"'), CALL.decode().encode("utf-16-le"), host=OTHER),
    "what has two readings, none of them JSON-RPC, for another host": lambda: asked(
        b'{"a": 1, "a": 2}', b'{"a": NaN}', DEEP, b'"\xff"', host=OTHER),
    "a body of 50 MB for another host": lambda: asked(LARGE, (BOMB, coded("gzip")), host=OTHER),
    "an answer that is no message, or has two readings": lambda: answered(
        FINE[:-2], b"<html>", b'{"a": 1}', b"[]", put(b'"fine"', DEEP, FINE),
        put(b'"fine"', MANY, FINE),
        put(b"fine", b"\xff", FINE), put(b"fine", rb"\ud800", FINE),
        put(b'"fine"', b"NaN", FINE), put(b'"id"', b'"x": 1, "id"', FINE),
        put(b'"id": 1', b'"id": 1, "id": 1', FINE), put(b'"id": 1', b'"id": null', FINE),
        put(b'"result"', b'"Result"', FINE), FINE.decode().encode("utf-16")),
    "an answer of 50 MB, or one that unpacks to it": lambda: answered(
        FINE + LARGE, (BOMB, coded("gzip"))),
    "an answer whose content coding cannot be undone": lambda: answered(
        (FINE, coded("rot13")), (GZIP(FINE)[:-4], coded("gzip")), (FINE, coded(*["gzip"] * 4))),
    "an answer that is a page or plain text": lambda: answered(
        (b"<html>", (("content-type", "text/html"),)), (b"hi", (("content-type", "text/plain"),))),
    "an error status with JSON of its own": lambda: answered(answer({"error": "no"}, status=429)),
    "two content types, one of them of events": lambda: answered(
        (FINE, (*JSON, ("content-type", "text/event-stream"))),
        (FINE, (("content-type", "image/png;x=text/event-stream"),))),
    "two content types, none of them of events": lambda: answered(
        (FINE, (*JSON, ("content-type", "text/plain")))),
    "an answer to a request that was never sent": lambda: answered(
        answer(text_result("x", 2)), answer(text_result("x", "1"))),
    "such an answer in an event": lambda: answered(event(text_result("x", 2))),
    "a second answer to one request": lambda: late(
        make_judge(), call("get_x"), event(text_result("x")), event(text_result("x"))),
    "an answer on the stream of another session": lambda: late(
        make_judge(), in_session("s", "a"), listening("other"),
        event(text_result("x"), exchange="stream")),
    "a session id that changes": lambda: late(
        make_judge(), in_session("s", "a"), in_session("s", "b", number=2), renamed("t"),
        listening("t"), event(text_result("y", 2), exchange="stream")),
    "50 MB from another host": lambda: late(
        make_judge(), http("GET", OTHER), answer(LARGE, headers=(("content-type", "x/y"),))),
    "an event that is no message, or has two readings": lambda: answered(
        event("hello"), event(FINE[:-2].decode()), event("[" * 9999),
        event('{"jsonrpc":"2.0","id":1,"id":1,"result":{}}'),
        event('{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}')),
    "an endpoint event to another origin": lambda: opened("https://evil.example/messages"),
    "an endpoint event with a URL in two spellings, or of another server": lambda: chain(
        opened("/%6dessages", "/mcp;x", "/a//b"), opened("/mcp", path="/other")),
    "an endpoint event that is another protocol's": lambda: opened(
        "https://x.example/", host=OTHER),
    "a binary message, or text that is no UTF-8": lambda: framed(b"\0", b"\xff"),
    "a text message that is no message, or has two readings": lambda: framed(
        "hello", '"x"', "[]", CALL[:-3].decode(), DEEP.decode(),
        put(b'"id": 1', b'"id": 1, "id": 1').decode()),
    "a message of a WebSocket to nobody": lambda: framed(json.dumps(text_result("x"))),
}  # fmt: skip

STREAMS: dict[str, Callable[[], list[Awaitable[Seen]]]] = {
    "an event, or a line, larger than 8 MiB": lambda: [
        streamed(b"data: " + b"x" * LIMIT), streamed(*[b"data: " + LINE] * 9000)],
    "lines without a blank one for 8 MiB": lambda: [streamed(*[b": " + LINE] * 9000)],
    "an event that is no UTF-8": lambda: [streamed(b"data: \xff\n\n")],
    "a field behind a line end that only some know": lambda: [
        streamed(": hi\u2028data: {}\n\n".encode())],
    "1,001 events of one stream that are denied": lambda: [
        streamed(data(put(b'"id": 1', b'"id": 2', FINE)) * (MOST_DENIED + 1))],
    "a compressed stream that unpacks to 50 MB": lambda: [
        streamed(GZIP((b": " + b" " * 1_000_000 + b"\n\n") * 50), encoding="gzip")],
    "a compressed stream that is broken, or has more behind it": lambda: [
        streamed(EVENTS, encoding="gzip"),
        streamed(GZIP(b": hi\n\n") + EVENTS, encoding="gzip")],
    "a compressed stream that is cut short": lambda: [
        streamed(GZIP(EVENTS)[:-4], encoding="gzip")],
    "events without end": lambda: [streamed(EVENTS, *[b": still here\n\n"] * 1000)],
}  # fmt: skip
ON_SOCKETS = {
    "an event stream in a coding that nobody knows":
        "test_a_stream_in_an_unknown_coding_is_denied",
    "a WebSocket message larger than 8 MiB": "test_a_websocket_message_without_end_ends_it",
    "a compressed WebSocket message": "test_a_compressed_websocket_message_ends_it",
    "a WebSocket extension that was not offered": "test_an_extension_nobody_offered_ends_it",
}  # fmt: skip
BAD = table("Bad input")


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    cases = [*CASES, *STREAMS, *ON_SOCKETS]
    assert list(BAD) == sorted(BAD, key=list(BAD).index)
    assert set(BAD) == set(cases)
    assert len(cases) == len(set(cases))


def rows(name: str) -> set[Seen]:
    """Return what the row *name* says, once for each of its rules."""
    verdict, code, rules, told = BAD.get(name, ["?"] * 4)
    return {(verdict, code, rule, told) for rule in rules.split(", ")}


@pytest.mark.parametrize("name", CASES)
def test_what_the_row_says_is_what_happens(name: str) -> None:
    assert set(CASES[name]()) == rows(name)


@pytest.mark.parametrize("name", STREAMS)
async def test_what_the_row_says_is_what_happens_to_a_stream(name: str) -> None:
    assert {await one for one in STREAMS[name]()} == rows(name)


def test_what_only_sockets_show_is_tested_there() -> None:
    text = SOCKETS.read_text("utf-8")
    assert [name for name in ON_SOCKETS.values() if f"def {name}(" not in text] == []


MIB = 1024 * 1024
BOUNDS: dict[str, int] = {
    "a body, decoded": Limits().body,
    "an event": Limits().event,
    "an HTTP body on the wire": int(str(DEFAULTS["body_size_limit"]).removesuffix("m")) * MIB,
    "a WebSocket message": PENDING_BYTES,
    "what comes behind a held event": QUEUED_BYTES,
    "the window of zstd": ZSTD_WINDOW,
    "values in one JSON text": MOST_VALUES,
    "denied events of one stream": MOST_DENIED,
    "levels of JSON": inspect.signature(parse_json).parameters["max_depth"].default,
    "content codings, one upon the other": MAX_CODINGS,
    "messages of a batch": MOST_MESSAGES,
    "Mcp-Param headers of one tool": MOST_PARAMS,
    "exchanges that are open at once": Limits().exchanges,
    "conversations, endpoints, remembered answers, each": Limits().remembered,
    "requests without an answer yet": (
        inspect.signature(Sessions.__init__).parameters["open_limit"].default),
}  # fmt: skip


def test_the_limits_are_those_of_the_code() -> None:
    found = {}
    for name, (value, *_) in table("Limits").items():
        number, _, unit = value.partition(" ")
        found[name] = int(number.replace(",", "")) * (MIB if unit == "MiB" else 1)
    assert found == BOUNDS
