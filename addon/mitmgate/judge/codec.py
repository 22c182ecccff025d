"""Inputs to and from the lines of a capture, without their secrets.

Headers that no rule reads keep their name and get an opaque value, so that two of them stay
two; what a rule found in one keeps a placeholder, as in every other text.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, assert_never

from mitmgate.judge.bodies import (
    STORED_LIMIT,
    decode_stored_body,
    encode_body,
    incomplete_body,
    is_oauth,
    redactions_of,
    with_redactions,
)
from mitmgate.judge.hello import hello_record, with_hello
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
    Shown,
    Tunnel,
)
from mitmgate.judge.records import (
    completion_record,
    outcome_record,
    resolution_record,
)
from mitmgate.record.redact import Redacted, Redactor, Sample, expand
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

__all__ = [
    "completion_record",
    "decode_input",
    "encode_input",
    "incomplete_input",
    "is_incomplete",
    "is_lost",
    "outcome_record",
    "resolution_record",
]

_KEPT = frozenset(
    {"accept", "connection", "content-encoding", "content-type", "host", "mcp-method", "mcp-name",
     "mcp-protocol-version", "origin", "transfer-encoding", "upgrade", "user-agent"}
)  # fmt: skip
_WRAPPED = "=?base64?", "?="
_WITHHELD = "[withheld]"
_WITHHELD_HOST = "withheld.invalid"  # RFC 6761: nobody has this name
FAILED = "failed"


def encode_input(given: Input, redactor: Redactor) -> dict[str, Any]:
    """Return *given* as a record without secrets; its exchange is left to the caller."""
    match given:
        case ConnectInput():
            return {"type": "connect", "agent": given.agent,
                    "authority": _string(given.authority, redactor),
                    **_encode_shown(given.shown, redactor), **hello_record(given)}  # fmt: skip
        case RequestInput():
            return _encode_request(given, redactor)
        case DialInput():
            return {"type": "dial", "agent": given.agent, "host": given.host, "port": given.port,
                    "addresses": list(given.addresses), "static": given.static,
                    "own": [list(pair) for pair in given.own]}  # fmt: skip
        case AnswerInput():
            cut = given.unread is not None
            stored = encode_body(given.body, head=given.head, cut=cut, redactor=redactor)
            head = _encode_answer_head(given.head, redactor, decoded=stored.decoded)
            return {"type": "answer", "head": head, "body": stored.record,
                    **_encode_unread(given.unread)}  # fmt: skip
        case EventInput():
            return _encode_event(given, redactor)
        case MessageInput():
            return _encode_message(given, redactor)
        case EndInput():
            return {"type": "end"}
        case _:
            assert_never(given)


def incomplete_input(given: Input) -> dict[str, Any]:
    """Return the barest record of *given*, for one that could not be encoded or kept clean."""
    body = incomplete_body(0, FAILED)
    head: dict[str, Any]
    match given:
        case RequestInput():
            head = {"method": "POST", "scheme": given.head.scheme, "host": _WITHHELD_HOST,
                    "port": given.head.port, "target": "/", "headers": []}  # fmt: skip
            return {"type": "request", "agent": "", "head": head, "authority": None, "body": body,
                    "tunnel": None}  # fmt: skip
        case AnswerInput():
            head = {"status": given.head.status, "headers": []}
            return {"type": "answer", "head": head, "body": body}
        case EventInput():
            head = {"status": given.head.status, "headers": []}
            return {"type": "event", "number": given.number, "event": "message", "data": body,
                    "head": head}  # fmt: skip
        case MessageInput():
            return {"type": "message", "number": given.number, "from_client": given.from_client,
                    "data": body}  # fmt: skip
        case ConnectInput():
            return {"type": "connect", "agent": "", "authority": _WITHHELD}
        case DialInput():
            return {"type": "dial", "agent": "", "host": _WITHHELD_HOST, "port": given.port,
                    "addresses": [], "static": given.static, "own": []}  # fmt: skip
        case EndInput():
            return {"type": "end"}
        case _:
            assert_never(given)


def decode_input(record: Mapping[str, Any], exchange: str, sample: Sample) -> Input:
    """Return the input that :func:`encode_input` made *record* of, samples for its secrets.

    AttributeError, KeyError, OverflowError, TypeError or ValueError: the record is damaged.
    """
    match record["type"]:
        case "connect":
            target, shown = _text(record["authority"], sample), _decode_shown(record, sample)
            given = ConnectInput(exchange, _str(record["agent"]), target, shown)
            return with_hello(given, record)
        case "request":
            return _decode_request(record, exchange, sample)
        case "dial":
            return DialInput(
                exchange,
                _str(record["agent"]),
                _str(record["host"]),
                _int(record["port"]),
                tuple(map(_str, record["addresses"])),
                record["static"] is True,
                tuple((_str(host), _int(port)) for host, port in record["own"]),
            )
        case "answer":
            body = decode_stored_body(record["body"], sample)
            head = _decode_answer_head(record["head"], sample)
            return AnswerInput(exchange, head, body, _decode_unread(record))
        case "event":
            head = _decode_answer_head(record["head"], sample)
            data = decode_stored_body(record["data"], sample).decode("utf-8", "replace")
            event = _text(record["event"], sample)
            notes = tuple(_text(note, sample) for note in record.get("notes", ()))
            return EventInput(exchange, _int(record["number"]), event, data, head, notes)
        case "message":
            stored = decode_stored_body(record["data"], sample)
            text = None if "incomplete" in record["data"] else stored.decode("utf-8", "replace")
            return MessageInput(exchange, _int(record["number"]), record["from_client"] is True,
                                stored if text is None else text)  # fmt: skip
        case "end":
            return EndInput(exchange)
        case unknown:
            raise ValueError(f"unknown type {unknown!r}")


def is_incomplete(record: Mapping[str, Any]) -> bool:
    """Tell whether part of the input of *record* was not stored."""
    return is_lost(record) or any(_misses(record.get(part)) for part in ("body", "data"))


def is_lost(record: Mapping[str, Any]) -> bool:
    """Tell whether more than a body is missing: what it leads to says nothing then."""
    head = record.get("head", {})
    parts = [record.get("authority"), head.get("target"), head.get("method"), record.get("event")]
    parts += record.get("notes", ())
    parts += [value for _, value in head.get("headers", ())]
    bodies = [record.get("body"), record.get("data")]
    failed = any(_misses(body) and body["incomplete"] == FAILED for body in bodies if body)
    withheld = record.get("authority") == _WITHHELD or record.get("host") == _WITHHELD_HOST
    return failed or withheld or any(map(_misses, parts))


def _misses(part: object) -> bool:
    return isinstance(part, Mapping) and "incomplete" in part


def _encode_request(given: RequestInput, redactor: Redactor) -> dict[str, Any]:
    head, tunnel = given.head, given.tunnel
    cut = given.unread is not None
    stored = encode_body(given.body, head=head, cut=cut, redactor=redactor)
    authority = given.authority
    return {
        "type": "request",
        "agent": given.agent,
        "head": {
            "method": _string(head.method, redactor),
            "scheme": head.scheme,
            "host": head.host,
            "port": head.port,
            "target": _stored(redactor.target(head.target), "/"),
            "headers": _encode_headers(head.headers, redactor, decoded=stored.decoded),
        },
        "authority": None if authority is None else _string(authority, redactor),
        "body": stored.record,
        "tunnel": None if tunnel is None else [tunnel.connect, tunnel.sni],
        **_encode_shown(given.shown, redactor),
        **_encode_unread(given.unread),
    }


def _decode_request(record: Mapping[str, Any], exchange: str, sample: Sample) -> RequestInput:
    head, authority, tunnel = record["head"], record["authority"], record["tunnel"]
    if head["scheme"] not in ("http", "https"):
        raise ValueError("the scheme is neither http nor https")
    return RequestInput(
        exchange,
        _str(record["agent"]),
        RequestHead(
            _text(head["method"], sample),
            head["scheme"],
            _str(head["host"]),
            _int(head["port"]),
            _text(head["target"], sample),
            _decode_headers(head["headers"], sample),
        ),
        None if authority is None else _text(authority, sample),
        decode_stored_body(record["body"], sample),
        None if tunnel is None else Tunnel(*map(_optional, tunnel)),
        _decode_shown(record, sample),
        _decode_unread(record),
    )


def _encode_event(given: EventInput, redactor: Redactor) -> dict[str, Any]:
    data = given.data
    # An ``endpoint`` event names a URL whose query is the session's key.
    redacted = redactor.target(data) if given.event == "endpoint" else redactor.document(data)
    head = _encode_answer_head(given.head, redactor, decoded=False)
    stored = _encode_data(data, redacted)
    if is_oauth(data):
        stored = incomplete_body(len(data.encode("utf-8", "replace")), "oauth")
    record = {"type": "event", "number": given.number, "event": _string(given.event, redactor),
              "data": stored, "head": head}  # fmt: skip
    if given.notes:
        record["notes"] = [_string(note, redactor) for note in given.notes]
    return record


def _encode_message(given: MessageInput, redactor: Redactor) -> dict[str, Any]:
    if isinstance(given.data, bytes):
        stored = incomplete_body(len(given.data), "binary")
    else:
        stored = _encode_data(given.data, redactor.document(given.data))
    return {"type": "message", "number": given.number, "from_client": given.from_client,
            "data": stored}  # fmt: skip


def _encode_data(data: str, redacted: Redacted | None) -> dict[str, Any]:
    length = len(data.encode("utf-8", "replace"))
    if redacted is None or length > STORED_LIMIT:
        return incomplete_body(length, "secret" if redacted is None else "size")
    return with_redactions({"text": redacted.text}, redacted)


def _encode_answer_head(head: AnswerHead, redactor: Redactor, *, decoded: bool) -> dict[str, Any]:
    headers = _encode_headers(head.headers, redactor, decoded=decoded)
    return {"status": head.status, "headers": headers}


def _decode_answer_head(record: Mapping[str, Any], sample: Sample) -> AnswerHead:
    return AnswerHead(_int(record["status"]), _decode_headers(record["headers"], sample))


def _encode_headers(headers: Headers, redactor: Redactor, *, decoded: bool) -> list[list[Any]]:
    method = next((value for name, value in headers if name == "mcp-method"), "")
    stored: list[list[Any]] = []
    for name, value in headers:
        if name == "content-encoding" and decoded:
            stored.append([name, "identity"])
        elif name == "mcp-name":
            stored.append([name, _encode_name(value, redactor, opaque=method.startswith("tasks/"))])
        else:
            stored.append([name, _encode_header(name, value, redactor)])
    return stored


def _encode_header(name: str, value: str, redactor: Redactor) -> str | dict[str, Any]:
    if name in _KEPT:
        return _stored(redactor.string(value), _WITHHELD)
    if name == "content-length":
        return "0"  # the stored body has another length, and only its presence matters
    # What makes a head malformed must still be there when it is judged again.
    controls = "".join(char for char in value if char < " " or char == "\x7f")
    redacted = redactor.string(value, opaque=True)
    if controls and redacted is not None:
        redacted = Redacted(redacted.text + controls, redacted.redactions)
    return _stored(redacted, _WITHHELD)


def _encode_name(value: str, redactor: Redactor, *, opaque: bool) -> str | dict[str, Any]:
    """Redact an Mcp-Name header as the body's name was, or the two would no longer agree."""
    inner = _unwrapped(value)
    if inner is None:
        return _stored(redactor.string(value, opaque=opaque), _WITHHELD)
    stored = _stored(redactor.string(inner, opaque=opaque), _WITHHELD)
    record = stored if isinstance(stored, dict) else {"text": stored}
    return record | {"wrapped": True}


