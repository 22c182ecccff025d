"""Conversations: which requests of either side are open, matched per session and id.

An answer may come on another HTTP exchange than its request did: on the one stream of HTTP+SSE
(2024-11-05), on a GET that resumes (2025-11-25 basic/transports), on a WebSocket. So requests are
remembered here, per conversation, and never per HTTP flow. Bounded everywhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.jsonrpc import RequestId

# So many clients behind one address may wait for the same id at one endpoint.
_ALIKE = 64


@dataclass(slots=True)
class Open:
    """A request without an answer yet. ``exchange`` names the HTTP exchange it went out on.

    ``target`` is the tool, prompt or resource, ``shown`` the same as far as it may be shown;
    ``later`` says that a later page of a list is asked for.
    ``swapped`` is set where the request was denied and a ``ping`` went on in its place: the JSON
    that its sender gets instead of the answer to that ping.
    """

    method: str
    exchange: str
    target: str | None = None
    later: bool = False
    swapped: str | None = None
    shown: str | None = None


type IdKey = tuple[str, RequestId]
type _OpenKey = tuple[int, str, IdKey]
type _OpenTable = OrderedDict[_OpenKey, deque[Open]]


class OpenRequests:
    """The open requests of one side of a conversation: a view on the table that all share.

    Where several clients may stand behind the conversation (*shared*) they count alike, so that
    some requests of one id may be open; elsewhere a new one takes the place of the old.
    """

    def __init__(self, table: _OpenTable, limit: int, place: tuple[int, str], shared: bool) -> None:
        self._table = table
        self._limit = limit
        self._place = place
        self._shared = shared

    def add(self, request_id: RequestId, request: Open) -> None:
        """Remember *request*, which waits for an answer with *request_id*.

        Where the table is full the oldest request of all is forgotten: its answer is refused.
        """
        key = self._key(request_id)
        waiting = self._table.setdefault(key, deque(maxlen=_ALIKE))
        if self._place[1] == "c" and not self._shared:
            waiting.clear()
        waiting.append(request)
        self._table.move_to_end(key)
        if len(self._table) > self._limit:
            self._table.popitem(last=False)

    def alike(self, request_id: RequestId) -> tuple[Open, ...]:
        """Return all requests that wait for an answer with *request_id*, the oldest first."""
        return tuple(self._table.get(self._key(request_id), ()))

    def find(
        self, request_id: RequestId, exchange: str, *, pong: bool | None = None
    ) -> Open | None:
        """Return the request that an answer with *request_id* on *exchange* is for, or None.

        Of several the one that fits *pong* comes first (whether the answer is that to a ping),
        then one of the same exchange, then the latest: what is older may be of a client that left.
        """
        waiting = self.alike(request_id)
        if not waiting:
            return None
        fits = [r for r in waiting if pong is None or (r.swapped is not None) == pong] or waiting
        return next((r for r in reversed(fits) if r.exchange == exchange), fits[-1])

    def settle(
        self, request_id: RequestId, exchange: str, *, pong: bool | None = None
    ) -> Open | None:
        """Return what :meth:`find` does and forget it: a second answer finds nothing."""
        found = self.find(request_id, exchange, pong=pong)
        if found is not None:
            key = self._key(request_id)
            waiting = self._table[key]
            waiting.remove(found)
            if not waiting:
                del self._table[key]
        return found

    def _key(self, request_id: RequestId) -> _OpenKey:
        return *self._place, key_of(request_id)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One conversation: what the client asked the server, and the server the client."""

    client: OpenRequests
    server: OpenRequests


@dataclass(frozen=True, slots=True)
class Channel:
    """Where the messages of an HTTP+SSE conversation are posted to (2024-11-05).

    ``home`` is the endpoint of the stream that told of it, and its URL as it may be shown;
    ``server`` is the policy's name of the server, None where it has none.
    """

    session: Session
    server: str | None
    home: tuple[Endpoint, str]


type _SessionKey = tuple[str, Endpoint | None, str]


