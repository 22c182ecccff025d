"""What can be judged. Live hooks and replay build these same values; a capture stores them.

Every input belongs to an *exchange* (a request with everything that answers it), named by
an id that the caller chose. Bytes are as they were on the wire, before any decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from mitmgate.wire.http import AnswerHead, RequestHead


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The names a client gave before its request: of CONNECT, and of TLS (None without)."""

    connect: str | None = None
    sni: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The proxy credentials of a client: a name, and the hash of its token, never the token.

    ``problem`` says why they cannot be read.
    """

    name: str
    token_hash: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectInput:
    """A CONNECT request; ``authority`` is its target as the client wrote it.

    ``agent`` is the client's address, ``shown`` its credentials.
    """

    exchange: str
    agent: str
    authority: str
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class RequestInput:
    """A request. ``authority`` is the Host header (or ``:authority``) as written.

    ``tunnel`` is None where no client-given name exists to compare (reverse mode).
    ``head.host`` is the host that would be dialled. ``agent`` is the client's address, ``shown``
    the credentials of this request or of the tunnel that it came in. ``unread`` is None where
    ``body`` is whole; else ``body`` is its beginning, and ``unread`` says how many bytes it has, or
    has at least.
    """

    exchange: str
    agent: str
    head: RequestHead
    authority: str | None
    body: bytes = b""
    tunnel: Tunnel | None = None
    shown: Shown | None = None
    unread: int | None = None

    @property
    def size(self) -> int:
        """The bytes of the body, as far as they are known."""
        return len(self.body) if self.unread is None else self.unread


@dataclass(frozen=True, slots=True)
class DialInput:
    """The addresses a name resolved to, before any of them is dialled.

    ``static`` says that the name came from ``network.resolve`` and may be private;
    ``own`` are the addresses and ports that the proxy itself listens on.
    """

    exchange: str
    agent: str
    host: str
    port: int
    addresses: tuple[str, ...]
    static: bool = False
    own: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerInput:
    """A whole answer to the request of this exchange; ``unread`` as in :class:`RequestInput`."""

    exchange: str
    head: AnswerHead
    body: bytes = b""
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class EventInput:
    """One complete server-sent event of the answer; ``number`` counts from 0.

    ``event`` is its type (``message`` by default), ``data`` its joined data lines; ``notes``
    are the texts of its comments and unknown fields, which no client of MCP reads.
    """

    exchange: str
    number: int
    event: str
    data: str
    head: AnswerHead
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageInput:
    """One whole message of a WebSocket; ``number`` counts from 0, of both sides together.

    ``data`` is text as it came; bytes are a binary message.
    """

    exchange: str
    number: int
    from_client: bool
    data: str | bytes


@dataclass(frozen=True, slots=True)
class EndInput:
    """The exchange is over, whatever became of it; its state may go."""

    exchange: str


type Input = (
    ConnectInput | RequestInput | DialInput | AnswerInput | EventInput | MessageInput | EndInput
)
