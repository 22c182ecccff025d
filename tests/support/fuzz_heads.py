"""Requests of HTTP/1 into the real layers, hooks and judge, and what of them reaches a server.

No socket and no time: one oracle for every input, whole or in pieces.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import h11
from fuzzing import Step
from judging import make_judge
from mitmproxy.addons import proxyserver
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.test import tflow
from piping import Capture, Rig, make_rig

from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.mitm.gate import Gate
from mitmgate.mitm.layers import adopt
from mitmgate.net.authority import normalise_authority
from mitmgate.policy.verdict import Verdict

HOST, PORT = "docs.example", 80
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
CORPUS = [
    b"GET /a/b?c=1 HTTP/1.1\r\nHost: docs.example\r\naccept: */*\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: docs.example\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /x HTTP/1.1\r\nHost: docs.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: docs.example\r\nTransfer-Encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
    b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET http://docs.example/ HTTP/1.1\r\nHost: docs.example\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: docs.example\r\n\r\nGET /2 HTTP/1.1\r\nHost: docs.example\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: docs.example\r\nExpect: 100-continue\r\ncontent-length: 1\r\n\r\na",
    b"HEAD / HTTP/1.1\r\nHost: DOCS.example.\r\nConnection: close, x-a\r\nx-a: 1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: docs.example:80\r\n\r\n",
]
"""Requests that pass, and some that may not: the ground for mutations."""
PIECES = [
    b"GET", b"POST", b"get", b"CONNECT", b"PRI", b"TRACE", b" ", b"  ", b"\t", b"\r\n", b"\n",
    b"\r", b"\r\n ", b"\r\n\r\n", b":", b" :", b"\0", b"\x0b", b"\x85", b"\xa0", b"\xff",
    b"\xe2\x80\xa8", b"/", b"//", b"/../", b"%2e", b"#", b"?", b"*", b"http://", b"https://", b"@",
    b"[::1]", b"%", b"docs.example", b"docs.example:80", b"docs.example.", b"paste.example",
    b"127.1", b"0x7f.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.10",
    b"\r\nHost: docs.example", b"\r\nhost: paste.example", b"\r\nContent-Length: 5",
    b"\r\ncontent-length: 0", b"\r\nContent-Length: +5", b"\r\nContent-Length: 5, 5",
    b"\r\ncontent-length:5\x0b", b"\r\nTransfer-Encoding: chunked",
    b"\r\ntransfer-encoding: identity", b"\r\nTransfer-Encoding: xchunked",
    b"\r\nTransfer-Encoding: chunked, chunked", b"\r\nTransfer-Encoding : chunked",
    b"\r\ntransfer-encoding:\x0bchunked", b"\r\nTrailer: host", b"\r\nUpgrade: h2c",
    b"\r\nUpgrade: websocket", b"\r\nConnection: host, content-length", b"\r\nExpect: 100-continue",
    b"\r\nX-A: b", b"0\r\n\r\n", b"5\r\n", b"0x5\r\n", b"-1\r\n", b"ffffffffffffffff\r\n",
    b"5;\r\n", b"hello", b"GET /smuggled HTTP/1.1\r\nHost: docs.example",
]  # fmt: skip


@functools.cache
def _options() -> Options:
    options = Options()
    loader: Any = SimpleNamespace(add_option=options.add_option, add_command=lambda *_: None)
    proxyserver.Proxyserver().load(loader)
    options.update(connection_strategy="lazy", http2=False, rawtcp=False, body_size_limit="64m",
                   keep_host_header=True, validate_inbound_headers=True)  # fmt: skip
    return options


@functools.cache
def judge() -> Judge:
    """Return the judge of all these requests."""
    return make_judge()


@dataclass
class Line:
    """A client's connection, and the server's that the gate opens where it may."""

    capture: Capture = field(default_factory=Capture)
    arrived: list[Arrived] = field(default_factory=list)
    told: bytes = b""
    closed: bool = False

    def __post_init__(self) -> None:
        async def nobody(_host: str, _port: int) -> tuple[str, ...]:
            raise AssertionError("the layers resolve nothing")

        self._sent: deque[tuple[Any, bytes]] = deque()
        self._servers: dict[Any, h11.Connection] = {}
        self._begun: dict[Any, Arrived] = {}
        self.loop = asyncio.new_event_loop()
        self.rig = self.loop.run_until_complete(self._rig())
        self.gate = Gate(self.rig.pipeline, nobody, tuple)
        where = context.Context(tflow.tclient_conn(), _options())
        where.client.state, where.client.tls, where.client.sni = ConnectionState.OPEN, False, None
        where.client.alpn = None
        where.server = Server(address=(HOST, PORT))
        self.client = where.client
        self.top = HttpLayer(where, HTTPMode.transparent)
        adopt(self.top, self.gate)
        self.give(events.Start())

    async def _rig(self) -> Rig:
        return make_rig(capture=self.capture, judge=judge())

    def give(self, event: events.Event) -> None:
        """Let *event* come, and everything that it leads to."""
        waiting = deque([event])
        while waiting:
            for command in self.top.handle_event(waiting.popleft()):
                done = self._does(command)
                if done is not None:
                    waiting.append(done)

    def _does(self, command: commands.Command) -> events.Event | None:
        if isinstance(command, commands.SendData):
            if command.connection is self.client:
                self.told += command.data
            else:
                self._sent.append((command.connection, command.data))
        elif isinstance(command, commands.OpenConnection):
            command.connection.state = ConnectionState.OPEN
            return events.OpenConnectionCompleted(command, None)
        elif isinstance(command, commands.CloseConnection):
            self.closed = self.closed or command.connection is self.client
        elif isinstance(command, commands.StartHook):
            hook = getattr(self.gate, command.name, None)
            ran = hook(*command.args()) if hook is not None else None
            if inspect.isawaitable(ran):
                self.loop.run_until_complete(_awaited(ran))
            return events.HookCompleted(command) if command.blocking else None
        return None

    def serve(self) -> None:
        """Answer every request that has arrived whole."""
        while self._sent:
            server, data = self._sent.popleft()
            if server not in self._servers:
                self._servers[server] = h11.Connection(h11.SERVER)
            reader = self._servers[server]
            reader.receive_data(_escaped(data) if reader.their_state is h11.IDLE else data)
            while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    self._begun[server] = Arrived(event, b"")
                elif isinstance(event, h11.Data):
                    begun = self._begun[server]
                    self._begun[server] = Arrived(begun.head, begun.body + bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._answer(server, reader)

    def _answer(self, server: Server, reader: h11.Connection) -> None:
        done = self._begun.pop(server)
        self.arrived.append(done)
        assert reader.trailing_data[0] == b"", "more than one message was sent"
        reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        reader.send(h11.EndOfMessage())
        self.give(events.DataReceived(server, ANSWER))
        if reader.our_state is h11.DONE:
            reader.start_next_cycle()

    def judged(self) -> tuple[list[RequestInput], list[str]]:
        """Return the requests that were allowed, and the codes of all that was refused."""
        allowed, given = [], None
        for taken in self.capture.taken:
            given = taken if isinstance(taken, RequestInput) else given
            if isinstance(taken, Outcome) and taken.kind == "request":
                assert given is not None
                if taken.effective is Verdict.ALLOW:
                    allowed.append(given)
        records = self.rig.audit.of("decision")
        return allowed, [one["code"] for one in records if one["verdict"] != "allow"]

    def close(self) -> None:
        """End it from the client's side, and give back what it held."""
        if not self.closed:
            self.client.state = ConnectionState.CLOSED
            self.give(events.ConnectionClosed(self.client))
        self.rig.pipeline.close()
        self.loop.close()


