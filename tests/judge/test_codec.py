"""Inputs survive a capture: exactly, but for their secrets and what could not be stored."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.judge.codec import decode_input, encode_input, incomplete_input, is_incomplete
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    RequestInput,
    Tunnel,
)
from mitmgate.record.redact import Redactor
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

SCANNER = Scanner(installed_packs(), hash_key=b"k" * 32)
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
SAMPLE = SCANNER.sample_for("secret.aws-access-key", 1)
JSON_HEAD = (("host", "h.example"), ("content-type", "application/json"))


def _request(
    body: bytes = b"", headers: Headers = JSON_HEAD, target: str = "/mcp", method: str = "POST"
) -> RequestInput:
    head = RequestHead(method, "https", "h.example", 443, target, headers)
    return RequestInput("7", "agent", head, "h.example", body, Tunnel("h.example:443", None))


def _stored(given: Input) -> dict[str, Any]:
    record = encode_input(given, Redactor(SCANNER, key=b"r" * 32))
    again: dict[str, Any] = json.loads(json.dumps(record))
    return again


def _again(given: Input) -> Input:
    return decode_input(_stored(given), "7", SCANNER.sample_for)


def _headers(given: Input) -> dict[str, str]:
    decoded = _again(given)
    assert isinstance(decoded, RequestInput)
    return dict(decoded.head.headers)


HEAD = AnswerHead(200, (("content-type", "text/event-stream"),))
WHOLE: dict[str, Input] = {
    "a CONNECT": ConnectInput("7", "agent", "h.example:443"),
    "a request without a body": _request(method="GET"),
    "a JSON request": _request(b'{"jsonrpc": "2.0", "id": 1.0, "x": [1e3, "\\u00e4"]}'),
    "damaged JSON": _request(b'{"id":1,"id":2,'),
    "a body with a byte order mark": _request(b"\xef\xbb\xbf{}"),
    "a body in UTF-16": _request("{}".encode("utf-16-le"),
                                 (("content-type", "application/json; charset=utf-16le"),)),
    "two Host headers": _request(headers=(("host", "a"), ("host", "b"))),
    "a request in reverse mode": RequestInput("7", "a", _request().head, None, b"x", None),
    "addresses": DialInput("7", "agent", "h.example", 443, ("::1", "10.0.0.1"), True,
                           (("127.0.0.1", 8080),)),
    "an answer": AnswerInput("7", AnswerHead(404, JSON_HEAD), b"not found"),
    "an event": EventInput("7", 3, "message", '{"jsonrpc":"2.0"}', HEAD),
    "an event with lines": EventInput("7", 0, "note", "a\nb\r\u2028", HEAD),
    "an end": EndInput("7"),
}  # fmt: skip


@pytest.mark.parametrize("given_input", WHOLE.values(), ids=WHOLE)
def test_it_comes_back_as_it_was(given_input: Input) -> None:
    assert _again(given_input) == given_input
    assert not is_incomplete(_stored(given_input))


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "image/png"]))
def test_any_body_comes_back_or_is_incomplete(body: bytes, media: str) -> None:
    given_input = _request(body, (("content-type", media),))
    if is_incomplete(_stored(given_input)):
        again = _again(given_input)
        assert isinstance(again, RequestInput)
        assert len(again.body) == len(body)
    else:
        assert _again(given_input) == given_input


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_event_comes_back(data: str) -> None:
    given_input = EventInput("7", 0, "message", data, HEAD)
    assert is_incomplete(_stored(given_input)) or _again(given_input) == given_input


@given(st.lists(st.tuples(st.text(max_size=8), st.text(st.characters(max_codepoint=255)))))
def test_any_headers_keep_their_names_and_order(headers: list[tuple[str, str]]) -> None:
    again = _again(_request(headers=tuple(headers)))
    assert isinstance(again, RequestInput)
    assert [name for name, _ in again.head.headers] == [name for name, _ in headers]


TOKENS = b'{"access_token": "a-word-of-no-shape", "expires_in": 3600'
OF_OAUTH: dict[str, Input] = {
    "an answer": AnswerInput("7", AnswerHead(200, JSON_HEAD), TOKENS + b"}"),
    "an answer that is cut": AnswerInput("7", AnswerHead(200, JSON_HEAD), TOKENS, 9999),
    "lines": AnswerInput("7", AnswerHead(200, JSON_HEAD), TOKENS + b"}\n" + TOKENS + b"}\n"),
    "a line": EventInput("7", 0, "message", f"{TOKENS.decode()}}}", HEAD),
    "a line that is cut": EventInput("7", 0, "message", TOKENS.decode(), HEAD),
}


@pytest.mark.parametrize("given_input", OF_OAUTH.values(), ids=OF_OAUTH)
def test_of_tokens_nothing_is_stored(given_input: Input) -> None:
    stored = _stored(given_input)
    assert is_incomplete(stored)
    assert "no-shape" not in json.dumps(stored)


def test_a_compressed_body_is_stored_as_text() -> None:
    headers = (*JSON_HEAD, ("content-encoding", "gzip"), ("content-length", "99"))
    again = _again(_request(gzip.compress(b'{"a":1}'), headers))
    assert isinstance(again, RequestInput)
    assert again.body == b'{"a":1}'
    assert again.head.get("content-encoding") == "identity"


def test_headers_that_no_rule_reads_lose_their_value_but_not_their_place() -> None:
    secret = ("authorization", "Bearer sesame")
    stored = _headers(_request(headers=(secret, ("x-custom", "value"), ("mcp-session-id", "s1"))))
    assert set(stored) == {"authorization", "x-custom", "mcp-session-id"}
    assert all(value.startswith("[opaque:") for value in stored.values())


def test_a_malformed_header_stays_malformed() -> None:
    assert "\r" in _headers(_request(headers=(("x-a", "one\rtwo"),)))["x-a"]


def test_a_secret_is_found_in_the_same_header_again() -> None:
    assert SAMPLE in _headers(_request(headers=(("x-a", f"see {KEY} here"),)))["x-a"]


NAMES = {
    "plain": ("tools/call", {"name": f"run {KEY}"}, f"run {KEY}", f"run {SAMPLE}"),
    "a task": ("tasks/get", {"taskId": "t1"}, "t1", None),
    "a resource with a key in its query": (
        "resources/read", {"uri": "https://h/x?token=abc"}, "https://h/x?token=abc", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("method", "params", "name", "stored"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "in base64"])
def test_the_name_in_the_head_still_agrees_with_the_body(
    method: str, params: dict[str, str], name: str, stored: str | None, *, wrapped: bool
) -> None:
    shown = f"=?base64?{b64encode(name.encode()).decode()}?=" if wrapped else name
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    again = _again(_request(body, (*JSON_HEAD, ("mcp-method", method), ("mcp-name", shown))))
    assert isinstance(again, RequestInput)
    told = next(iter(json.loads(again.body)["params"].values()))
    head = again.head.get("mcp-name")
    assert head == (f"=?base64?{b64encode(told.encode()).decode()}?=" if wrapped else told)
    assert told != name or name == stored
    assert stored is None or told == stored


INCOMPLETE = {
    "a picture": _request(b"\x89PNG\xff", (("content-type", "image/png"),)),
    "a broken compression": _request(b"xx", (*JSON_HEAD, ("content-encoding", "gzip"))),
    "more than a capture keeps": _request(b"[" + b"1," * 600_000 + b"1]"),
    "a secret in a key": _request(json.dumps({KEY: 1}).encode()),
    "a form with parts": _request(b"--x\r\n", (("content-type", "multipart/form-data"),)),
}


@pytest.mark.parametrize("given_input", INCOMPLETE.values(), ids=INCOMPLETE)
def test_what_cannot_be_stored_is_incomplete(given_input: RequestInput) -> None:
    stored = _stored(given_input)
    assert is_incomplete(stored)
    assert "text" not in stored["body"]


@pytest.mark.parametrize("given_input", WHOLE.values(), ids=WHOLE)
def test_the_barest_record_reads_back_too(given_input: Input) -> None:
    decoded = decode_input(incomplete_input(given_input), "7", SCANNER.sample_for)
    assert type(decoded) is type(given_input)


DAMAGED: dict[str, dict[str, Any]] = {
    "an unknown type": {"type": "other"},
    "no type": {},
    "a missing field": {"type": "connect"},
    "a wrong scheme": {**_stored(_request()), "head": {"scheme": "ftp"}},
    "an unknown charset": {**_stored(WHOLE["an answer"]), "body": {"text": "", "charset": "rot13"}},
    "a redaction that lies outside": {
        **_stored(WHOLE["an answer"]),
        "body": {"text": "a", "redactions": [{"pointer": "", "start": 5, "end": 9,
                 "rule": "secret.aws-access-key", "number": 1, "quoted": False}]},
    },
}  # fmt: skip


@pytest.mark.parametrize("record", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_input(record, "7", SCANNER.sample_for)
