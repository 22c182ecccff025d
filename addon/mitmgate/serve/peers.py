"""Who is at the other end of the control socket, as the kernel knows it."""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_KEY = "peer"


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that opened a connection: its user's number and its own."""

    uid: int
    pid: int

    @property
    def name(self) -> str:
        """The user's name, or number where it has none."""
        return _name_of(self.uid)


class PeerProtocol(H11Protocol):
    """HTTP/1.1 on a Unix socket; each request knows its :class:`Peer`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note who connects."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _KEY: _peer_of(transport.get_extra_info("socket"))}


def peer_of(request: Request) -> Peer | None:
    """Return who sent *request*; None where the system does not tell."""
    state: dict[str, Any] = request.scope.get("state", {})
    peer = state.get(_KEY)
    return peer if isinstance(peer, Peer) else None


def _peer_of(connection: Any) -> Peer | None:
    option = getattr(socket, "SO_PEERCRED", None)  # Linux only
    if option is None or connection is None or connection.family != socket.AF_UNIX:
        return None
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size)
    except OSError:
        return None
    pid, uid, _ = _UCRED.unpack(raw)
    return Peer(uid, pid)


@lru_cache(maxsize=64)
def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
