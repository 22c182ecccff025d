"""A client of HTTP/2 that shows what it is told: several streams at once on one connection."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events


@dataclass
class Answer:
    """What came on one stream. ``reset`` is the code of RST_STREAM, or -1 for a lost connection."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


def open_tls(
    listen: str, ca: str, target: str, *, sni: str | None = None, alpn: str = "h2"
) -> ssl.SSLSocket:
    """Open TLS through the proxy at *listen* to *target* (``host:port``)."""
    host, _, port = listen.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=20)
    plain.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    head = plain.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), head
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(plain, server_hostname=sni or target.rpartition(":")[0])


class Http2Client:
    """One connection; ``send`` begins a stream, ``wait`` reads until streams have ended."""

    def __init__(self, connection: ssl.SSLSocket, *, careful: bool = True) -> None:
        self.connection = connection
        config = h2.config.H2Configuration(
            header_encoding="utf-8",
            validate_outbound_headers=careful,
            normalize_outbound_headers=careful,
        )
        self.peer = h2.connection.H2Connection(config)
        self.peer.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.lost = False

    def send(
        self,
        authority: str,
        path: str = "/",
        *more: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        trailers: tuple[tuple[str, str], ...] = (),
    ) -> int:
        """Begin a stream; return its number."""
        number = self.peer.get_next_available_stream_id()
        named = [(":authority", authority)] if authority else []
        head = [(":method", method), (":scheme", "https"), (":path", path), *named, *more]
        self.peer.send_headers(number, head, end_stream=body is None)
        if body is not None:
            self.peer.send_data(number, body, end_stream=not trailers)
        if trailers:
            self.peer.send_headers(number, list(trailers), end_stream=True)
        self.answers[number] = Answer()
        self.connection.sendall(self.peer.data_to_send())
        return number

    def begin(self, authority: str, body: bytes) -> int:
        """Begin a stream that posts *body* and does not end; return its number."""
        number = self.peer.get_next_available_stream_id()
        self.peer.send_headers(number, [(":method", "POST"), (":scheme", "https"), (":path", "/"),
                                        (":authority", authority)])  # fmt: skip
        self.peer.send_data(number, body)
        self.answers[number] = Answer()
        self.connection.sendall(self.peer.data_to_send())
        return number

    def reset(self, number: int) -> None:
        """Cancel a stream."""
        self.peer.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        self.connection.sendall(self.peer.data_to_send())

    def wait(self, *numbers: int, size: int = 0) -> list[Answer]:
        """Read until the streams have ended; with *size*, until each has that many bytes."""

        def ready(answer: Answer) -> bool:
            if answer.ended or answer.reset is not None:
                return True
            return bool(size) and len(answer.body) >= size

        while not self.lost and not all(ready(self.answers[number]) for number in numbers):
            data = self.connection.recv(65536)
            if not data:
                self.lost = True
                break
            for event in self.peer.receive_data(data):
                self._take(event)
            self.connection.sendall(self.peer.data_to_send())
        return [self.answers[number] for number in numbers]

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.lost = True
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            fields = {str(name): str(value) for name, value in event.headers or []}
            answer.status, answer.headers = int(fields.pop(":status")), fields
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            self.peer.acknowledge_received_data(event.flow_controlled_length or 0,
                                                event.stream_id or 0)  # fmt: skip
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = {str(name): str(value) for name, value in event.headers or []}
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code or 0)
