"""Many clients and many hosts at once: what each request asked for, and what it truly got."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from raw_peers import Head, Peer, Socket, chunked
from volume_http2 import Http2

HOSTS = 200
SERVERS = 20  # of the hosts speak MCP too
DENIED = 20  # of the hosts no rule allows
AT_ONCE = 50
DEADLINE = 60
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
NAMES = [f"www.site-{number}.example" for number in range(HOSTS)]
KINDS = ("get", "get", "post", "get", "mcp", "get", "sse", "post", "finding", "get", "mcp-denied",
         "get", "websocket", "post", "mcp")  # fmt: skip
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
OPENING = (
    "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def policy(port: int) -> str:
    """Return the policy that lets through what it should of the traffic to *port*."""
    known = ", ".join(f"{name}: 127.0.0.1" for name in NAMES)
    servers = "".join(
        f'  s{number}: {{url: "https://{NAMES[number]}:{port}/mcp"}}\n' for number in range(SERVERS)
    )
    return (
        f"version: 1\nnetwork: {{resolve: {{{known}}}}}\nservers:\n{servers}"
        "mcp: {rules: [{id: reads, tool: 'read_*', then: allow}], otherwise: deny}\n"
        f"egress: {{rules: [{{id: sites, host: [{', '.join(NAMES[:-DENIED])}], ports: [{port}], "
        "websocket: text, then: allow}], otherwise: deny}\nhold: {wait: 5s, unattended: deny}\n"
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: its number is in everything that is sent and answered for it."""

    number: int
    kind: str
    host: str

    @property
    def denied(self) -> bool:
        return self.kind in ("denied", "finding", "mcp-denied")

    @property
    def tool(self) -> str:
        return f"{'delete' if self.kind == 'mcp-denied' else 'read'}_{self.number}"

    @property
    def path(self) -> str:
        if self.kind.startswith("mcp"):
            return "/mcp"
        return f"/{self.kind if self.kind != 'denied' else 'get'}/{self.number}"

    @property
    def body(self) -> bytes | None:
        if self.kind == "post":
            return f"note {self.number} ".encode() + b"of plain words about gardens " * 60
        if self.kind == "finding":
            return f"note {self.number} holds {KEY}".encode()
        if not self.kind.startswith("mcp"):
            return None
        call = {"name": self.tool, "arguments": {"text": "plain words about gardens " * 20}}
        return json.dumps(
            {"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": call}
        ).encode()

    def is_answered_by(self, status: int, body: bytes) -> bool:
        """Tell whether this is its own answer, and the one that it should get."""
        if self.kind.startswith("mcp"):
            answer = json.loads(body)
            told = json.dumps(answer.get("result", {}))
            ran = f"ran {self.tool}" in told
            return status == 200 and answer["id"] == self.number and ran != self.denied
        if self.denied:
            return status == 403 and b'"code"' in body
        if self.kind == "post":
            return (status, body) == (200, self.body)
        if self.kind == "sse":
            return (status, body) == (200, _events(self.number))
        return (status, body) == (200, f"got {self.number}".encode())


def _events(number: int) -> bytes:
    return b"".join(f"id: {part}\ndata: {number} {part}\n\n".encode() for part in range(3))


@dataclass(frozen=True, slots=True)
class Visit:
    """What one client asks one host on one connection."""

    host: str
    asks: tuple[Ask, ...]
    http2: bool


def visits(count: int, *, first: int = 0) -> Iterator[Visit]:
    """Yield *count* requests of every kind, in visits of one and of several."""
    chance = random.Random(first)  # noqa: S311 - repeatable, not secret
    number, end = first, first + count
    while number < end:
        host = chance.choice(NAMES)
        size = min(chance.choice((1, 4, 10)), end - number)
        http2 = chance.random() < 0.3
        asks = [_ask(one, host, http2=http2) for one in range(number, number + size)]
        number += size
        # What becomes a WebSocket is the last thing on its connection.
        asks.sort(key=lambda ask: ask.kind == "websocket")
        sockets = [ask for ask in asks if ask.kind == "websocket"]
        yield Visit(host, tuple(asks[: len(asks) - max(0, len(sockets) - 1)]), http2)
        for ask in sockets[1:]:
            yield Visit(host, (ask,), http2=False)


def _ask(number: int, host: str, *, http2: bool) -> Ask:
    at = NAMES.index(host)
    if at >= HOSTS - DENIED:
        return Ask(number, "denied", host)
    kind = KINDS[number % len(KINDS)]
    if (kind.startswith("mcp") and at >= SERVERS) or (kind == "websocket" and http2):
        kind = "get"
    return Ask(number, kind, host)


