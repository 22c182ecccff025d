"""A fake proxy that speaks the control protocol on a real Unix socket, and what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mitmgate.control.captures import CaptureMade, CaptureRequest
from mitmgate.control.decisions import Preview, PreviewRequest
from mitmgate.control.detail import Detail
from mitmgate.control.models import (
    Decided,
    DecideRequest,
    Event,
    GrantList,
    HeldEvent,
    Pending,
    Resolved,
    ResolvedEvent,
    Row,
    RowEvent,
    ScopeChoice,
    Snapshot,
    State,
    StateEvent,
    Switch,
    SwitchRequest,
    Undone,
    UndoRequest,
)
from mitmgate_tui.example import pages

KEY = "operator-key-of-the-tests"
NOW = 1_772_654_047.0
PATHS = (
    "/v1/pending/{id}", "/v1/pending/{id}/preview", "/v1/undo", "/v1/switch", "/v1/rows/{id}",
    "/v1/servers", "/v1/rules", "/v1/health", "/v1/captures",
)  # fmt: skip
PREVIEW = Preview(
    rule="- id: allow-pay\n", hash="sha256:new", covers=2, warnings=("Mind the [b]gap[/b].",),
    diff="--- a\n+++ b\n@@ -1 +1,2 @@\n calls:\n+  - id: allow-pay\n",
)  # fmt: skip
SCOPES = (
    ScopeChoice(on="call", covers="exactly this pay on stripe"),
    ScopeChoice(on="values", covers="pay on stripe with the same values", names=("amount", "to")),
    ScopeChoice(on="tool", covers="every pay on stripe"),
)  # fmt: skip


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
    own = {
        key: changes.pop(key) for key in [*changes] if key in Pending.model_fields.keys() - {"id"}
    }
    row = make_row(name, **{"verdict": "ask", "rule": "otherwise", "held": True} | changes)
    facts = {"id": row.id, "row": row, "since": NOW, "deadline": NOW + wait, "left": wait}
    return Pending.model_validate(facts | {"arguments": arguments} | own)


async def _broken() -> AsyncIterator[bytes]:
    yield b"{"
    raise ConnectionError("the proxy dies while it answers")


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
    problem: dict[str, Any] = field(default_factory=lambda: {"title": "[b]no[/b]"})
    refuses: frozenset[str] = frozenset()
    hangs_up: bool = False
    released: int = 1
    offers: tuple[str, ...] = PATHS
    previewed: list[tuple[str, PreviewRequest]] = field(default_factory=list)
    preview: Preview = PREVIEW
    undone: list[UndoRequest] = field(default_factory=list)
    switched: list[SwitchRequest] = field(default_factory=list)
    halt: Switch | None = None
    details: dict[str, Detail] = field(default_factory=dict)
    detailed: list[str] = field(default_factory=list)
    captured: list[str] = field(default_factory=list)
    trouble: str | None = None
    policy_trouble: str | None = None
    readers: int = 0
    pages: dict[str, str] = field(
        default_factory=lambda: {path: page.decode() for path, page in pages().items()}
    )
    _queues: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    _server: _Server | None = None
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        routes = [
            Route("/v1/events", self._events),
            Route("/v1/pending/{id}", self._decide, methods=["POST"]),
            Route("/v1/pending/{id}/preview", self._preview, methods=["POST"]),
            Route("/v1/undo", self._undo, methods=["POST"]),
            Route("/v1/switch", self._switch, methods=["POST"]),
            Route("/v1/rows/{id}", self._row),
            Route("/v1/captures", self._capture, methods=["POST"]),
            Route("/v1/openapi.json", self._openapi),
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

    def resolve(
        self, entry: str, answer: str, via: str = "timeout", *, operator: str | None = None
    ) -> None:
        del self.pending[entry]
        resolved = Resolved.model_validate({
            "id": entry, "answer": answer, "via": via, "operator": operator, "reason": None,
            "waited": 3.0,
        })  # fmt: skip
        self.send(ResolvedEvent(resolved=resolved))

    def state(self) -> State:
        return State(
            version="0.1.0", listen="127.0.0.1:8080", mode="enforce", policy="sha256:3f9c21a04be7",
            pending=len(self.pending), operators=1, decisions=len(self.rows), denied=3,
            healthy=self.trouble is None, trouble=self.trouble,
            policy_trouble=self.policy_trouble, halt=self.halt,
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

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse({"paths": {path: {} for path in self.offers}})

    async def _decide(self, request: Request) -> Response:
        if not self._knows(request):
            return JSONResponse({"title": "operator key needed"}, 403)
        entry = request.path_params["id"]
        if self.answer_status != 200 or entry in self.refuses:
            status = self.answer_status if self.answer_status != 200 else 409
            return JSONResponse(self.problem, status)
        if entry not in self.pending:
            return JSONResponse({"title": "no such entry"}, 404)
        body = DecideRequest.model_validate_json(await request.body())
        if body.fingerprint not in (None, self.pending[entry].fingerprint):
            return JSONResponse({"code": "moved", "detail": "That is another call by now."}, 409)
        self.decided.append((entry, body))
        if self.hangs_up:
            return StreamingResponse(_broken(), headers={"content-length": "100"})
        self.resolve(entry, body.decision, body.via)
        grant = None if body.lasting == "once" else "g1"
        decided = Decided(id=entry, answer=body.decision, released=self.released, grant=grant)
        return JSONResponse(decided.model_dump())

    async def _preview(self, request: Request) -> Response:
        asked = PreviewRequest.model_validate_json(await request.body())
        self.previewed.append((request.path_params["id"], asked))
        return JSONResponse(self.preview.model_dump())

    async def _undo(self, request: Request) -> Response:
        asked = UndoRequest.model_validate_json(await request.body())
        self.undone.append(asked)
        listed = GrantList.model_validate_json(self.pages["grants"]).grants
        grant = next(grant for grant in listed if grant.id == asked.grant)
        return JSONResponse(Undone(grant=grant).model_dump())

    async def _switch(self, request: Request) -> Response:
        asked = SwitchRequest.model_validate_json(await request.body())
        self.switched.append(asked)
        self.halt = Switch(on=asked.on, by=asked.operator, since=NOW)
        self.beat()
        return JSONResponse(self.halt.model_dump())

    async def _capture(self, request: Request) -> Response:
        asked = CaptureRequest.model_validate_json(await request.body())
        self.captured.append(asked.id)
        if self.answer_status != 200:
            return JSONResponse(self.problem, self.answer_status)
        made = CaptureMade(path=f"/state/fixtures/{asked.id}.jsonl", carried=2)
        return JSONResponse(made.model_dump())

    async def _row(self, request: Request) -> Response:
        self.detailed.append(request.path_params["id"])
        detail = self.details.get(request.path_params["id"])
        if detail is None:
            return JSONResponse({"detail": "no such row is kept"}, 404)
        return Response(detail.model_dump_json())
