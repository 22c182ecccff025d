"""What comes before a request: CONNECT, the client's TLS, and what speaks neither TLS nor HTTP."""

from __future__ import annotations

import time
from dataclasses import replace

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer
from mitmproxy.proxy.mode_specs import TransparentMode

from mitmgate.errors import WireError
from mitmgate.judge.agents import identify
from mitmgate.judge.hello import HelloInput, judge_hello
from mitmgate.judge.inputs import ConnectInput, Shown
from mitmgate.judge.outcome import Subject
from mitmgate.mitm.convert import (
    address_of,
    agent_of,
    egress_subject,
    normalised,
    response_from,
    shown_in,
)
from mitmgate.mitm.core import Core
from mitmgate.mitm.guard import CloseLayer
from mitmgate.mitm.passthrough import Passages
from mitmgate.net.authority import normalise_authority

_FIX = "run `mitmgate env` and set what it prints where the client starts"
_DISTRUST = f"the client does not trust the CA; {_FIX}"
_BROKEN_OFF = f"the client broke off the TLS handshake; if it does not trust the CA, {_FIX}"
_LONGEST = 255  # characters of a name that are written down
_ECH = 0xFE0D  # encrypted_client_hello (RFC 9849 section 11.1), also where it is only GREASE


class Tunnels:
    """Knows the tunnels that clients opened, and refuses what no request can be read in."""

    def __init__(self, core: Core, passages: Passages) -> None:
        self._core = core
        self._passages = passages
        self._open: dict[str, tuple[str, Shown | None]] = {}

    def of(self, client: Client) -> tuple[str | None, Shown | None]:
        """Return the target of the tunnel that *client* opened, and the credentials shown there."""
        return self._open.get(client.id, (None, None))

    def owner(self, client: Client) -> object | None:
        """Return whose *client* is, None where that is not known before a request comes."""
        authority, shown = self.of(client)
        return None if authority is None else (address_of(client), shown)

    def client_left(self, client: str) -> None:
        """Forget the tunnel of *client*."""
        self._open.pop(client, None)
        self._passages.client_left(client)

    async def connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a tunnel whose target no rule could ever allow."""
        authority = flow.request.authority or f"{flow.request.host}:{flow.request.port}"
        exchange = self._core.next_exchange()
        shown = shown_in(flow.request)
        given = ConnectInput(exchange, agent_of(flow), authority, shown)
        ruling = await self._core.decide(given, connection=flow.client_conn.id)
        if ruling is not None and not ruling.released and ruling.reply is not None:
            flow.response = response_from(ruling.reply)
        else:
            self._open[flow.client_conn.id] = authority, shown
        self._core.end(exchange)

    async def hello(self, data: tls.ClientHelloData) -> None:
        """Leave TLS closed where a rule says so."""
        given = self._hello_input(data)
        if given is None or judge_hello(self._core.judge.policy, given) is None:
            return
        given = replace(given, exchange=self._core.next_exchange())
        ruling = await self._core.decide(given, connection=data.context.client.id)
        if ruling is None or not ruling.released or ruling.outcome.code != "not_inspected":
            self._core.end(given.exchange)
            return
        subject = ruling.outcome.subject
        # In transparent mode this was where the client's packets went, whatever name it gave.
        data.context.server.address = subject.host, subject.port
        self._passages.begin(given.exchange, data.context.client.id)
        data.ignore_connection = True

    def _hello_input(self, data: tls.ClientHelloData) -> HelloInput | None:
        """Return what to judge of a ClientHello, None where TLS is always opened."""
        client, dialled = data.context.client, data.context.server.address
        sni = data.client_hello.sni
        authority, shown = self.of(client)
        if isinstance(client.proxy_mode, TransparentMode) and dialled is not None:
            authority = f"{sni or ''}:{dialled[1]}"
        elif dialled is None or authority is None or not _leads_to(authority, dialled):
            return None  # TLS with the proxy itself, or to the one server of reverse mode
        ech = any(kind == _ECH for kind, _ in data.client_hello.extensions)
        return HelloInput("", address_of(client), authority, shown, sni, ech, time.time())

    def tls_failed(self, data: tls.TlsData) -> None:
        """Show that a client refused our certificate: its traffic was not inspected."""
        server = data.context.server.address
        name = data.context.client.sni or (server[0] if server else "")
        port = server[1] if server else 0
        agent = address_of(data.context.client)
        distrusted = "does not trust" in (data.conn.error or "")
        exchange = self._core.next_exchange()
        self._core.fail(
            exchange,
            "connect",
            "client_distrusts_ca" if distrusted else "tls_handshake_failed",
            f"not inspected: {_DISTRUST if distrusted else _BROKEN_OFF}",
            subject=Subject(agent, "egress", name, port, f"{name}:{port}", "CONNECT"),
        )
        # A client that pins tries again for ever: kept, these would push live exchanges out.
        self._core.end(exchange)

    def check_layer(self, chosen: NextLayer) -> bool:
        """Tell whether HTTP or TLS was found; whatever else it is, the connection is closed."""
        current: object | None = chosen.layer
        while current is not None:
            if not isinstance(current, HttpLayer | ClientTLSLayer | ServerTLSLayer | NextLayer):
                chosen.layer = CloseLayer(chosen.context)
                self.refuse(chosen.context, "not_http", "only HTTP passes, over TLS or without")
                return False
            current = getattr(current, "child_layer", None)
        return True

    def refuse(
        self, where: Context, code: str, reason: str, request: http.Request | None = None
    ) -> http.Response:
        """Record that what came on a connection is no request to judge; return the answer.

        *request* is its head, where that much could be read.
        """
        client, dialled = where.client, where.server.address or ("", 0)
        host = (request.host if request is not None else "") or dialled[0]
        port = (request.port if request is not None else 0) or dialled[1]
        name = normalised(host)[:_LONGEST]
        scheme = "https" if client.tls else "http"
        subject = Subject(
            agent=self._agent(client),
            channel="egress",
            host=name,
            port=port,
            endpoint=f"{scheme}://{name}:{port}" if name else "",
            method=request.method[:40] if request is not None else "",
        )
        exchange = self._core.next_exchange()
        ruling = self._core.fail(exchange, "request", code, reason, subject=subject)
        self._core.end(exchange)
        if ruling.reply is None:
            raise RuntimeError("a denial without a reply")
        return response_from(ruling.reply)

    def subject_of(self, flow: http.HTTPFlow, *, mcp: bool) -> Subject:
        """Return the subject of *flow* where it was never judged.

        *mcp*: at the URL of a server this is what a client of MCP reads the answer to.
        """
        subject = egress_subject(flow)
        request = flow.request
        path = request.path.partition("?")[0]
        found = self._core.judge.policy.server_for(request.scheme, subject.host, subject.port, path)
        subject = replace(subject, agent=self._agent(flow.client_conn, shown_in(request)))
        if found is None:
            return subject
        return replace(subject, server=found, channel="mcp" if mcp else "egress")

    def _agent(self, client: Client, shown: Shown | None = None) -> str:
        authority, known = self.of(client)
        given = ConnectInput("", address_of(client), authority or "", known or shown)
        return identify(self._core.judge.policy, given)[0]


def _leads_to(authority: str, dialled: tuple[str, int]) -> bool:
    """Tell whether *authority*, of CONNECT, is what would be *dialled*."""
    try:
        target = normalise_authority(authority)
    except WireError:
        return False
    port = target.port if target.port is not None else 443
    return (target.host, port) == (normalised(dialled[0]), dialled[1])
