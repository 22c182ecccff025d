"""HTTP/2 with clients (``--http2``): as safe as HTTP/1, and no stream waits for another."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import POLICY, WEB_NAME, Gate, LoopThread, Web, closed
from http2_client import Http2Client, open_tls

from mitmgate.mitm.gate import Gate as GateAddon

STREAMS = 10


@pytest.fixture
def running(run_proxy: Callable[..., Any]) -> Any:
    return run_proxy(http2=True).running


@pytest.fixture
def connect(running: Any) -> Iterator[Callable[..., Http2Client]]:
    opened: list[Http2Client] = []

    def begin(target: str, sni: str | None = None, *, careful: bool = True) -> Http2Client:
        ca = str(running.authority.cert_path)
        connection = open_tls(running.listen, ca, target, sni=sni)
        assert connection.selected_alpn_protocol() == "h2"
        opened.append(Http2Client(connection, careful=careful))
        return opened[-1]

    yield begin
    for client in opened:
        client.connection.close()


class Streaming(Web):
    """Answers /events with a stream that does not end, /slow when it is told, the rest at once."""

    def __init__(self) -> None:
        super().__init__()
        self.protocols: set[str | None] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        tls = writer.get_extra_info("ssl_object")
        self.protocols.add(tls.selected_alpn_protocol())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                with self.came:
                    self.requests.append(head)
                    self.came.notify_all()
                if b" /events" in head:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                                 b"data: hello\n\n")  # fmt: skip
                    await reader.read()
                    return
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@pytest.fixture
def streaming(pki: tuple[Path, Path]) -> Iterator[Streaming]:
    server = Streaming()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki[1])
    context.set_alpn_protocols(["h2", "http/1.1"])
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)

        listening = run(start())
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        run(closed(listening))


def test_a_hundred_requests_in_turn_use_one_connection(
    connect: Callable[..., Http2Client], streaming: Streaming
) -> None:
    where = f"{WEB_NAME}:{streaming.port}"
    client = connect(where)
    for _ in range(100):
        [answer] = client.wait(client.send(where))
        assert (answer.status, answer.body) == (200, b"hello")
    assert (streaming.connections, streaming.protocols) == (1, {"http/1.1"})


def test_streams_of_events_block_no_other_call(
    connect: Callable[..., Http2Client], streaming: Streaming
) -> None:
    where = f"{WEB_NAME}:{streaming.port}"
    client = connect(where)
    numbers = [client.send(where, "/events") for _ in range(STREAMS)]
    answers = client.wait(*numbers, size=len(b"data: hello\n\n"))
    assert {answer.body for answer in answers} == {b"data: hello\n\n"}
    [other] = client.wait(client.send(where))
    assert (other.status, other.body) == (200, b"hello")
    assert streaming.connections == STREAMS + 1
    client.reset(numbers[0])
    [again] = client.wait(client.send(where))
    assert again.body == b"hello"
    assert not any(client.answers[number].ended for number in numbers)
    assert streaming.connections == STREAMS + 1


def test_what_a_server_of_http1_reads(connect: Callable[..., Http2Client], web: Web) -> None:
    where = f"{WEB_NAME}:{web.port}"
    client = connect(where)
    client.wait(
        client.send(where, "/a", ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")),
        client.send(where, "/b", method="POST", body=b""),
        client.send(where, "/c", method="POST", body=b"text", trailers=(("x-sum", "1"),)),
    )
    sent = {head.split(b" ")[1]: head.lower() for head in web.requests}
    assert all(b"\r\nhost: " + where.encode() in head for head in sent.values())
    assert b"\r\ncookie: a=1; b=2\r\n" in sent[b"/a"]
    assert b"\r\nte:" not in sent[b"/a"]
    assert b"\r\ncontent-length: 0\r\n" in sent[b"/b"]
    assert sent[b"/c"].endswith(b"content-length: 4\r\n\r\ntext")


def test_trailers_of_a_server_of_http1(connect: Callable[..., Http2Client], web: Web) -> None:
    web.answer = (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                  b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")  # fmt: skip
    where = f"{WEB_NAME}:{web.port}"
    client = connect(where)
    [answer] = client.wait(client.send(where))
    assert (answer.body, answer.trailers) == (b"hello", {"x-sum": "1"})
    assert "transfer-encoding" not in answer.headers


def test_every_stream_whose_address_is_refused_is_told_so(
    run_proxy: Callable[..., Any], web: Web
) -> None:
    looked: list[str] = []
    everybody = asyncio.Event()

    async def resolver(host: str, _: int) -> tuple[str, ...]:
        looked.append(host)
        if len(looked) == STREAMS:
            everybody.set()
        await everybody.wait()
        return ("10.0.0.1",)

    proxy = run_proxy(lambda core, _, own: GateAddon(core, resolver, own), http2=True)
    judge = proxy.running.pipeline.judge
    judge.policy = replace(judge.policy, static_names={})
    listen, ca = proxy.running.listen, str(proxy.running.authority.cert_path)
    where = f"{WEB_NAME}:443"
    with open_tls(listen, ca, where) as connection:
        client = Http2Client(connection)
        answers = client.wait(*[client.send(WEB_NAME) for _ in range(STREAMS)])
    assert {answer.status for answer in answers} == {403}
    assert {json.loads(answer.body)["code"] for answer in answers} == {"private_address"}
    assert len(looked) == STREAMS
    assert web.connections == 0


def test_a_body_beyond_the_limit_ends_its_stream_only(
    run_proxy: Callable[..., Any], web: Web
) -> None:
    running = run_proxy(http2=True, options=("body_size_limit=1k",)).running
    where = f"{WEB_NAME}:{web.port}"
    with open_tls(running.listen, str(running.authority.cert_path), where) as connection:
        client = Http2Client(connection)
        big, small = (client.send(where, method="POST", body=b"a" * size) for size in (9000, 9))
        refused, fine = client.wait(big, small)
    assert (refused.status, json.loads(refused.body)["code"]) == (413, "body_too_large")
    assert fine.body == b"hello"
    assert len(web.requests) == 1


def test_all_streams_together_are_bounded_too(run_proxy: Callable[..., Any], web: Web) -> None:
    running = run_proxy(http2=True, options=("body_size_limit=1k",)).running
    where = f"{WEB_NAME}:{web.port}"
    with open_tls(running.listen, str(running.authority.cert_path), where) as connection:
        client = Http2Client(connection)
        *_, last = [client.begin(where, b"a" * 1000) for _ in range(3)]
        [refused] = client.wait(last)
        [fine] = client.wait(client.send(where))
    assert (refused.status, json.loads(refused.body)["code"]) == (413, "body_too_large")
    assert fine.body == b"hello"
    assert len(web.requests) == 1


@pytest.mark.parametrize(("options", "spoken"), [(("--http2",), "h2"), ((), None)],
                         ids=["with --http2", "without"])  # fmt: skip
def test_http2_is_spoken_where_it_was_asked_for(
    options: tuple[str, ...], spoken: str | None, start_gate: Callable[..., Gate], web: Web
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", "9"), *options)
    where = f"{WEB_NAME}:{web.port}"
    with open_tls(f"127.0.0.1:{gate.port}", gate.ready["ca"], where) as connection:
        assert connection.selected_alpn_protocol() == spoken
        if spoken == "h2":
            client = Http2Client(connection)
            [answer] = client.wait(client.send(where))
            assert answer.body == b"hello"
            assert gate.decisions()[-1]["rule"] == "docs"


def test_a_client_that_cancels_is_seen_to_have_left(
    connect: Callable[..., Http2Client], streaming: Streaming, running: Any
) -> None:
    where = f"{WEB_NAME}:{streaming.port}"
    client = connect(where)
    number = client.send(where, "/events")
    client.wait(number, size=5)
    client.reset(number)
    client.wait(client.send(where))
    text = (running.control.parent / "audit" / "audit.jsonl").read_text()
    ends = [json.loads(line) for line in text.splitlines() if '"completion"' in line]
    assert [end["fate"] for end in ends] == ["client_left", "answered"]


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a"}}


@pytest.mark.parametrize("cancel", [True, False], ids=["one stream", "the connection"])
def test_a_call_that_waits_is_given_up_with_its_stream(
    cancel: bool, start_gate: Callable[..., Gate], web: Web
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", "9"), "--http2")
    where = f"{WEB_NAME}:{web.port}"
    connection = open_tls(f"127.0.0.1:{gate.port}", gate.ready["ca"], where)
    client = Http2Client(connection)
    number = client.send(where, "/x", ("content-type", "application/json"), method="POST",
                         body=json.dumps(CALL).encode())  # fmt: skip
    gate.wait_pending()
    if cancel:
        client.reset(number)
    else:
        connection.close()
        again = open_tls(f"127.0.0.1:{gate.port}", gate.ready["ca"], where)
        client = Http2Client(again)
    with client.connection:
        client.wait(client.send(where))
    answers = [record["via"] for record in gate.audit() if record["type"] == "resolution"]
    assert answers == ["client_left"]
    assert [request.split(b" ")[0] for request in web.requests] == [b"GET"]


@pytest.mark.parametrize("size", [500_000, 3_000_000])
def test_a_large_answer_does_not_stop_its_connection(
    connect: Callable[..., Http2Client], web: Web, size: int
) -> None:
    web.answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    where = f"{WEB_NAME}:{web.port}"
    client = connect(where)
    for _ in range(3):
        [answer] = client.wait(client.send(where))
        assert (answer.status, len(answer.body)) == (200, size)
    assert len(web.requests) == 3
