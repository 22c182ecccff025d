"""Hundreds of calls wait at once, are decided in any order, and each client gets its own answer."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import InProcess

from mitmgate.hold.queue import HoldLimits

COUNT = 500
LEAVING = 50
GROWTH = 250  # MiB for all of it: proxy, clients and server are one process here

POLICY = """\
version: 1
network: {resolve: {notes.upstream.example: 127.0.0.1}}
servers:
  notes: {url: "http://notes.upstream.example:PORT/mcp"}
mcp:
  rules:
    - {id: asks, tool: echo, then: ask}
  otherwise: deny
egress: {otherwise: deny}
hold: {wait: 60s, unattended: wait}
"""


@dataclass
class Echo:
    """An MCP server over plain HTTP whose one tool gives back its text; notes what ran."""

    port: int = 0
    ran: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                call = await read_message(reader)
                text = call["params"]["arguments"]["text"]
                self.ran.append(text)
                writer.write(answer(call["id"], text))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:"))  # fmt: skip
    message: dict[str, Any] = json.loads(await reader.readexactly(length))
    return message


def answer(number: int, text: str) -> bytes:
    result = {"content": [{"type": "text", "text": text}]}
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
    return (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            + f"content-length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip


@dataclass
class Caller:
    """A client of its own that makes one call and reads what comes back."""

    text: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def call(cls, text: str, proxy: tuple[str, int], port: int) -> Caller:
        reader, writer = await asyncio.open_connection(*proxy)
        params = {"name": "echo", "arguments": {"text": text}}
        # One id for all of them: what tells the calls apart is who made them.
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        host = f"notes.upstream.example:{port}"
        writer.write(
            f"POST http://{host}/mcp HTTP/1.1\r\nhost: {host}\r\nmcp-session-id: {text}\r\n"
            "accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        return cls(text, reader, writer)

    async def read(self) -> tuple[bool, str]:
        """Return whether an error came, and its text."""
        got = await read_message(self.reader)
        result = got["result"]
        return result.get("isError", False), result["content"][0]["text"]

    def leave(self) -> None:
        self.writer.close()


class Operator:
    """Sees what waits through the control API, and decides."""

    def __init__(self, proxy: InProcess) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(proxy.running.control))
        headers = {"authorization": f"Bearer {proxy.running.operator_key}"}
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://gate", headers=headers, timeout=30
        )
        self.waiting: dict[str, str] = {}
        self.gone: dict[str, str] = {}
        self._changed = asyncio.Condition()

    async def watch(self) -> None:
        """Take in what happens until this is cancelled."""
        async with self.client.stream("GET", "/v1/events") as events:
            async for line in events.aiter_lines():
                async with self._changed:
                    self._take(json.loads(line))
                    self._changed.notify_all()

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "resolved":
            self.gone[event["resolved"]["id"]] = event["resolved"]["via"]
        entries: list[dict[str, Any]] = []
        if event["type"] in ("snapshot", "held"):
            entries = event["pending"] if event["type"] == "snapshot" else [event["pending"]]
        for held in entries:
            self.waiting[held["id"]] = held["arguments"]["arguments"]["text"]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(is_so)

    async def decide(self, key: str, decision: str) -> int:
        asked = {"decision": decision, "operator": "tester"}
        if decision == "deny":
            asked["reason"] = f"not {self.waiting[key]}"
        return (await self.client.post(f"/v1/pending/{key}", json=asked)).status_code

    async def still_waiting(self) -> set[str]:
        listed = (await self.client.get("/v1/pending")).json()["pending"]
        return {held["id"] for held in listed if not held["detached"]}


def resident() -> int:
    """Return the memory of this process in MiB."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if "VmRSS" in line) // 1024


@dataclass
class Scene:
    """A server, a proxy, an operator who watches it, and what each client is called."""

    echo: Echo
    proxy: InProcess
    operator: Operator
    callers: dict[str, Caller] = field(default_factory=dict)

    async def everybody_calls(self) -> None:
        host, _, port = self.proxy.running.listen.rpartition(":")
        for number in range(COUNT):
            name = f"t{number:03}"
            self.callers[name] = await Caller.call(name, (host, int(port)), self.echo.port)
        await self.operator.until(lambda: len(self.operator.waiting) == COUNT)
        assert sorted(self.operator.waiting.values()) == sorted(self.callers)
        assert self.echo.ran == []

    async def some_leave(self, leaving: list[str]) -> None:
        for key in leaving:
            self.callers[self.operator.waiting[key]].leave()
        await self.operator.until(lambda: len(self.operator.gone) == len(leaving))
        assert self.operator.gone == dict.fromkeys(leaving, "client_left")
        assert await self.operator.still_waiting() == {*self.operator.waiting} - {*leaving}

    async def all_are_decided(self, keys: list[str], denied: set[str]) -> None:
        for start in range(0, len(keys), 20):
            some = keys[start : start + 20]
            answers = (self.operator.decide(k, "deny" if k in denied else "allow") for k in some)
            assert set(await asyncio.gather(*answers)) == {200}

    async def everybody_reads_their_own(self, keys: list[str], denied: set[str]) -> None:
        for key in keys:
            own = self.operator.waiting[key]
            wanted = f"The operator denied this: not {own}" if key in denied else own
            assert await self.callers[own].read() == (key in denied, wanted)
        passed = sorted(self.operator.waiting[key] for key in keys if key not in denied)
        assert sorted(self.echo.ran) == passed


@asynccontextmanager
async def scene(start: Callable[[int], InProcess]) -> AsyncIterator[Scene]:
    echo = Echo()
    listening = await asyncio.start_server(echo.handle, "127.0.0.1", 0, backlog=COUNT)
    echo.port = listening.sockets[0].getsockname()[1]
    proxy = await asyncio.to_thread(start, echo.port)
    made = Scene(echo, proxy, Operator(proxy))
    watching = asyncio.create_task(made.operator.watch())
    try:
        yield made
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        for caller in made.callers.values():
            caller.leave()
        await made.operator.client.aclose()
        listening.close()
        listening.close_clients()


async def held_and_decided(start: Callable[[int], InProcess]) -> None:
    async with scene(start) as made:
        before = resident()
        await made.everybody_calls()
        order = random.Random(7).sample(sorted(made.operator.waiting), COUNT)  # noqa: S311
        leaving, rest = order[:LEAVING], order[LEAVING:]
        denied = set(rest[::3])
        await made.some_leave(leaving)
        await made.all_are_decided(rest, denied)
        await made.everybody_reads_their_own(rest, denied)
        assert await made.operator.decide(leaving[0], "allow") == 409
        assert await made.operator.still_waiting() == set()
        assert resident() - before < GROWTH


@pytest.fixture(autouse=True)
def sockets() -> Iterator[None]:
    """Let this process have both ends of every connection open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8 * COUNT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hundreds_of_calls_wait_and_each_client_gets_its_own_answer(
    run_proxy: Callable[..., InProcess],
) -> None:
    limits = HoldLimits(total=COUNT, per_session=COUNT, per_agent=COUNT)

    def start(port: int) -> InProcess:
        return run_proxy(policy=POLICY.replace("PORT", str(port)), hold=limits)

    asyncio.run(held_and_decided(start))
