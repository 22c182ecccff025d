"""The control API: an ASGI app on a Unix socket in the state folder, models in ``control``.

Without the operator key everything is read-only and no arguments are shown.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mitmgate.control.models import (
    Pending,
    PendingList,
    ServerList,
    Snapshot,
    State,
    StateEvent,
)
from mitmgate.serve.hold_api import HoldApi
from mitmgate.serve.hub import Reader
from mitmgate.serve.inventory import Views
from mitmgate.serve.metrics import MetricsApi
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.policy_api import PolicyApi
from mitmgate.serve.reload import Reloader
from mitmgate.serve.replies import json_of, problem
from mitmgate.serve.views import without_arguments

STATE_SECONDS = 1.0


class ControlApi:
    """The handlers; ``state`` gives the proxy at a glance, ``key`` is the operator key."""

    def __init__(
        self,
        pipeline: Pipeline,
        state: Callable[[], State],
        key: str,
        reloader: Reloader | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._reloader = reloader
        self._state = state
        self._key = key.encode()
        self._views = Views(pipeline.judge.scanner)

    def app(self) -> Starlette:
        """Return the ASGI app."""
        return Starlette(
            routes=[
                Route("/v1/state", self.get_state),
                Route("/v1/events", self.get_events),
                Route("/v1/pending", self.get_pending),
                *HoldApi(self._pipeline.holding, self._is_operator).routes(),
                Route("/v1/servers", self.get_servers),
                Route("/v1/metrics", MetricsApi(self._pipeline, self._reloader).show),
                *self._policy_routes(),
            ],
            exception_handlers={HTTPException: _no_such_thing},
        )

    def _policy_routes(self) -> list[Route]:
        if self._reloader is None:
            return []  # stock mitmproxy: its policy is read once
        policy = PolicyApi(self._pipeline.judge, self._reloader, self._is_operator)
        return [
            Route("/v1/policy", policy.show),
            Route("/v1/policy/reload", policy.reload, methods=["POST"]),
            Route("/v1/policy/confirm", policy.confirm, methods=["POST"]),
        ]

    async def get_state(self, _: Request) -> Response:
        """Answer with the proxy at a glance."""
        return json_of(self._state())

    async def get_pending(self, request: Request) -> Response:
        """Answer with everything that waits; arguments for operators only."""
        entries = self._entries(operator=self._is_operator(request))
        return json_of(PendingList(pending=entries))

    async def get_servers(self, _: Request) -> Response:
        """Answer with every MCP server that was seen."""
        seen = self._pipeline.judge.inventory.seen()
        views = await asyncio.to_thread(self._views.of, seen)
        return json_of(ServerList(servers=views))

    async def get_events(self, request: Request) -> Response:
        """Stream a snapshot, then what happens, one JSON line each."""
        return StreamingResponse(
            self._events(operator=self._is_operator(request)), media_type="application/x-ndjson"
        )

    def _entries(self, *, operator: bool) -> tuple[Pending, ...]:
        entries = self._pipeline.holding.listed()
        return entries if operator else tuple(map(without_arguments, entries))

    def _is_operator(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self._key)

    async def _events(self, *, operator: bool) -> AsyncIterator[bytes]:
        hub = self._pipeline.hub
        with hub.attached(operator=operator) as reader:
            yield _line(self._snapshot(operator=operator))
            due, lost = time.monotonic() + STATE_SECONDS, 0
            while True:
                message = await reader.next(timeout=max(0.0, due - time.monotonic()))
                if message is not None:
                    yield _line(message)
                if time.monotonic() >= due:  # also where messages never stop coming
                    if reader.dropped > lost:  # a call that waits may be among what was lost
                        lost = reader.dropped
                        yield _line(self._snapshot(operator=operator))
                    yield _line(self._alive(reader))
                    due = time.monotonic() + STATE_SECONDS

    def _snapshot(self, *, operator: bool) -> Snapshot:
        pending = self._entries(operator=operator)
        rows = tuple(self._pipeline.hub.rows)
        return Snapshot(state=self._state(), rows=rows, pending=pending, operator=operator)

    def _alive(self, reader: Reader) -> StateEvent:
        return StateEvent(state=self._state(), dropped=reader.dropped)


async def _no_such_thing(_: Request, error: Exception) -> Response:
    """Answer for a path or a method that there is not."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    answer = problem(error.status_code, code, f"{error.detail}.")
    answer.headers.update(error.headers or {})
    return answer


def _line(message: BaseModel) -> bytes:
    return message.model_dump_json().encode() + b"\n"
