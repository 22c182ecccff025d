"""The other side of a live replay: a server that gives recorded answers, and the way to it."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mitmgate.ca.authority import self_signed
from mitmgate.ca.storage import write_whole
from mitmgate.mitm.core import Core
from mitmgate.mitm.gate import Gate
from mitmgate.replay.har import is_address
from mitmgate.wire.http import AnswerHead, Headers

HERE = "127.0.0.1"
_SOMEWHERE = "1.1.1.1"  # for what was not dialled when recorded; nothing is sent there
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_CHUNK = 65_536


class UnanswerableError(Exception):
    """What was recorded cannot be answered in HTTP/1.1 as it was."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A request that reached the server; it waits until it is answered and closed."""

    method: str
    target: str
    headers: Headers
    body: bytes
    _connection: h11.Connection
    _writer: asyncio.StreamWriter
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, head: AnswerHead, body: bytes) -> None:
        """Send a whole answer; raises as :meth:`begin`. A connection that is gone is no error."""
        try:
            await self.begin(head, length=len(body))
            if self.method != "HEAD":
                await self.more(body)
            await self.close()
        except OSError:
            self._over.set()

    async def begin(self, head: AnswerHead, *, length: int | None) -> None:
        """Send *head* with the framing of a body of *length* bytes, None: one that goes on.

        UnanswerableError: HTTP/1.1 has no such head; the connection is closed.
        """
        framing = ("transfer-encoding", "chunked")
        if length is not None:
            framing = ("content-length", str(length))
        gone = _FRAMING if length is not None else _FRAMING | {"content-encoding"}
        kept = [(name, value) for name, value in head.headers if name not in gone]
        bare = head.status in (204, 304)
        headers = [*kept, ("connection", "close"), *([] if bare else [framing])]
        await self._send(lambda: h11.Response(status_code=head.status, headers=encoded(headers)))

    async def more(self, data: bytes) -> None:
        """Send a part of the body; raises as :meth:`begin`."""
        if data:
            await self._send(lambda: h11.Data(data=data))

    async def close(self) -> None:
        """End the answer and the connection."""
        try:
            if self._connection.our_state is h11.SEND_BODY:
                await self._send(h11.EndOfMessage)
        finally:
            self._over.set()

    async def closed(self) -> None:
        """Wait until it is over."""
        await self._over.wait()

    def drop(self) -> None:
        """Close the connection without an answer."""
        self._over.set()

    async def _send(self, make: Callable[[], h11.Event]) -> None:
        try:
            data = self._connection.send(make())
        except (h11.LocalProtocolError, UnicodeError):
            self.drop()
            raise UnanswerableError from None
        self._writer.write(data or b"")
        await self._writer.drain()


type Dials = Mapping[int, Mapping[str, tuple[str, ...]]]
"""What names resolved to, by the numbers of the exchanges that they were dialled for."""


class RecordedServer:
    """Takes requests on two ports of this machine, with and without TLS; ``arrivals`` has them.

    ``addresses`` are what names resolve to now; ``connected`` tells whether anybody came since the
    last exchange began.
    """

    def __init__(self, dials: Dials) -> None:
        self.arrivals: asyncio.Queue[Arrival] = asyncio.Queue()
        self.ports: dict[bool, int] = {}
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.connected = False
        self._dials = dials
        for found in dials.values():
            self.addresses = {**found, **self.addresses}

    def expect(self, exchange: int) -> None:
        """Begin *exchange*: names resolve to what they did for it, or else for those before."""
        self.addresses |= self._dials.get(exchange, {})
        self.connected = False

    @asynccontextmanager
    async def serving(self, certificate: Path) -> AsyncIterator[None]:
        """Serve for the length of the block; *certificate* is a PEM file with its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        servers = {
            tls: await asyncio.start_server(self._serve, HERE, 0, ssl=context if tls else None)
            for tls in (True, False)
        }
        self.ports = {tls: int(one.sockets[0].getsockname()[1]) for tls, one in servers.items()}
        try:
            yield
        finally:
            for server in servers.values():
                server.close()
                server.close_clients()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected = True
        try:
            arrival = await _arrival(reader, writer)
            await self.arrivals.put(arrival)
            await arrival.closed()
        except (EOFError, OSError, h11.RemoteProtocolError):
            pass  # what was not a whole request reached nobody
        finally:
            writer.close()


async def _arrival(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Arrival:
    connection, head, body = h11.Connection(h11.SERVER), None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            break
        else:
            raise EOFError
    names = decoded(head.headers)
    method, target = head.method.decode("ascii"), head.target.decode("latin-1")
    return Arrival(method, target, names, bytes(body), connection, writer)


class RecordedGate(Gate):
    """A gate whose connections end at *server*, once they were judged.

    What is judged are the addresses that names resolved to when they were recorded.
    """

    def __init__(
        self,
        core: Core,
        own: Callable[[], tuple[tuple[str, int], ...]],
        server: RecordedServer,
    ) -> None:
        async def resolve(host: str, _port: int) -> tuple[str, ...]:
            return server.addresses.get(host) or (_SOMEWHERE,)

        super().__init__(core, resolve, own)
        self._server = server

    async def server_connect(self, data: Any) -> None:
        """Judge the address, and dial the recorded server instead of it."""
        before = data.server.address
        await super().server_connect(data)
        if data.server.error is None and before is not None:
            data.server.address = (HERE, self._server.ports[bool(data.server.tls)])


def certificate_for(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Write a CA and a certificate of it for *names* (with its key) to *folder*; return both."""
    now, keys = datetime.now(UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    ca = self_signed(keys[0], _name("mitmgate replay CA"), now)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
    listed = x509.SubjectAlternativeName([_general(name) for name in sorted(set(names))])
    server = (
        x509.CertificateBuilder(ca.subject, _name("recorded"), keys[1].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(listed, critical=False)
        .add_extension(issuer, critical=False)  # Python 3.13 and Go refuse one without it
        .sign(keys[0], hashes.SHA256())
    )
    key = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths = folder / "recorded-ca.pem", folder / "recorded.pem"
    write_whole(paths[0], ca.public_bytes(Encoding.PEM), mode=0o600)
    write_whole(paths[1], key + server.public_bytes(Encoding.PEM), mode=0o600)
    return paths


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* as bytes."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return *headers* as text, names in lower case."""
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1"))
                 for name, value in headers)  # fmt: skip


def without_framing(headers: Headers) -> Headers:
    """Return *headers* without those that are about one connection or the length of a body."""
    return tuple(pair for pair in headers if pair[0] not in _FRAMING)


def _general(name: str) -> x509.GeneralName:
    if is_address(name):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
