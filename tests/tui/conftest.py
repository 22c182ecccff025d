"""A fake proxy that speaks the control protocol on a real Unix socket, and a console on it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from textual.pilot import Pilot

from mitmgate.control.models import (
    DecideRequest,
    Event,
    HeldEvent,
    Pending,
    Resolved,
    ResolvedEvent,
    Row,
    RowEvent,
    Snapshot,
    State,
    StateEvent,
)
from mitmgate_tui.app import Console, Options
from mitmgate_tui.board import Board
from mitmgate_tui.client import Client
from mitmgate_tui.clock import Clock

KEY = "operator-key-of-the-tests"
NOW = 1_772_654_047.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--snapshot-update", action="store_true", help="write tests/tui/snapshots")


def make_row(name: str, **changes: Any) -> Row:
    """Return an allowed call of a tool called *name*, whose id it also is."""
    facts: dict[str, Any] = {
        "id": f"{name}.0", "time": NOW, "kind": "request", "channel": "mcp", "agent": "claude@lap",
        "server": "github", "host": "mcp.github.com", "endpoint": "https://mcp.github.com/mcp",
        "method": "tools/call", "tool": name, "verdict": "allow", "rule": "reads", "code": "rule",
        "reason": "Reads are fine.", "enforced": True, "edits": 0,
    }  # fmt: skip
    return Row.model_validate(facts | changes)


def make_pending(name: str, *, arguments: Any = None, wait: float = 45, **changes: Any) -> Pending:
    """Return a call of *name* that waits."""
    row = make_row(name, **{"verdict": "ask", "rule": "otherwise", "held": True} | changes)
    return Pending(id=row.id, row=row, since=NOW, deadline=NOW + wait, arguments=arguments)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the test runner keeps its own


@dataclass
class FakeProxy:
    """Remembers what was decided, and answers as it is told."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    pending: dict[str, Pending] = field(default_factory=dict)
    decided: list[tuple[str, DecideRequest]] = field(default_factory=list)
    answer_status: int = 200
    trouble: str | None = None
    policy_trouble: str | None = None
    readers: int = 0
    pages: dict[str, str] = field(default_factory=dict)
    _queues: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    _server: _Server | None = None
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        routes = [
            Route("/v1/events", self._events),
            Route("/v1/pending/{id}", self._decide, methods=["POST"]),
            Route("/v1/{page}", self._page),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), uds=str(self.path), log_config=None, lifespan="off",
            ws="none", timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(10):
            await self._server.ready.wait()

    async def stop(self) -> None:
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = True
        self.raw(None)
        await self._task
        self._queues.clear()

    def raw(self, data: bytes | None) -> None:
        for queue in self._queues:
            queue.put_nowait(data)

    def send(self, *events: Event) -> None:
        for event in events:
            self.raw(event.model_dump_json().encode() + b"\n")

    def row(self, *rows: Row) -> None:
        self.rows += rows
        self.send(*(RowEvent(row=row) for row in rows))

    def hold(self, *calls: Pending) -> None:
        self.pending |= {call.id: call for call in calls}
        self.send(*(HeldEvent(pending=call) for call in calls))

    def resolve(self, entry: str, answer: str, via: str = "timeout") -> None:
        del self.pending[entry]
        resolved = Resolved.model_validate({
            "id": entry, "answer": answer, "via": via, "operator": None, "reason": None,
            "waited": 3.0,
        })  # fmt: skip
        self.send(ResolvedEvent(resolved=resolved))

    def state(self) -> State:
        return State(
            version="0.1.0", listen="127.0.0.1:8080", mode="enforce", policy="sha256:3f9c21a04be7",
            pending=len(self.pending), operators=1, decisions=len(self.rows), denied=3,
            healthy=self.trouble is None, trouble=self.trouble,
            policy_trouble=self.policy_trouble,
        )  # fmt: skip

    def beat(self) -> None:
        self.send(StateEvent(state=self.state()))

    def _knows(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {KEY}"

    async def _events(self, request: Request) -> Response:
        operator = self._knows(request)
        pending = tuple(
            call if operator else call.model_copy(update={"arguments": None})
            for call in self.pending.values()
        )
        first = Snapshot(
            state=self.state(), rows=tuple(self.rows), pending=pending, operator=operator
        )
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queues.append(queue)
        self.readers += 1

        async def lines() -> AsyncIterator[bytes]:
            yield first.model_dump_json().encode() + b"\n"
            while (line := await queue.get()) is not None:
                yield line

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _page(self, request: Request) -> Response:
        page = self.pages.get(request.path_params["page"])
        return Response(status_code=404) if page is None else Response(page)

    async def _decide(self, request: Request) -> Response:
        if not self._knows(request):
            return JSONResponse({"title": "operator key needed"}, 403)
        if self.answer_status != 200:
            return JSONResponse({"title": "[b]no[/b]"}, self.answer_status)
        entry = request.path_params["id"]
        if entry not in self.pending:
            return JSONResponse({"title": "no such entry"}, 404)
        body = DecideRequest.model_validate_json(await request.body())
        self.decided.append((entry, body))
        self.resolve(entry, body.decision, body.via)
        return JSONResponse({"id": entry, "answer": body.decision})


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds

    def clock(self) -> Clock:
        return Clock(
            wall=lambda: NOW + self.elapsed, steady=lambda: self.elapsed, calendar=time.gmtime
        )


@dataclass
class Desk:
    """A console in a terminal of its own, and the hands on its keyboard."""

    proxy: FakeProxy
    clock: FakeClock
    app: Console
    pilot: Pilot[None]

    async def until(self, condition: Callable[[], object], *, seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await self.pilot.pause()

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    async def press(self, *keys: str) -> None:
        """Press keys like a hand does, with the screen settled in between."""
        for key in keys:
            await self.pilot.press(key)
            await self.until(lambda: self.app._intent is None)

    async def arm(self) -> None:
        """Let the selection rest until the keys count."""
        await self.pilot.pause()
        self.clock.advance(1.0)
        await self.until(lambda: self.app.armed)

    def text(self) -> str:
        """Return what stands on the screen."""
        screen = self.app.screen
        strips = screen._compositor.render_strips(self.app.size)
        return "\n".join(strip.text for strip in strips)

    def notices(self) -> list[str]:
        return [note.message for note in self.app._notifications]


type OpenDesk = Callable[..., contextlib.AbstractAsyncContextManager[Desk]]


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    # pytest's own folders have names longer than a Unix socket's path may be.
    with tempfile.TemporaryDirectory(prefix="tui") as folder:
        yield Path(folder)


@pytest.fixture
async def proxy(socket_folder: Path) -> AsyncIterator[FakeProxy]:
    proxy = FakeProxy(socket_folder / "control.sock")
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def open_desk(proxy: FakeProxy) -> OpenDesk:
    @contextlib.asynccontextmanager
    async def open_it(
        *,
        key: str | None = KEY,
        size: tuple[int, int] = (140, 45),
        options: Options | None = None,
        max_rows: int | None = None,
    ) -> AsyncIterator[Desk]:
        clock = FakeClock()
        client = Client(proxy.path, key, operator="test")
        app = Console(client, clock=clock.clock(), options=options)
        if max_rows is not None:
            app.board = Board(max_rows)
        async with app.run_test(size=size, notifications=True) as pilot:
            desk = Desk(proxy, clock, app, pilot)
            await desk.until(lambda: app.board.gone is None)
            await pilot.pause()
            yield desk

    return open_it


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk() as desk:
        yield desk