def _unwrapped(value: str) -> str | None:
    start, end = _WRAPPED
    if not (value.startswith(start) and value.endswith(end) and len(value) > len(start + end)):
        return None
    try:
        inner = b64decode(value[len(start) : -len(end)], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return inner if _wrapped(inner) == value else None


def _wrapped(inner: str) -> str:
    start, end = _WRAPPED
    return f"{start}{b64encode(inner.encode()).decode()}{end}"


def _decode_headers(stored: list[list[Any]], sample: Sample) -> Headers:
    return tuple((_str(name), _text(value, sample)) for name, value in stored)


def _string(text: str, redactor: Redactor) -> str | dict[str, Any]:
    return _stored(redactor.string(text), _WITHHELD)


def _stored(redacted: Redacted | None, instead: str) -> str | dict[str, Any]:
    """Return plain text where nothing was replaced, else a record; *instead* if it cannot be."""
    if redacted is None:
        return {"text": instead, "incomplete": "secret"}
    if not redacted.redactions:
        return redacted.text
    return with_redactions({"text": redacted.text}, redacted)


def _text(stored: Any, sample: Sample) -> str:
    if isinstance(stored, str):
        return stored
    text = expand(_str(stored["text"]), redactions_of(stored), sample)
    return _wrapped(text) if stored.get("wrapped") else text


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _optional(value: Any) -> str | None:
    return None if value is None else _str(value)


def _int(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _encode_unread(unread: int | None) -> dict[str, int]:
    return {} if unread is None else {"unread": unread}


def _decode_unread(record: Mapping[str, Any]) -> int | None:
    return _int(record["unread"]) if "unread" in record else None


def _encode_shown(shown: Shown | None, redactor: Redactor) -> dict[str, Any]:
    # The hash of a random token tells nobody the token.
    if shown is None:
        return {}
    name = _string(shown.name, redactor)
    return {"shown": {"name": name, "token_hash": shown.token_hash, "problem": shown.problem}}


def _decode_shown(record: Mapping[str, Any], sample: Sample) -> Shown | None:
    shown = record.get("shown")
    if shown is None:
        return None
    problem = shown["problem"]
    told = None if problem is None else _str(problem)
    return Shown(_text(shown["name"], sample), _str(shown["token_hash"]), told)
