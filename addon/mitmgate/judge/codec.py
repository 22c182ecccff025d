"""Inputs to and from the lines of a capture, without their secrets.

All strings of an input are looked through at once; most hold nothing, and are then only read for
what is secret by its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from mitmgate.judge.bodies import (
    STORED_LIMIT,
    decode_stored_body,
    encode_body,
    incomplete_body,
    is_oauth,
    with_redactions,
)
from mitmgate.judge.headers_stored import (
    WITHHELD,
    Body,
    StoredText,
    as_str,
    decode_headers,
    decode_text,
    encode_headers,
    header_texts,
    learn_headers,
    stored_text,
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
from mitmgate.record.expansion import Redacted, Sample
from mitmgate.record.redact import Redactor, strings_of
from mitmgate.wire.http import AnswerHead, RequestHead
from mitmgate.wire.mirror import decode_value
from mitmgate.wire.surfaces import Surface, Text

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

_WITHHELD_HOST = "withheld.invalid"  # RFC 6761: nobody has this name
FAILED = "failed"
_PARAM = "mcp-param-"


def encode_input(given: Input, redactor: Redactor) -> dict[str, Any]:
    """Return *given* as a record without secrets; its exchange is left to the caller.

    ``redactor.vouched`` then says whether every string of it was seen to hold none.
    """
    redactor.vouched = True
    match given:
        case ConnectInput():
            return _encode_connect(given, redactor)
        case RequestInput():
            return _encode_request(given, redactor)
        case DialInput():
            with redactor.screened(_texts(given.agent, given.host)):
                own = [list(pair) for pair in given.own]
                return {"type": "dial", "agent": given.agent, "host": given.host,
                        "port": given.port, "addresses": list(given.addresses),
                        "static": given.static, "own": own}  # fmt: skip
        case AnswerInput():
            return _encode_answer(given, redactor)
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
            return {"type": "connect", "agent": "", "authority": WITHHELD}
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
            target, shown = decode_text(record["authority"], sample), _decode_shown(record, sample)
            given = ConnectInput(exchange, as_str(record["agent"]), target, shown)
            return with_hello(given, record)
        case "request":
            return _decode_request(record, exchange, sample)
        case "dial":
            return DialInput(
                exchange,
                as_str(record["agent"]),
                as_str(record["host"]),
                _int(record["port"]),
                tuple(map(as_str, record["addresses"])),
                record["static"] is True,
                tuple((as_str(host), _int(port)) for host, port in record["own"]),
            )
        case "answer":
            body = decode_stored_body(record["body"], sample)
            head = _decode_answer_head(record["head"], sample)
            return AnswerInput(exchange, head, body, _decode_unread(record))
        case "event":
            head = _decode_answer_head(record["head"], sample)
            data = decode_stored_body(record["data"], sample).decode("utf-8", "replace")
            event = decode_text(record["event"], sample)
            notes = tuple(decode_text(note, sample) for note in record.get("notes", ()))
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
    withheld = record.get("authority") == WITHHELD or record.get("host") == _WITHHELD_HOST
    return failed or withheld or any(map(_misses, parts))


def _misses(part: object) -> bool:
    return isinstance(part, Mapping) and "incomplete" in part


def _texts(*strings: str | None) -> list[Text]:
    """Return *strings* as one text: what is found between two of them is looked at once more."""
    told = "\n".join(filter(None, strings))
    return [Text(Surface.ARGUMENTS, "", told)] if told else []


def _encode_connect(given: ConnectInput, redactor: Redactor) -> dict[str, Any]:
    hello, shown = hello_record(given), given.shown
    sni = hello["hello"]["sni"] if hello else None
    name = None if shown is None else shown.name
    with redactor.screened(_texts(given.agent, given.authority, sni, name)):
        return {"type": "connect", "agent": given.agent,
                "authority": _name(given.authority, redactor),
                **_encode_shown(given.shown, redactor), **hello}  # fmt: skip


def _encode_request(given: RequestInput, redactor: Redactor) -> dict[str, Any]:
    head, tunnel, shown = given.head, given.tunnel, given.shown
    told = (head.method, head.host, head.target, given.agent, given.authority)
    names = () if tunnel is None else (tunnel.connect, tunnel.sni)
    who = None if shown is None else shown.name
    headers = header_texts(head.headers, redactor)
    with redactor.screened(_texts(*told, *names, who, *headers)):
        learn_headers(head.headers, redactor)
        target = stored_text(redactor.target(head.target), "/")
        stored = encode_body(given.body, head=head, cut=given.unread is not None, redactor=redactor)
        body = None if stored.text is None else Body(stored.text, stored.record)
        encoded = encode_headers(head.headers, redactor, decoded=stored.decoded, body=body)
        return {
            "type": "request",
            "agent": given.agent,
            "head": {
                "method": _string(head.method, redactor),
                "scheme": head.scheme,
                "host": head.host,
                "port": head.port,
                "target": target,
                "headers": [_renumbered(pair, redactor) for pair in encoded],
            },
            "authority": None if given.authority is None else _name(given.authority, redactor),
            "body": stored.record,
            "tunnel": None if tunnel is None else [tunnel.connect, tunnel.sni],
            **_encode_shown(shown, redactor),
            **_encode_unread(given.unread),
        }


def _renumbered(pair: list[Any], redactor: Redactor) -> list[Any]:
    """Return the header *pair* so that it repeats the number that the stored body has."""
    name, value = pair
    if not (redactor.renumbered and name.startswith(_PARAM) and isinstance(value, str)):
        return pair
    try:
        return [name, redactor.renumbered.get(float(decode_value(value) or ""), value)]
    except ValueError:
        return pair


def _encode_answer(given: AnswerInput, redactor: Redactor) -> dict[str, Any]:
    headers = given.head.headers
    with redactor.screened(_texts(*header_texts(headers, redactor))):
        learn_headers(headers, redactor)
        stored = encode_body(
            given.body, head=given.head, cut=given.unread is not None, redactor=redactor
        )
        head = _encode_answer_head(given.head, redactor, decoded=stored.decoded)
        return {"type": "answer", "head": head, "body": stored.record,
                **_encode_unread(given.unread)}  # fmt: skip


def _decode_request(record: Mapping[str, Any], exchange: str, sample: Sample) -> RequestInput:
    head, authority, tunnel = record["head"], record["authority"], record["tunnel"]
    if head["scheme"] not in ("http", "https"):
        raise ValueError("the scheme is neither http nor https")
    return RequestInput(
        exchange,
        as_str(record["agent"]),
        RequestHead(
            decode_text(head["method"], sample),
            head["scheme"],
            as_str(head["host"]),
            _int(head["port"]),
            decode_text(head["target"], sample),
            decode_headers(head["headers"], sample),
        ),
        None if authority is None else decode_text(authority, sample),
        decode_stored_body(record["body"], sample),
        None if tunnel is None else Tunnel(*map(_optional, tunnel)),
        _decode_shown(record, sample),
        _decode_unread(record),
    )


def _encode_event(given: EventInput, redactor: Redactor) -> dict[str, Any]:
    headers = header_texts(given.head.headers, redactor)
    with redactor.screened(_texts(given.event, *given.notes, *headers)):
        learn_headers(given.head.headers, redactor)
        record = {
            "type": "event",
            "number": given.number,
            "event": _string(given.event, redactor),
            "data": _encode_event_data(given, redactor),
            "head": _encode_answer_head(given.head, redactor, decoded=False),
        }
        if given.notes:
            record["notes"] = [_string(note, redactor) for note in given.notes]
        return record


def _encode_event_data(given: EventInput, redactor: Redactor) -> dict[str, Any]:
    data = given.data
    if is_oauth(data):
        return incomplete_body(len(data.encode("utf-8", "replace")), "oauth")
    strings = strings_of(data)
    with redactor.screened(strings):
        # An ``endpoint`` event names a URL whose query is the session's key.
        named = given.event == "endpoint"
        redacted = redactor.target(data) if named else redactor.document(data, strings)
        return _encode_data(data, redacted)


def _encode_message(given: MessageInput, redactor: Redactor) -> dict[str, Any]:
    if isinstance(given.data, bytes):
        stored = incomplete_body(len(given.data), "binary")
    else:
        strings = strings_of(given.data)
        with redactor.screened(strings):
            stored = _encode_data(given.data, redactor.document(given.data, strings))
    return {"type": "message", "number": given.number, "from_client": given.from_client,
            "data": stored}  # fmt: skip


def _encode_data(data: str, redacted: Redacted | None) -> dict[str, Any]:
    length = len(data.encode("utf-8", "replace"))
    if redacted is None or length > STORED_LIMIT:
        return incomplete_body(length, "secret" if redacted is None else "size")
    return with_redactions({"text": redacted.text}, redacted)


def _encode_answer_head(head: AnswerHead, redactor: Redactor, *, decoded: bool) -> dict[str, Any]:
    headers = encode_headers(head.headers, redactor, decoded=decoded)
    return {"status": head.status, "headers": headers}


def _decode_answer_head(record: Mapping[str, Any], sample: Sample) -> AnswerHead:
    return AnswerHead(_int(record["status"]), decode_headers(record["headers"], sample))


def _string(text: str, redactor: Redactor) -> StoredText:
    return stored_text(redactor.string(text), WITHHELD)


def _name(text: str, redactor: Redactor) -> StoredText:
    return stored_text(redactor.name(text), WITHHELD)


def _optional(value: Any) -> str | None:
    return None if value is None else as_str(value)


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
    told = None if problem is None else as_str(problem)
    return Shown(decode_text(shown["name"], sample), as_str(shown["token_hash"]), told)
