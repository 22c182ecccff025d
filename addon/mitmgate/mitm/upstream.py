"""The proxy that every connection to a server goes through, where one was named.

Each connection is a tunnel of its own (CONNECT, RFC 9110 section 9.3.6), plain HTTP too: so the
address that was checked is the one that the proxy is asked for, and no proxy reads a request.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from mitmproxy.connection import Server
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy

from mitmgate.errors import WireError
from mitmgate.net.addresses import AddressClass, classify
from mitmgate.net.authority import normalise_host

ANSWER_BYTES = 64 * 1024  # of the head of a proxy's answer
FAILED = "upstream proxy "
"""How every error begins that the proxy is the cause of. None names its address."""

_LOCAL = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})

type Scheme = Literal["http", "https"]
type Names = Literal["here", "there"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A proxy to go through. ``names`` says where the names of servers are resolved.

    ``credentials`` is the value of Proxy-Authorization (RFC 9110 section 11.7.2).
    """

    scheme: Scheme
    host: str
    port: int
    names: Names = "here"
    credentials: str | None = field(default=None, repr=False)

    def request(self, host: str, port: int) -> bytes:
        """Return the head that asks for a tunnel to *host*, a name or an address, and *port*."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.credentials is not None:
            lines.append(f"Proxy-Authorization: {self.credentials}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def is_here(host: str) -> bool:
    """Tell whether the normalised *host* is a name that each machine has for itself."""
    return host in _LOCAL or host.endswith(".localhost")


def is_own_name(host: str) -> bool:
    """Tell whether the normalised *host* is the name of this machine."""
    try:
        return host == normalise_host(socket.gethostname())
    except WireError:
        return False


def is_address(host: str) -> bool:
    """Tell whether *host* is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Tell whether *address* is this machine, for whoever dials it."""
    return classify(address) in (AddressClass.LOOPBACK, AddressClass.UNSPECIFIED)


class Carrier(Protocol):
    """Knows what goes over a connection to the proxy."""

    def carries(self, client: str, outer: Server, inner: Server) -> None:
        """Note that *outer*, to the proxy, is opened to carry *inner*, to a server."""

    def head_for(self, client: str, outer: Server) -> bytes | None:
        """Return, once, what asks the proxy on *outer* for the server."""


class GateUpstreamProxy(HttpUpstreamProxy):
    """A tunnel through the proxy.

    What it sends is no flow: the credentials are seen by no hook, and stand in no dump of flows.
    """

    head_for: Callable[[Server], bytes | None]

    def start_handshake(self) -> layer.CommandGenerator[None]:
        """Ask for the tunnel."""
        head = self.head_for(self.tunnel_connection)
        if head is None:  # nothing was checked for it
            yield commands.CloseConnection(self.tunnel_connection)
        else:
            yield commands.SendData(self.tunnel_connection, head)

    def receive_handshake_data(
        self, data: bytes
    ) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Read the answer; tell whether the tunnel stands, and else why not."""
        yield from ()
        self.buf += data
        status = 100
        while 100 <= status < 200:  # interim answers (RFC 9110 section 15.2)
            lines = self.buf.maybe_extract_lines()
            if lines is None and len(self.buf) <= ANSWER_BYTES:
                return False, None
            try:
                status = http1.read_response_head([bytes(one) for one in lines or ()]).status_code
            except (ValueError, IndexError):
                return False, f"{FAILED}gave no answer that can be read"
        if status == 407:
            return False, f"{FAILED}does not take the credentials (407)"
        if not 200 <= status < 300:
            return False, f"{FAILED}did not open the way (status {status})"
        if self.buf:  # in TLS and in HTTP the client speaks first: nobody there has been asked
            return False, f"{FAILED}sent more than its answer"
        return True, None

    def event_to_child(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass *event* on; errors say that they are the proxy's, and not where it is."""
        if (
            isinstance(event, events.OpenConnectionCompleted)
            and event.reply is not None
            and event.command.connection == self.conn
        ):
            event = events.OpenConnectionCompleted(event.command, _said(event.reply))
        yield from super().event_to_child(event)


def _said(error: str) -> str:
    if error.startswith(FAILED):
        return error
    if "ertificate" in error:
        return f"{FAILED}has a certificate that is not trusted"
    return f"{FAILED}cannot be reached, or closed the connection"


def carried(top: layer.Layer, dialling: Carrier, outer: Server) -> None:
    """Make the tunnel in the layers under *top* one of ours: it is opened over *outer*."""
    current: layer.Layer | None = top
    while current is not None:
        if type(current) is HttpUpstreamProxy:
            client = current.context.client.id
            current.__class__ = GateUpstreamProxy
            current.head_for = partial(dialling.head_for, client)  # type: ignore[attr-defined]
            dialling.carries(client, outer, current.conn)
        current = getattr(current, "child_layer", None)
