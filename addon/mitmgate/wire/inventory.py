"""The MCP servers that were seen, and what they said of themselves: a bounded memory, no I/O.

What servers and agents say here is unverified and for people to read; nothing is decided by it but
whether an agent card (A2A) is the one that was accepted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Self

from mitmgate.wire.endpoints import Endpoint

MOST_TOOLS = 500
MOST_AGENTS = 100
MOST_CARDS = 5_000
# All servers together: one hostile host has as many paths, and tools on each, as it likes.
MOST_NAMES = 50_000
_MOST_COUNTED = 1_000
_MOST_VERSIONS = 10
_NAME_LENGTH = 200
_URL_LENGTH = 1_000
_VERSION_LENGTH = 40
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"


class Transport(StrEnum):
    """How messages travel. ``sse`` is the HTTP+SSE of 2024-11-05.

    ``delegated``: a model API was told to call the server, and its calls are not seen here.
    """

    STREAMABLE_HTTP = "streamable_http"
    SSE = "sse"
    WEBSOCKET = "websocket"
    DELEGATED = "delegated"


@dataclass(frozen=True, slots=True)
class SeenServer:
    """One server as it was seen. Times are seconds since the epoch.

    ``server`` is its name in the policy, None where none names it. ``name``, ``title`` and
    ``version`` are what it reports of itself. ``protocol_versions`` are the revisions that it
    said it speaks; as long as it has said nothing, those that it was asked for.
    ``tools`` and ``agents`` are the first ones; the totals count the others too, agents up to
    a thousand. ``calls`` are calls of tools, denied ones too.
    """

    url: str
    server: str | None
    name: str | None
    title: str | None
    version: str | None
    protocol_versions: tuple[str, ...]
    transports: tuple[str, ...]
    tools: tuple[str, ...]
    tools_total: int
    agents: tuple[str, ...]
    agents_total: int
    calls: int
    first_seen: float
    last_seen: float


@dataclass(slots=True)
class _Server:
    """What is known of one server. The dicts are sets that keep their order."""

    url: str
    first_seen: float
    last_seen: float
    server: str | None = None
    info: tuple[str | None, str | None, str | None] = (None, None, None)
    told: dict[str, None] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    transports: frozenset[str] = frozenset()
    tools: dict[str, None] = field(default_factory=dict)
    more_tools: int = 0
    agents: dict[str, None] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    agents_total: int = 0
    calls: int = 0

    @classmethod
    def of(cls, seen: SeenServer) -> Self:
        """Return what *seen* tells; one that gave its name has also told its revisions."""
        versions = _first(seen.protocol_versions, _MOST_VERSIONS, _VERSION_LENGTH)
        tools = _first(seen.tools, MOST_TOOLS)
        agents = _first(seen.agents, MOST_AGENTS)
        return cls(
            url=_bounded(seen.url, _URL_LENGTH),
            first_seen=seen.first_seen,
            last_seen=seen.last_seen,
            server=seen.server,
            info=(_text(seen.name), _text(seen.title), _text(seen.version)),
            told=versions if seen.name is not None else {},
            asked=versions if seen.name is None else {},
            transports=frozenset(seen.transports),
            tools=tools,
            more_tools=max(0, seen.tools_total - len(tools)),
            agents=agents,
            counted={hash(agent) for agent in agents},
            agents_total=max(seen.agents_total, len(agents)),
            calls=seen.calls,
        )

    def seen(self) -> SeenServer:
        """Return this as a value."""
        name, title, version = self.info
        return SeenServer(
            url=self.url,
            server=self.server,
            name=name,
            title=title,
            version=version,
            protocol_versions=tuple(sorted(self.told or self.asked)),
            transports=tuple(sorted(self.transports)),
            tools=tuple(self.tools),
            tools_total=len(self.tools) + self.more_tools,
            agents=tuple(self.agents),
            agents_total=self.agents_total,
            calls=self.calls,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
        )

    def met(self, agent: str) -> bool:
        """Count *agent*; return whether it is a new one."""
        if agent in self.agents:
            return False
        mark = hash(agent)
        if mark in self.counted or len(self.counted) >= _MOST_COUNTED:
            return False
        self.counted.add(mark)
        if len(self.agents) < MOST_AGENTS:
            self.agents[agent] = None
        # After a restart only the kept ones are known again: never count somebody twice.
        before = self.agents_total
        self.agents_total = max(before, len(self.counted))
        return self.agents_total > before or agent in self.agents


class Cards:
    """The digests of the agent cards that were accepted, by URL; the longest unused goes first.

    ``revision`` counts changes.
    """

    def __init__(self, limit: int = MOST_CARDS) -> None:
        self._limit = limit
        self._digests: OrderedDict[str, str] = OrderedDict()
        self.revision = 0

    def accept(self, url: str, digest: str) -> None:
        """Remember *digest*, SHA-256 in hexadecimal, as that of the card at *url*."""
        self.revision += self._digests.get(url) != digest
        self._digests[url] = digest
        self._digests.move_to_end(url)
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)

    def accepted(self, url: str) -> str | None:
        """Return the digest of the card that was accepted at *url*, None where there was none."""
        if url in self._digests:
            self._digests.move_to_end(url)
        return self._digests.get(url)

    def all(self) -> tuple[tuple[str, str], ...]:
        """Return URLs and digests, the one longest unused first."""
        return tuple(self._digests.items())


class Inventory:
    """The last *limit* servers that were seen; the one longest unseen is forgotten first.

    Servers are told apart by the URL that is shown of them. ``revision`` counts changes other
    than those of ``calls`` and ``last_seen``. *seen* are known from before. ``cards`` are agent
    cards.
    """

    def __init__(self, limit: int = 1000, seen: Iterable[SeenServer] = ()) -> None:
        if limit < 1:
            raise ValueError("an inventory holds at least one server")
        self._limit = limit
        self._urls: OrderedDict[Endpoint, str] = OrderedDict()
        self._servers: OrderedDict[str, _Server] = OrderedDict()
        self._handed: OrderedDict[tuple[str, str], Endpoint] = OrderedDict()
        self._names = 0
        self.revision = 0
        self.cards = Cards()
        self.restore(seen)

    def restore(self, seen: Iterable[SeenServer]) -> None:
        """Take in what an earlier run saw; what this one has seen already stays as it is."""
        for one in sorted(seen, key=lambda one: one.last_seen, reverse=True):
            server = _Server.of(one)
            if server.url not in self._servers and self._has_room(len(server.tools)):
                self._servers[server.url] = server
                self._servers.move_to_end(server.url, last=False)
                self._names += len(server.tools)

    def saw(  # noqa: PLR0913 - one fact of a message each, and all by name
        self,
        endpoint: Endpoint,
        *,
        url: str,
        agent: str,
        server: str | None,
        transport: Transport,
        now: float,
        protocol_version: str | None = None,
        called: bool = False,
    ) -> None:
        """Take in a message of *agent* to *endpoint*, forwarded or not.

        *url* is what is shown of the endpoint: without query and secrets. *now* is in seconds
        since the epoch. *protocol_version* is what the message says, *called* that it calls a
        tool.
        """
        known = self._server(self._shown(endpoint, url), now)
        changed = known.met(_bounded(agent))
        if known.server != server or transport.value not in known.transports:
            known.server = server
            known.transports |= {transport.value}
            changed = True
        if protocol_version is not None and _add_version(known.asked, protocol_version):
            changed = True
        known.last_seen = max(known.last_seen, now)
        known.calls += called
        self.revision += changed

    def introduced(self, endpoint: Endpoint, result: Mapping[str, Any]) -> None:
        """Take in what *endpoint* answered to ``initialize`` or ``server/discover``. Total."""
        known = self._known(endpoint)
        if known is None:
            return
        changed = False
        for version in _versions(result):
            changed |= _add_version(known.told, version)
        info = _server_info(result)
        if info is not None and info != known.info:
            known.info = info
            changed = True
        self.revision += changed

    def listed(self, endpoint: Endpoint, result: Mapping[str, Any], *, first: bool) -> None:
        """Take in a page of ``tools/list``: the *first* replaces, the others add. Total."""
        known = self._known(endpoint)
        items = result.get("tools")
        if known is None or not isinstance(items, list):
            return
        before = (list(known.tools), known.more_tools)
        self._names -= len(known.tools)
        if first:
            known.tools, known.more_tools = {}, 0
        for name in _tool_names(items):
            if len(known.tools) < MOST_TOOLS:
                known.tools[name] = None
            elif name not in known.tools:
                known.more_tools += 1
        known.more_tools += max(0, len(items) - 2 * MOST_TOOLS)
        self._names += len(known.tools)
        self._forget()
        self.revision += before != (list(known.tools), known.more_tools)

    def hand(self, exchange: str, label: str, endpoint: Endpoint) -> None:
        """Remember that *exchange* hands *endpoint* to a model API under the name *label*."""
        self._handed[exchange, label] = endpoint
        if len(self._handed) > self._limit:
            self._handed.popitem(last=False)

    def handed(self, exchange: str, label: str) -> Endpoint | None:
        """Return what :meth:`hand` was told, None where it was not."""
        return self._handed.get((exchange, label))

    def seen(self) -> tuple[SeenServer, ...]:
        """Return every server, the one last seen first."""
        latest = list(reversed(self._servers.values()))
        latest.sort(key=lambda one: one.last_seen, reverse=True)
        return tuple(one.seen() for one in latest)

    def _shown(self, endpoint: Endpoint, url: str) -> str:
        # The first URL stays: a secret in a later query must not make a second server of it.
        shown = self._urls.get(endpoint)
        if shown is not None:
            self._urls.move_to_end(endpoint)
            return shown
        shown = self._urls[endpoint] = _bounded(url, _URL_LENGTH)
        if len(self._urls) > self._limit:
            self._urls.popitem(last=False)
        return shown

    def _server(self, url: str, now: float) -> _Server:
        known = self._servers.get(url)
        if known is not None:
            self._servers.move_to_end(url)
            return known
        known = self._servers[url] = _Server(url, now, now)
        self.revision += 1
        self._forget()
        return known

    def _known(self, endpoint: Endpoint) -> _Server | None:
        url = self._urls.get(endpoint)
        return self._servers.get(url) if url is not None else None

    def _has_room(self, names: int) -> bool:
        return len(self._servers) < self._limit and self._names + names <= MOST_NAMES

    def _forget(self) -> None:
        while len(self._servers) > self._limit or self._names > MOST_NAMES:
            _, oldest = self._servers.popitem(last=False)
            self._names -= len(oldest.tools)


def _versions(result: Mapping[str, Any]) -> Iterator[str]:
    answered = result.get("protocolVersion")
    if isinstance(answered, str):
        yield answered
    supported = result.get("supportedVersions")
    if isinstance(supported, list):
        yield from (one for one in islice(supported, _MOST_VERSIONS) if isinstance(one, str))


def _server_info(result: Mapping[str, Any]) -> tuple[str | None, str | None, str | None] | None:
    """Return name, title and version: 2026-07-28 has them in ``_meta``, older revisions above."""
    meta = result.get("_meta")
    modern = meta.get(_SERVER_INFO) if isinstance(meta, Mapping) else None
    for info in (modern, result.get("serverInfo")):
        if isinstance(info, Mapping) and (name := _text(info.get("name"))):
            return name, _text(info.get("title")), _text(info.get("version"))
    return None


def _tool_names(items: list[Any]) -> Iterator[str]:
    for item in islice(items, 2 * MOST_TOOLS):
        name = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(name, str):
            yield _bounded(name)


def _add_version(versions: dict[str, None], version: str) -> bool:
    """Add *version*, forgetting the oldest of too many; return whether it is a new one."""
    shown = _bounded(version, _VERSION_LENGTH)
    if not shown or shown in versions:
        return False
    versions[shown] = None
    if len(versions) > _MOST_VERSIONS:
        del versions[next(iter(versions))]
    return True


def _first(texts: Iterable[str], most: int, length: int = _NAME_LENGTH) -> dict[str, None]:
    return dict.fromkeys(_bounded(text, length) for text in islice(texts, most))


def _text(value: object) -> str | None:
    return _bounded(value) if isinstance(value, str) else None


def _bounded(text: str, length: int = _NAME_LENGTH) -> str:
    shown = text[:length]
    # Half a surrogate pair has no UTF-8 form, and this is written to files.
    return shown if shown.isascii() else shown.encode("utf-8", "replace").decode()
