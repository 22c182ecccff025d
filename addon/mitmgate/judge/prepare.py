"""The pure half of a judgement: decode, parse, walk and scan. Any thread may run it.

Nothing here looks at policy or memory; what it finds is laid out for ``conclude``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, assert_never

from mitmgate.errors import WireError
from mitmgate.judge.egress_texts import HOST, head_texts, part_texts
from mitmgate.judge.fingerprint import Digest
from mitmgate.judge.fragments import MOST_FIELDS, Carried, Tails, pieces_of, sure
from mitmgate.judge.handing import Handed, Listed, read_handed, read_listed
from mitmgate.judge.heads import check_head, check_names
from mitmgate.judge.homes import leaving
from mitmgate.judge.inputs import AnswerInput, EventInput, MessageInput, RequestInput
from mitmgate.judge.limits import Limits
from mitmgate.judge.noise import NOISE, is_noise, unread_texts
from mitmgate.scan.definitions import examine
from mitmgate.scan.engine import KEY_MARK, Scanner
from mitmgate.scan.finding import Finding
from mitmgate.wire.body import decode_body, decode_text, is_utf8
from mitmgate.wire.http import AnswerHead
from mitmgate.wire.jsonrpc import (
    Batch,
    Failure,
    Message,
    Notification,
    Request,
    RequestId,
    Result,
    looks_like_jsonrpc,
    parse_message,
)
from mitmgate.wire.methods import KNOWN_METHODS
from mitmgate.wire.multipart import is_multipart, take_apart
from mitmgate.wire.recognise import Recognition, recognise
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import (
    DEFINING_METHODS,
    Surface,
    Text,
    definition_media,
    walk_error,
    walk_head,
    walk_json,
    walk_params,
    walk_result,
)

type Others = Callable[[], Collection[str]]
"""Gives the names of the tools of other servers that the same agent was shown."""
type Lookup = Callable[[RequestId | None], str]
"""Gives the method of the request that an answer with this id is for, ``""`` for none."""

_JSON = "application/json"
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript",
               "application/x-www-form-urlencoded", "application/problem+json",
               "application/xhtml+xml", "application/x-ndjson", "application/yaml")  # fmt: skip

_SHOWN = frozenset({"#url", HOST, "#header/host"})


class Body(NamedTuple):
    """A body as read: its text and, where it is one, its JSON-RPC message.

    ``problem`` says why it could not be read in exactly one way; ``suspect`` that a sloppier
    parser could still take it for JSON-RPC. ``text`` is None for a body that is no text;
    ``unread`` is then what a lenient decoder makes of it.
    """

    text: str | None = None
    message: Message | Batch | None = None
    problem: WireError | None = None
    suspect: bool = False
    utf8: bool = True
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready for ``conclude``; findings stand on the surface of their channel.

    ``handed`` is None where nothing was looked for: in MCP, and in what cannot be read.
    """

    input: RequestInput
    body: Body
    recognition: Recognition
    findings: tuple[Finding, ...]
    problem: WireError | None = None
    carried: Carried = field(default=Carried(), repr=False)
    handed: Handed | None = None
    digest: Digest | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PreparedAnswer:
    """An answer or one event of it, ready for ``conclude``."""

    input: AnswerInput | EventInput
    body: Body
    findings: tuple[Finding, ...]
    listed: tuple[Listed, ...] = ()
    tails: Tails | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """A message of a WebSocket, ready for ``conclude``."""

    input: MessageInput
    body: Body
    findings: tuple[Finding, ...]
    carried: Carried = field(default=Carried(), repr=False)
    handed: Handed | None = None


