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
from mitmgate.mitm.trailers import is_chunked, trailer_problem
from mitmgate.net.authority import normalise_authority, normalise_host
from mitmgate.policy.agents import credentials
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

_LONGEST = 255  # characters of a name that are written down
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})  # RFC 9110 section 8.6


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
        method=request.data.method.decode("latin-1"),  # mitmproxy's own is in capitals
        scheme=scheme,
        host=normalised(request.host),
        port=request.port,
        target=target,
        headers=_with_trailers(request),
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
    head = AnswerHead(response.status_code, _with_trailers(response))
    return AnswerInput(exchange, head, response.raw_content or b"")


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
    # None may be offered: nobody could bound what is compressed.
    headers.pop("sec-websocket-extensions", None)
    if mcp:
        headers["accept-encoding"] = "identity"
    body = request.raw_content or b""
    if body and "content-length" not in headers and "transfer-encoding" not in headers:
        # An HTTP/2 body without it reaches an HTTP/1 server without framing: smuggling.
        headers["content-length"] = str(len(body))
    if not is_chunked(request):
        request.trailers = None  # no other form of HTTP/1 has them


def modernise(request: http.Request) -> None:
    """Give a request of HTTP/1.0 the Host that it need not have, and nobody 100 Continue."""
    if request.http_version == "HTTP/1.0":
        request.headers.pop("expect", None)  # RFC 9110 section 10.1.1
        if "host" not in request.headers:
            default = 443 if request.scheme == "https" else 80
            host = f"[{request.host}]" if ":" in request.host else request.host
            written = host if request.port == default else f"{host}:{request.port}"
            request.headers.insert(0, "Host", written)


def tells_wrong_length(request: http.Request) -> bool:
    """Tell whether a ``content-length`` of *request* is not that of its body.

    In HTTP/2 it frames nothing (RFC 9113 section 8.1.1); to an HTTP/1 server it would.
    """
    size = len(request.raw_content or b"")
    return any(
        not (told.isascii() and told.isdigit()) or int(told) != size
        for told in request.headers.get_all("content-length")
    )


def to_http1(request: http.Request) -> None:
    """Make a judged request of HTTP/2 one of HTTP/1.1 (RFC 9113 section 8): servers get no other.

    mitmproxy then goes on using its connection to the server.
    """
    headers = request.headers
    if "host" not in headers:
        headers.insert(0, "Host", request.authority)
    request.authority = ""
    request.http_version = "HTTP/1.1"
    headers.pop("te", None)
    cookies = headers.get_all("cookie")
    if len(cookies) > 1:
        headers["cookie"] = "; ".join(cookies)  # RFC 9113 section 8.2.3
    # What the client told is not what frames the body on this side.
    headers.pop("content-length", None)
    body = request.raw_content or b""
    if body or request.method in _WITH_CONTENT:
        headers["content-length"] = str(len(body))


def pass_on(request: http.Request) -> None:
    """Make *request* one whose body goes on to an HTTP/1.1 server as it comes."""
    length = request.headers.get("content-length")
    if not request.is_http2:
        return
    to_http1(request)
    if length is not None:
        request.headers["content-length"] = length
    else:
        request.headers.pop("content-length", None)
        request.headers["transfer-encoding"] = "chunked"


def framing_of(request: http.Request) -> tuple[str, str] | None:
    """Return code and reason where the end of *request* is not what its head told."""
    if request.is_http2 and tells_wrong_length(request):
        return "malformed_request", "content-length is not the length of the body"
    return trailers_of(request)


def trailers_of(message: http.Message) -> tuple[str, str] | None:
    """Return code and reason where the trailers of *message* must not pass."""
    if not message.trailers:
        return None
    problem = trailer_problem(message.headers, message.trailers)
    return None if problem is None else ("malformed_request", problem)


def unchunk(response: http.Response) -> None:
    """Make *response* one that a client of HTTP/1.0 can read."""
    if is_chunked(response):
        del response.headers["transfer-encoding"]
        response.trailers = None
        if response.raw_content is not None:
            response.headers["content-length"] = str(len(response.raw_content))
        else:
            response.headers["connection"] = "close"


def egress_subject(flow: http.HTTPFlow) -> Subject:
    """Return the subject of *flow* where it was never judged."""
    request = flow.request
    # What is refused by its head never got the name of its tunnel.
    host, port = request.host, request.port
    if not host and flow.server_conn.address:
        host, port = flow.server_conn.address
    name = normalised(host)[:_LONGEST]
    endpoint = f"{request.scheme or 'https'}://{name}:{port}"
    return Subject(address_of(flow.client_conn), "egress", name, port, endpoint,
                   request.method[:40])  # fmt: skip


def normalised(host: str) -> str:
    """Return *host* in the one form that policies compare, as it is where it has none."""
    try:
        return normalise_host(host)
    except WireError:
        return host  # no rule speaks of it, and `check_names` refuses it


def _with_trailers(message: http.Message) -> Headers:
    """Return the headers of *message*, and its trailers, which are judged like them."""
    headers = _headers(message.headers)
    return headers if not message.trailers else headers + _headers(message.trailers)


def _headers(headers: http.Headers) -> Headers:
    return tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers.fields
    )


def _authority(request: http.Request, head: RequestHead) -> str:
    """Return what the client calls the host; of two that differ, the one that is not dialled."""
    named = head.get("host") or ""
    if not request.is_http2 or not request.authority:
        return named
    if named in ("", request.authority) or _names(request.authority) != (head.host, head.port):
        return request.authority
    return named


def _names(authority: str) -> tuple[str, int]:
    try:
        found = normalise_authority(authority)
    except WireError:
        return "", 0
    return found.host, found.port if found.port is not None else 443
