"""Which connections to servers another client may go on with."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from mitmproxy import http
from mitmproxy.connection import Connection, Server


class Asking(Protocol):
    """The layer that asks a server over HTTP/1."""

    request: http.Request | None
    response: http.Response | None

    @property
    def is_reusable(self) -> bool:
        """Whether all that was asked has its whole answer, and anybody may ask next."""


_asking: WeakKeyDictionary[Connection, Asking] = WeakKeyDictionary()


def asks(connection: Connection, layer: Asking) -> None:
    """Note that *layer* asks the server of *connection*."""
    _asking[connection] = layer


def is_reusable(connection: Server) -> bool:
    """Tell whether another client may go on with *connection*."""
    layer = _asking.get(connection)
    return layer is not None and layer.is_reusable


def is_unanswered(connection: Server) -> bool:
    """Tell whether something was asked on *connection* that no answer has begun to."""
    layer = _asking.get(connection)
    return layer is not None and layer.request is not None and layer.response is None


def binds(request: http.Request, response: http.Response) -> bool:
    """Tell whether the connection itself may be authenticated (RFC 4559 section 6, NTLM)."""
    if response.status_code == 101:
        return True
    asked = response.headers.get("www-authenticate", "") if response.status_code == 401 else ""
    words = f"{request.headers.get('authorization', '')},{asked}".lower()
    return "ntlm" in words or "negotiate" in words
