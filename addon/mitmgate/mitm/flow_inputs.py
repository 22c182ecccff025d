"""From recorded flows to inputs, and from inputs to flows that mitmproxy shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mitmproxy import http, websocket
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.mode_specs import ReverseMode
from wsproto.frame_protocol import Opcode

from mitmgate.judge.imported import Timed, answered
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    MessageInput,
    RequestInput,
)
from mitmgate.mitm.convert import answer_head, normalised, request_input
from mitmgate.mitm.flows import began
from mitmgate.wire.http import Headers

_NOBODY = "client"  # where a flow does not say who sent it


def inputs_of(flow: http.HTTPFlow, exchange: str) -> list[Timed]:
    """Return the inputs of *flow* in the order in which they came."""
    peer: Any = flow.client_conn.peername  # None in files, whatever its type says
    if peer is None or not peer[0]:
        flow.client_conn.peername = (_NOBODY, 0)
    found = list(_inputs(flow, exchange))
    return [*found, Timed(found[-1].at, EndInput(exchange))]


def _inputs(flow: http.HTTPFlow, exchange: str) -> Iterator[Timed]:
    start, request = began(flow), flow.request
    if request.method == "CONNECT":
        agent = str(flow.client_conn.peername[0])
        yield Timed(start, ConnectInput(exchange, agent, request.authority or request.host))
        return
    given = request_input(flow, exchange=exchange, connect=None)
    yield Timed(start, given, _missing(request))
    server = flow.server_conn
    reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
    if server.peername and not server.via and not reverse:
        host, port = normalised(request.host), request.port
        yield Timed(start, DialInput(exchange, given.agent, host, port, (server.peername[0],)))
    if flow.websocket is not None:
        yield from _messages(flow.websocket.messages, exchange)
    elif flow.response is not None:
        response = flow.response
        started = response.timestamp_start or start
        head, size = answer_head(response), _missing(response) or 0
        times = started, response.timestamp_end or started
        yield from answered(exchange, head, response.raw_content, size=size, times=times)


def _messages(messages: Sequence[websocket.WebSocketMessage], exchange: str) -> Iterator[Timed]:
    for number, message in enumerate(messages):
        data: str | bytes = bytes(message.content)
        if message.is_text:
            data = message.content.decode("utf-8", "replace")
        yield Timed(message.timestamp, MessageInput(exchange, number, message.from_client, data))


def _missing(message: http.Message) -> int | None:
    """Return how long the body is that was not kept, 0 where nobody says; None: it is there."""
    if message.raw_content is not None:
        return None
    told = message.headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 12 else 0


def flow_of(inputs: Sequence[Timed]) -> http.HTTPFlow:
    """Return a flow that shows the *inputs* of one exchange; a body that is missing stays so."""
    first = inputs[0]
    shown = (one.given for one in inputs)
    agents = [given.agent for given in shown if isinstance(given, RequestInput | ConnectInput)]
    agent = agents[0] if agents else _NOBODY
    client = Client(peername=(agent, 0), sockname=("", 0), timestamp_start=first.at)
    flow = http.HTTPFlow(client, Server(address=None))
    flow.timestamp_created = first.at
    flow.request = _nothing(first.at)
    events: list[Timed] = []
    for timed in inputs:
        match timed.given:
            case ConnectInput() as given:
                flow.request = _connect(given, timed.at)
            case RequestInput() as given:
                flow.request = _request(given, timed)
                flow.server_conn = Server(address=(given.head.host, given.head.port))
            case DialInput() as given if given.addresses:
                flow.server_conn.peername = (given.addresses[0], given.port)
            case AnswerInput() as given:
                body = None if timed.missing is not None else given.body
                flow.response = _response(given.head.status, given.head.headers, body, timed.at)
            case EventInput():
                events.append(timed)
            case MessageInput() as given:
                _add_message(flow, given, timed.at)
            case _:
                pass
    if events:
        flow.response = _stream(events)
    return flow


def _nothing(at: float) -> http.Request:
    return http.Request("unknown.invalid", 443, b"GET", b"https", b"", b"/", b"HTTP/1.1",
                        http.Headers(), b"", None, at, at)  # fmt: skip


def _connect(given: ConnectInput, at: float) -> http.Request:
    host, _, port = given.authority.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 443
    return http.Request(host or given.authority, number, b"CONNECT", b"", _bytes(given.authority),
                        b"", b"HTTP/1.1", http.Headers(), b"", None, at, at)  # fmt: skip


def _request(given: RequestInput, timed: Timed) -> http.Request:
    head = given.head
    body = None if timed.missing is not None else given.body
    # One without Host came over HTTP/2.
    old = head.get("host") is not None or not given.authority
    version, authority = (b"HTTP/1.1", "") if old else (b"HTTP/2.0", given.authority or "")
    return http.Request(
        head.host, head.port, _bytes(head.method), head.scheme.encode(), _bytes(authority),
        _bytes(head.target), version, _headers(head.headers, body), body, None, timed.at, timed.at,
    )  # fmt: skip


def _response(status: int, headers: Headers, body: bytes | None, at: float) -> http.Response:
    return http.Response(b"HTTP/1.1", status, b"", _headers(headers, body), body, None, at, at)


def _headers(headers: Headers, body: bytes | None) -> http.Headers:
    # A capture keeps the presence of a length, not the length.
    pairs = [
        (_bytes(name), b"%d" % len(body) if name == "content-length" and body else _bytes(value))
        for name, value in headers
    ]
    return http.Headers(pairs)


def _stream(events: Sequence[Timed]) -> http.Response:
    given = [timed.given for timed in events if isinstance(timed.given, EventInput)]
    body = "".join(map(_event, given)).encode("utf-8", "replace")
    head = given[0].head
    response = _response(head.status, head.headers, body, events[0].at)
    response.timestamp_end = events[-1].at
    return response


def _event(given: EventInput) -> str:
    notes = "".join(f": {line}\n" for note in given.notes for line in note.splitlines())
    data = "".join(f"data: {line}\n" for line in given.data.split("\n")) if given.event else ""
    named = f"event: {given.event}\n" if given.event not in ("", "message") else ""
    return f"{notes}{named}{data}\n"


def _add_message(flow: http.HTTPFlow, given: MessageInput, at: float) -> None:
    if flow.websocket is None:
        flow.websocket = websocket.WebSocketData()
        flow.response = _response(101, (("upgrade", "websocket"),), b"", at)
    is_text = isinstance(given.data, str)
    data = given.data.encode("utf-8", "replace") if isinstance(given.data, str) else given.data
    kind = Opcode.TEXT if is_text else Opcode.BINARY
    flow.websocket.messages.append(websocket.WebSocketMessage(kind, given.from_client, data, at))


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