def _escaped(data: bytes) -> bytes:
    """Return *data* with what is not ASCII in its first line escaped.

    Clients send it as it was typed, servers read it, and h11 does neither.
    """
    line, end, rest = data.partition(b"\r\n")
    plain = b"".join(b"%c" % byte if byte < 0x80 else b"%%%02X" % byte for byte in line)
    return plain + end + rest


async def _awaited(what: Awaitable[None]) -> None:
    await what


@dataclass(frozen=True)
class Arrived:
    """A request as h11, another parser of HTTP/1, reads what was sent to the server."""

    head: h11.Request
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.head.headers if key == name]


def mutated(base: int, steps: Iterable[Step]) -> bytes:
    """Return a request of the corpus after *steps*: what to do, where, and with which piece."""
    data = CORPUS[base % len(CORPUS)]
    for kind, where, which in steps:
        piece, at = PIECES[which % len(PIECES)], where % (len(data) + 1)
        if kind % 2:  # at the end of a line, where most pieces make another line
            lines = data.split(b"\r\n")
            at = len(b"\r\n".join(lines[: 1 + where % len(lines)]))
        cut = (0, 0, 0, len(piece), 1, which % 20)[kind % 6]
        data = data[:at] + (b"" if kind % 6 == 5 else piece) + data[at + cut :]
    return data


def check_request(raw: bytes, cuts: Iterable[int]) -> tuple[int, int]:
    """Refused with a code, or what the server reads is what was judged; return how many of each.

    The bytes of *raw* come from a client in pieces, cut at *cuts*.
    """
    edges = sorted(cut % (len(raw) + 1) for cut in cuts)
    line = Line()
    try:
        for start, end in pairwise([0, *edges, len(raw)]):
            if not line.closed:
                line.give(events.DataReceived(line.client, raw[start:end]))
                line.serve()
        allowed, refused = line.judged()
        assert len(line.arrived) == len(allowed), (line.arrived, allowed)
        for got, given in zip(line.arrived, allowed, strict=True):
            check_arrived(got, given)
        for code in refused:
            assert code.encode() in line.told or b"HEAD" in raw
    finally:
        line.close()
    return len(allowed), len(refused)


def check_arrived(got: Arrived, given: RequestInput) -> None:
    """The same method, target, host, framing and body, each said once."""
    assert got.head.method == given.head.method.encode()
    assert got.head.target == _escaped(given.head.target.encode("utf-8", "surrogateescape"))
    [host] = got.values(b"host")
    where = normalise_authority(host.decode("latin-1"))
    assert (where.host, where.port or PORT) == (given.head.host, given.head.port) == (HOST, PORT)
    assert len(got.values(b"content-length") + got.values(b"transfer-encoding")) <= 1
    assert got.body == given.body
