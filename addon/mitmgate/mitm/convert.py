"""From mitmproxy's flows to the values that are judged, and back. No decisions here."""

from __future__ import annotations

from typing import Literal

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ReverseMode

from mitmgate.errors import WireError
from mitmgate.judge.inputs import AnswerInput, RequestInput, Shown, Tunnel
from mitmgate.judge.outcome import Subject
from mitmgate.judge.replies import Reply
from mitmgate.net.authority import normalise_host
from mitmgate.policy.agents import credentials
from mitmgate.wire.http import AnswerHead, Headers, RequestHead


def shown_in(request: http.Request) -> Shown | None:
    """Return the proxy credentials in the head of *request*, None where it has none."""
    values = request.headers.get_all("proxy-authorization")
    if not values:
        return None
    try:
        given = credentials(values[0]) if len(values) == 1 else None
    except ValueError as error:
        return Shown("", "", str(error))
    if given is None:
        return Shown("", "", "there are several proxy credentials")
    return Shown(given.name, given.token_hash)


def request_input(
    flow: http.HTTPFlow, *, exchange: str, connect: str | None, shown: Shown | None = None
) -> RequestInput:
    """Return *flow*'s request as it came.

    *connect* is the target of the tunnel it came in, *shown* the credentials given there.
    """
    request = flow.request
    scheme: Literal["http", "https"] = "https" if request.scheme == "https" else "http"
    target = request.path
    if request.authority and not request.is_http2:
        # Inside a tunnel an absolute-form target names a second host: show it to the judge.
        target = f"{scheme}://{request.authority}{target}"
    head = RequestHead(
        method=request.method,
        scheme=scheme,
        host=normalised(request.host),
        port=request.port,
        target=target,
        headers=_headers(request.headers),
    )
    reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
    return RequestInput(
        exchange=exchange,
        agent=agent_of(flow),
        head=head,
        authority=None if reverse else _authority(request, head),
        body=request.raw_content or b"",
        tunnel=None if reverse else Tunnel(connect, flow.client_conn.sni),
        shown=shown or shown_in(request),
    )


def answer_input(flow: http.HTTPFlow, *, exchange: str) -> AnswerInput:
    """Return *flow*'s answer as it came."""
    response = flow.response
    if response is None:
        raise ValueError("the flow has no answer")
    return AnswerInput(exchange, answer_head(response), response.raw_content or b"")


def answer_head(response: http.Response) -> AnswerHead:
    """Return the head of *response*."""
    return AnswerHead(response.status_code, _headers(response.headers))


def agent_of(flow: http.HTTPFlow) -> str:
    """Return the address that *flow* came from."""
    return address_of(flow.client_conn)


def address_of(client: Client) -> str:
    """Return the address of *client*."""
    return str(client.peername[0])


def response_from(reply: Reply) -> http.Response:
    """Return *reply* as mitmproxy sends it."""
    kind = reply.content_type
    headers = http.Headers(content_type=kind) if kind else http.Headers()
    for name, value in reply.headers:
        headers[name] = value
    return http.Response.make(reply.status, reply.body, headers)


def replace_body(message: http.Message, text: str) -> None:
    """Give *message* the edited body *text*, and the headers that fit it."""
    message.headers.pop("content-encoding", None)
    message.headers.pop("transfer-encoding", None)
    kind = message.headers.get("content-type")
    if kind is not None and "charset" in kind.lower():
        message.headers["content-type"] = f"{kind.partition(';')[0].strip()}; charset=utf-8"
    message.raw_content = text.encode()
    message.headers["content-length"] = str(len(message.raw_content))


def clean_request(request: http.Request, *, mcp: bool) -> None:
    """Take out what is between client and proxy, and say how long the body is."""
    headers = request.headers
    for name in ("proxy-authorization", "proxy-connection"):
        headers.pop(name, None)
    if mcp:
        headers["accept-encoding"] = "identity"
        headers.pop("sec-websocket-extensions", None)
    body = request.raw_content or b""
    if body and "content-length" not in headers and "transfer-encoding" not in headers:
        # An HTTP/2 body without it reaches an HTTP/1 server without framing: smuggling.
        headers["content-length"] = str(len(body))


def egress_subject(flow: http.HTTPFlow) -> Subject:
    """Return the subject of *flow* where it was never judged."""
    request = flow.request
    endpoint = f"{request.scheme}://{request.host}:{request.port}"
    return Subject(
        address_of(flow.client_conn), "egress", request.host, request.port, endpoint, request.method
    )


def normalised(host: str) -> str:
    """Return *host* in the one form that policies compare, as it is where it has none."""
    try:
        return normalise_host(host)
    except WireError:
        return host  # no rule speaks of it, and `check_names` refuses it


def _headers(headers: http.Headers) -> Headers:
    return tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers.fields
    )


def _authority(request: http.Request, head: RequestHead) -> str:
    named = head.get("host") or ""
    if request.is_http2 and request.authority:
        # Two names that differ cannot be one authority; the comma makes it unreadable.
        return request.authority if named in ("", request.authority) else (
            f"{request.authority},{named}"
        )  # fmt: skip
    return named