@dataclass
class Sites:
    """All hosts in one TLS server: what arrived, and which connections are open."""

    port: int = 0
    arrived: Counter[str] = field(default_factory=Counter)
    open: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        peer = Peer(reader, writer)
        try:
            while True:
                head = await peer.head()
                await self._answer(peer, head, await peer.body(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, peer: Peer, asked: Head, body: bytes) -> None:
        path = asked.first.split(b" ")[1].decode()
        kind, _, number = path[1:].partition("/")
        self.arrived[json.loads(body)["params"]["name"] if kind == "mcp" else path] += 1
        if kind == "websocket":
            await self._talk(peer)
        elif kind == "sse":
            events = _events(int(number))
            head = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                    b"transfer-encoding: chunked\r\n\r\n")  # fmt: skip
            await peer.send(head, chunked(events, (20,)))
        elif kind == "mcp":
            call = json.loads(body)
            said = {"content": [{"type": "text", "text": f"ran {call['params']['name']}"}]}
            told = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": said})
            await peer.send(_whole("application/json", told.encode()))
        else:
            told_back = body if kind == "post" else f"got {number}".encode()
            await peer.send(_whole("text/plain", told_back))

    async def _talk(self, peer: Peer) -> None:
        await peer.send(SWITCHED)
        server = Socket.of_server(peer)
        async for text in server.messages():
            await server.send(text)


def _whole(media_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving(certificate: Path) -> AsyncIterator[Sites]:
    """Serve every host on a free port."""
    sites = Sites()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(sites.handle, "127.0.0.1", 0, ssl=context, backlog=500)
    sites.port = server.sockets[0].getsockname()[1]
    try:
        yield sites
    finally:
        server.close()
        server.close_clients()
        async with asyncio.timeout(DEADLINE):
            await server.wait_closed()


@dataclass
class Crowd:
    """The clients. ``wrong`` names each request that did not get its own answer."""

    proxy: int
    ca: str
    port: int
    answered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    spoken: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._trust = {alpn: ssl.create_default_context(cafile=self.ca)
                       for alpn in ("h2", "http/1.1")}  # fmt: skip
        for alpn, context in self._trust.items():
            context.set_alpn_protocols([alpn])

    async def come(self, all_visits: Iterable[Visit]) -> None:
        """Make *all_visits*, so many at once."""
        left = deque(all_visits)

        async def work() -> None:
            while left:
                await self._make(left.popleft())

        async with asyncio.timeout(DEADLINE * 10), asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())

    async def _make(self, visit: Visit) -> None:
        try:
            async with asyncio.timeout(DEADLINE), self._connected(visit) as peer:
                if visit.http2:
                    await self._speak_http2(peer, visit)
                else:
                    await self._speak_http1(peer, visit)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, AssertionError) as error:
            self.wrong.append(f"{visit}: {error!r}")

    @asynccontextmanager
    async def _connected(self, visit: Visit) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy)
        peer, where = Peer(reader, writer), f"{visit.host}:{self.port}"
        try:
            await peer.send(f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n\r\n".encode())
            head = await peer.head()
            assert b" 200 " in head.first, head
            alpn = "h2" if visit.http2 else "http/1.1"
            await writer.start_tls(self._trust[alpn], server_hostname=visit.host)
            spoken = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            assert not visit.http2 or spoken == "h2"
            self.spoken[alpn] += len(visit.asks)
            yield peer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _speak_http1(self, peer: Peer, visit: Visit) -> None:
        last = visit.asks[-1]
        for ask in visit.asks:
            await peer.send(self._head(ask, close=ask is last), ask.body or b"")
            head = await peer.head()
            status = int(head.first.split(b" ")[1])
            if ask.kind == "websocket":
                await self._talk(peer, ask, status)
                return
            self._took(ask, status, await peer.body(head))

    def _head(self, ask: Ask, *, close: bool) -> bytes:
        body, more = ask.body, "connection: close\r\n" if close else ""
        if ask.kind == "websocket":
            more = OPENING
        if body is not None:
            media = "application/json" if ask.kind.startswith("mcp") else "text/plain"
            more += f"content-type: {media}\r\ncontent-length: {len(body)}\r\n"
            more += "accept: application/json, text/event-stream\r\n"
        method = "GET" if body is None else "POST"
        return (
            f"{method} {ask.path} HTTP/1.1\r\nhost: {ask.host}:{self.port}\r\n{more}\r\n".encode()
        )

    async def _talk(self, peer: Peer, ask: Ask, status: int) -> None:
        if status != 101:
            self._took(ask, status, b"")
            return
        client = Socket.of_client(peer)
        await client.send(f"got {ask.number}")
        async for text in client.messages():
            self._took(ask, 200, text.encode())
            return

    async def _speak_http2(self, peer: Peer, visit: Visit) -> None:
        client = Http2(peer)
        numbers = {client.ask(f"{ask.host}:{self.port}", ask.path, ask.body): ask
                   for ask in visit.asks}  # fmt: skip
        async for number, status, body in client.answers(len(numbers)):
            self._took(numbers[number], status, body)

    def _took(self, ask: Ask, status: int, body: bytes) -> None:
        if ask.is_answered_by(status, body):
            self.answered[ask.kind] += 1
        else:
            self.wrong.append(f"{ask}: {status} {body[:200]!r}")