class Sessions:
    """The last *limit* conversations, and *open_limit* open requests of all of them together.

    *gone* is told of each conversation that nothing names any more.
    """

    def __init__(
        self,
        limit: int,
        open_limit: int = 100_000,
        gone: Callable[[Session], None] | None = None,
    ) -> None:
        self._limit = limit
        self._gone = gone
        self._names: Counter[Session] = Counter()
        self._open_limit = open_limit
        self._open: _OpenTable = OrderedDict()
        self._numbers = count()
        self._sessions: OrderedDict[_SessionKey, Session] = OrderedDict()
        self._channels: OrderedDict[_SessionKey, Channel] = OrderedDict()
        self._channel_keys: dict[Session, _SessionKey] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def knows(self, session: Session) -> bool:
        """Tell whether something still names *session*."""
        return session in self._names

    def anonymous(self, agent: str, endpoint: Endpoint) -> Session:
        """Return the conversation of all that *agent* sends to *endpoint* without a session id."""
        return self._get(("agent", endpoint, agent), shared=True)

    def named(self, endpoint: Endpoint, session_id: str) -> Session:
        """Return the conversation that ``Mcp-Session-Id`` names; the id itself is not kept."""
        return self._get(("id", endpoint, _hash(session_id)))

    def socket(self, exchange: str) -> Session:
        """Return the conversation on the WebSocket that *exchange* opened."""
        return self._get(("socket", None, exchange))

    def rename(self, session: Session, endpoint: Endpoint, session_id: str) -> None:
        """Let *session_id* name *session* too: its server changed the id, and clients may follow.

        An id that already names another conversation goes on naming that one.
        """
        key = "id", endpoint, _hash(session_id)
        if key not in self._sessions:
            self._put(key, session)

    def forget(self, endpoint: Endpoint, session_id: str) -> None:
        """Forget the conversation *session_id*: it was ended with DELETE."""
        self._forget(self._sessions.pop(("id", endpoint, _hash(session_id)), None))

    def close_socket(self, exchange: str) -> None:
        """Forget the conversation on the WebSocket that *exchange* opened: it was closed."""
        self._forget(self._sessions.pop(("socket", None, exchange), None))

    def open_channel(
        self, endpoint: Endpoint, query: str, *, server: str | None, home: tuple[Endpoint, str]
    ) -> Session:
        """Remember that what is posted to *endpoint* with *query* is answered on a stream."""
        key = ("message", endpoint, _hash(query))
        session = self._new(shared=False)
        earlier = self._channels.pop(key, None)
        if earlier is not None:
            self._unchannel(earlier.session)
        self._channels[key] = Channel(session, server, home)
        self._channel_keys[session] = key
        self._names[session] += 1
        if len(self._channels) > self._limit:
            _, oldest = self._channels.popitem(last=False)
            self._unchannel(oldest.session)
        return session

    def _unchannel(self, session: Session) -> None:
        if self._channel_keys.pop(session, None) is not None:
            self._forget(session)

    def channel(self, endpoint: Endpoint, query: str) -> Channel | None:
        """Return where a message posted to *endpoint* with *query* belongs, or None."""
        if not self._channels:
            return None
        key = ("message", endpoint, _hash(query))
        found = self._channels.get(key)
        if found is not None:
            self._channels.move_to_end(key)
        return found

    def close_channel(self, session: Session) -> None:
        """Forget the channel of *session*: the stream that answers there has ended."""
        key = self._channel_keys.get(session)
        if key is None:
            return
        if self._channels[key].session is session:
            del self._channels[key]
        self._unchannel(session)

    def _get(self, key: _SessionKey, *, shared: bool = False) -> Session:
        session = self._sessions.get(key)
        if session is None:
            session = self._new(shared=shared)
            self._put(key, session)
        else:
            self._sessions.move_to_end(key)
        return session

    def _new(self, *, shared: bool) -> Session:
        number = next(self._numbers)
        sides = (
            OpenRequests(self._open, self._open_limit, (number, side), shared) for side in "cs"
        )
        return Session(*sides)

    def _put(self, key: _SessionKey, session: Session) -> None:
        self._sessions[key] = session
        self._names[session] += 1
        while len(self._sessions) > self._limit:
            self._forget(self._sessions.popitem(last=False)[1])

    def _forget(self, session: Session | None) -> None:
        """Take in that one name less stands for *session*."""
        if session is None:
            return
        self._names[session] -= 1
        if not self._names[session]:
            del self._names[session]
            if self._gone is not None:
                self._gone(session)


def key_of(request_id: RequestId) -> IdKey:
    """Return *request_id* as a key: the ids 1 and "1" are two requests."""
    return request_id.__class__.__name__, request_id


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