def prepare_request(request: RequestInput, scanner: Scanner, limits: Limits) -> PreparedRequest:
    """Read and scan *request*. Total: what cannot be read is a problem in the result."""
    try:
        check_head(request)
        check_names(request)
        raw = decode_body(request.body, request.head.get("content-encoding"), limit=limits.body)
    except WireError as problem:
        return _unreadable(request, Body(), problem, scanner)
    content_type = request.head.get("content-type")
    body = _read(raw, content_type)
    said = _request_texts(body, Surface.EGRESS_REQUEST)
    texts = [*head_texts(request), *said]
    if raw and body.message is None and content_type is not None and is_multipart(content_type):
        try:
            parts = take_apart(raw, content_type, limit=limits.body)
        except WireError as problem:
            return _unreadable(request, body, problem, scanner)
        texts += part_texts(Surface.EGRESS_REQUEST, parts, seen=body.text is not None)
    else:
        texts += _unread(Surface.EGRESS_REQUEST, body)
    recognition = Recognition.NONE
    if body.message is not None:
        recognition = recognise(body.message, request.head.headers)
    findings = leaving(_of_text(scanner.scan(texts), body), request.head.host, scanner)
    carried = Carried(pieces_of(request.head, islice(said, MOST_FIELDS)), sure(scanner))
    handed = None
    if recognition is not Recognition.DEFINITE:
        handed = _handed(body, content_type or "")
    return PreparedRequest(request, body, recognition, findings, carried=carried, handed=handed)


def _unreadable(
    request: RequestInput, body: Body, problem: WireError, scanner: Scanner
) -> PreparedRequest:
    """Return *request*, which *problem* stops, with what its head gives away.

    Records show its host and its path. Of a head that cannot be read they show no other name.
    """
    texts = head_texts(request)
    if problem.code == "malformed_request":
        texts = (text for text in texts if text.pointer in _SHOWN)
    findings = leaving(scanner.scan(list(texts)), request.head.host, scanner)
    return PreparedRequest(request, body, Recognition.NONE, findings, problem)


def prepare_answer(
    answer: AnswerInput, lookup: Lookup | None, scanner: Scanner, limits: Limits, others: Others
) -> PreparedAnswer:
    """Read and scan a whole answer; *lookup* is None where it answers no MCP."""
    surface = Surface.EGRESS_RESPONSE if lookup is None else Surface.RESULTS
    heads = walk_head(answer.head.headers, surface)
    # Clients look for "application/json" anywhere in the header ("image/png;x=application/json"),
    # so what answers MCP is read whatever it calls itself.
    if not answer.body or (lookup is None and not _is_text(answer.head)):
        return PreparedAnswer(answer, Body(utf8=False), scanner.scan(list(heads)))
    try:
        codings = [value for name, value in answer.head.headers if name == "content-encoding"]
        raw = decode_body(answer.body, ",".join(codings), limit=limits.body)
    except WireError as problem:
        return PreparedAnswer(answer, Body(problem=problem), scanner.scan(list(heads)))
    if not raw:
        return PreparedAnswer(answer, Body(utf8=False), scanner.scan(list(heads)))
    body = _read(raw, answer.head.get("content-type"))
    if lookup is None and definition_media(answer.head.media_type):
        surface = Surface.DEFINITIONS  # a server card is read before any message of MCP
    texts = [*heads, *_answer_texts(body, lookup, surface), *_unread(surface, body)]
    examined = _examined(body, lookup, scanner, others)
    found = (*_of_text(scanner.scan(texts), body), *examined)
    return PreparedAnswer(answer, body, found, _listed(body, lookup))


def prepare_event(
    event: EventInput, lookup: Lookup | None, scanner: Scanner, others: Others
) -> PreparedAnswer:
    """Read and scan one server-sent event; *lookup* as in :func:`prepare_answer`."""
    body = _read_text(event.data) if event.event == "message" else Body(event.data)
    surface = Surface.EGRESS_RESPONSE if lookup is None else Surface.RESULTS
    # "#comment" is no JSON pointer: a comment can be judged, and goes with the event it is in.
    texts = _answer_texts(body, lookup, surface)
    texts += [Text(surface, "#comment", note) for note in event.notes]
    examined = _examined(body, lookup, scanner, others)
    found = (*scanner.scan(texts), *examined)
    return PreparedAnswer(event, body, found, _listed(body, lookup))


