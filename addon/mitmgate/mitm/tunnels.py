"""What comes before a request: CONNECT, the client's TLS, and what speaks neither TLS nor HTTP."""

from __future__ import annotations

from dataclasses import replace

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer

from mitmgate.judge.agents import identify
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

_FIX = "run `mitmgate env` and set what it prints where the client starts"
_DISTRUST = f"the client does not trust the CA; {_FIX}"
_BROKEN_OFF = f"the client broke off the TLS handshake; if it does not trust the CA, {_FIX}"
_LONGEST = 255  # characters of a name that are written down


class Tunnels:
    """Knows the tunnels that clients opened, and refuses what no request can be read in."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[str, tuple[str, Shown | None]] = {}

    def of(self, client: Client) -> tuple[str | None, Shown | None]:
        """Return the target of the tunnel that *client* opened, and the credentials shown there."""
        return self._open.get(client.id, (None, None))

    def client_left(self, client: str) -> None:
        """Forget the tunnel of *client*."""
        self._open.pop(client, None)

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