def prepare_message(
    message: MessageInput, lookup: Lookup | None, scanner: Scanner, others: Others
) -> PreparedMessage:
    """Read and scan one message of a WebSocket; *lookup* knows the requests of the other side.

    It is None where the socket is not MCP.
    """
    if lookup is None:
        return _prepare_plain(message, scanner)
    if isinstance(message.data, bytes):
        problem = WireError("binary_message", "MCP messages on a WebSocket are text")
        return PreparedMessage(message, Body(problem=problem), ())
    body = _read_text(message.data)
    if message.from_client:
        return PreparedMessage(message, body, scanner.scan(_request_texts(body, Surface.ARGUMENTS)))
    found = scanner.scan(_answer_texts(body, lookup, Surface.RESULTS))
    return PreparedMessage(message, body, (*found, *_examined(body, lookup, scanner, others)))


def _prepare_plain(message: MessageInput, scanner: Scanner) -> PreparedMessage:
    surface = Surface.EGRESS_REQUEST if message.from_client else Surface.EGRESS_RESPONSE
    if isinstance(message.data, bytes):
        read = _read(message.data, None)
        # Nothing in it is ever edited: whoever reads it counts its bytes.
        body = read._replace(text=None, unread=read.text if read.unread is None else read.unread)
        texts = list(_unread(surface, body))
    else:
        body = _read_text(message.data)
        texts = _message_like(body, surface, from_client=message.from_client)
    pieces = tuple((f"#message{t.pointer}", t.text) for t in texts[:MOST_FIELDS] if t.text)
    found = _of_text(scanner.scan(texts), body)
    # Sessions of a realtime API hand over servers as requests of others do.
    handed = _handed(body, _JSON) if message.from_client else None
    return PreparedMessage(message, body, found, Carried(pieces, sure(scanner)), handed)


def _handed(body: Body, content_type: str) -> Handed:
    return read_handed(body.text, body.unread, content_type=content_type)


def _listed(body: Body, lookup: Lookup | None) -> tuple[Listed, ...]:
    return read_listed(body.text) if lookup is None else ()


def _message_like(body: Body, surface: Surface, *, from_client: bool) -> list[Text]:
    return _request_texts(body, surface) if from_client else _plain_texts(body, surface)


def _examined(
    body: Body, lookup: Lookup | None, scanner: Scanner, others: Others
) -> Iterator[Finding]:
    """Yield what is wrong with lists of definitions as a whole."""
    if lookup is None or body.message is None:
        return
    batch = isinstance(body.message, Batch)
    messages = body.message.messages if isinstance(body.message, Batch) else (body.message,)
    for number, message in enumerate(messages):
        if isinstance(message, Result) and lookup(message.id) in DEFINING_METHODS:
            prefix = f"/{number}/result" if batch else "/result"
            for found in examine(message.result, others=others()):
                yield Finding(
                    detector="poisoning",
                    rule=found.rule,
                    severity=found.severity,
                    surface=Surface.DEFINITIONS,
                    pointer=f"{prefix}{found.pointer}{KEY_MARK if found.key else ''}",
                    start=found.start,
                    end=found.end,
                    value_hash=scanner.value_hash(f"{found.rule} {found.item}".encode()),
                )


def _read(raw: bytes, content_type: str | None) -> Body:
    if not raw:
        return Body()
    try:
        text = decode_text(raw, content_type)
    except WireError as problem:
        lenient = raw.decode("utf-8", "replace")
        # JSON in a charset that nobody here knows: somebody there may.
        hidden = problem.code == "bad_charset" and "json" in (content_type or "").lower()
        suspect = hidden or looks_like_jsonrpc(raw) or looks_like_jsonrpc(lenient)
        return Body(problem=problem, suspect=suspect, utf8=False, unread=lenient)
    body = _read_text(text)
    if body.message is None and not body.suspect and _is_disguised(raw, content_type):
        two_ways = WireError("undeclared_charset", "the body could be read in two ways")
        return Body(text, problem=two_ways, suspect=True, utf8=False)
    return body if is_utf8(content_type, raw) else _not_utf8(body)


def _is_disguised(raw: bytes, content_type: str | None) -> bool:
    """Tell whether a sloppy parser would find JSON-RPC where no JSON text begins.

    UTF-16 and UTF-32 without a charset are full of NULs, valid UTF-8, and found by
    ``json.loads(bytes)`` and its like; so are comments before the text by others.
    """
    told_json = "json" in (content_type or "").lower()
    return (b"\0" in raw[:64] or told_json) and looks_like_jsonrpc(raw)


def _not_utf8(body: Body) -> Body:
    return Body(body.text, body.message, body.problem, body.suspect, utf8=False)


def _read_text(text: str) -> Body:
    if not text.lstrip().startswith(("{", "[")):
        return Body(text)
    try:
        return Body(text, parse_message(text))
    except WireError as problem:
        return Body(text, problem=problem, suspect=looks_like_jsonrpc(text))


def _is_text(head: AnswerHead) -> bool:
    media = head.media_type
    return not media or media.startswith(_TEXT_TYPES) or media.endswith(("+json", "+xml"))


def _of_text(found: tuple[Finding, ...], body: Body) -> tuple[Finding, ...]:
    """Leave personal data out of *found* where *body* is no text: any number stands there."""
    if body.unread is None or not is_noise(body.unread):
        return found
    return tuple(f for f in found if f.detector != "pii" or f.pointer != NOISE)


def _unread(surface: Surface, body: Body) -> Iterator[Text]:
    # One byte that is no UTF-8 must not hide the rest. No edit can be made here either.
    if body.unread is not None:
        yield from unread_texts(surface, body.unread)


def _request_texts(body: Body, plain: Surface) -> list[Text]:
    if body.message is None:
        return _plain_texts(body, plain)
    return _message_texts(body.message, None, Surface.ARGUMENTS)


def _answer_texts(body: Body, lookup: Lookup | None, surface: Surface) -> list[Text]:
    if lookup is None or body.message is None:
        return _plain_texts(body, surface)
    return _message_texts(body.message, lookup, Surface.RESULTS)


def _plain_texts(body: Body, surface: Surface) -> list[Text]:
    if body.text is None:
        return []
    if body.text.lstrip().startswith(("{", "[")):
        try:
            return walk_json(surface, parse_json(body.text))
        except WireError:
            pass
    return [Text(surface, "", body.text)]


def _message_texts(
    message: Message | Batch, lookup: Lookup | None, surface: Surface, number: int | None = None
) -> list[Text]:
    """Return the texts of *message*, the one with that *number* where it is part of a batch."""
    prefix = "" if number is None else f"/{number}"
    match message:
        case Request() | Notification():
            # "#method" and "#id": editing them would make another call of it.
            mark = "#" if number is None else f"#{number}/"
            found = walk_params(message.method, message.params, surface=surface, prefix=prefix)
            if message.method not in KNOWN_METHODS:
                found.append(Text(surface, f"{mark}method", message.method))
            if isinstance(message, Request) and isinstance(message.id, str):
                found.append(Text(surface, f"{mark}id", message.id))
            return found
        case Result():
            # Without a lookup it is the client that answers, and never what defines tools.
            method, place = ("", surface) if lookup is None else (lookup(message.id), None)
            return walk_result(method, message.result, surface=place, prefix=prefix)
        case Failure():
            return walk_error(message.error, surface=surface, prefix=prefix)
        case Batch():
            items = enumerate(message.messages)
            return [t for index, m in items for t in _message_texts(m, lookup, surface, index)]
        case _:
            assert_never(message)
