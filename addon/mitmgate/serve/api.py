"""The control API: an ASGI app on a Unix socket in the state folder, models in ``control``.

Without the operator key everything is read-only and no arguments are shown.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mitmgate.control.models import (
    Pending,
    PendingList,
    ServerList,
    Snapshot,
    State,
    StateEvent,
)
from mitmgate.serve.captures_api import CapturesApi
from mitmgate.serve.detail_api import DetailApi
from mitmgate.serve.hold_api import HoldApi
from mitmgate.serve.hub import Reader, line_of
from mitmgate.serve.inventory import Views
from mitmgate.serve.metrics import MetricsApi
from mitmgate.serve.openapi import text_of
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.policy_api import PolicyApi
from mitmgate.serve.reload import Reloader
from mitmgate.serve.replies import json_of, problem
from mitmgate.serve.routes import Handler, offered, routes
from mitmgate.serve.rules_api import RulesApi
from mitmgate.serve.switch import KillSwitch
from mitmgate.serve.switch_api import SwitchApi
from mitmgate.serve.views import without_arguments
from mitmgate.serve.whatif_api import WhatIfApi

STATE_SECONDS = 1.0
MOST_OPERATORS = 32
MOST_READERS = 16
"""So many read the event stream with the operator key, and so many without it."""


@dataclass(frozen=True, slots=True)
class Past:
    """Where what was recorded lies, and the folder for captures made of it."""

    audit: Path
    captures: Path | None
    fixtures: Path


class ControlApi:
    """The handlers; ``state`` gives the proxy at a glance, ``key`` is the operator key."""

    def __init__(
        self,
        pipeline: Pipeline,
        state: Callable[[], State],
        key: str,
        reloader: Reloader | None = None,
        *,
        switch: KillSwitch | None = None,
    ) -> None:
        self.past: Past | None = None
        """What was recorded; without it nothing is told of the past."""
        self._switch = switch
        self._pipeline = pipeline
        self._reloader = reloader
        self._state = state
        self._key = key.encode()
        self._detail = DetailApi(pipeline, reloader)
        self._views = Views(pipeline.judge.scanner)
        self._document: str | None = None

    def app(self) -> Starlette:
        """Return the ASGI app."""
        return Starlette(
            routes=routes(self.handlers(), self._is_operator),
            exception_handlers={HTTPException: _no_such_thing},
        )

    def handlers(self) -> dict[str, Handler]:
        """Return what answers, by the id of the operation; what is not there is not offered."""
        pipeline, hold = self._pipeline, self._hold()
        handlers: dict[str, Handler] = {
            "state": self.get_state, "events": self.get_events, "pending": self.get_pending,
            "decide": hold.decide, "grants": hold.grants, "undo": hold.undo,
            "servers": self.get_servers, "openapi": self.get_openapi,
            "metrics": MetricsApi(pipeline, self._reloader).show,
        }  # fmt: skip
        rules = RulesApi(pipeline, self._is_operator)
        handlers |= {"rules": rules.show, "health": self._detail.health, "row": self._detail.row}
        if self._switch is not None:
            switch = SwitchApi(self._switch, self._is_operator)
            handlers |= {"switch": switch.show, "turn": switch.turn}
        if pipeline.ever.rules is not None:
            handlers["preview"] = hold.preview
        if self._reloader is not None:  # stock mitmproxy reads its policy once
            policy = PolicyApi(pipeline.judge, self._reloader, self._is_operator)
            handlers |= {"policy": policy.show, "reload": policy.reload, "confirm": policy.confirm}
            if self.past is not None:
                handlers |= self._of_the_past(self._reloader, self.past)
        return handlers

    def _of_the_past(self, reloader: Reloader, past: Past) -> dict[str, Handler]:
        whatif = WhatIfApi(
            self._pipeline.judge, reloader.source, past.audit, self._is_operator,
            captures=() if past.captures is None else (past.captures,),
        )  # fmt: skip
        fixtures = CapturesApi(past.captures, past.fixtures, self._is_operator)
        return {"whatif": whatif.ask, "capture": fixtures.make}

    def _hold(self) -> HoldApi:
        return HoldApi(self._pipeline.holding, self._pipeline.ever, self._is_operator)

    async def get_openapi(self, _: Request) -> Response:
        """Answer with the description of what this proxy offers."""
        if self._document is None:
            self._document = await asyncio.to_thread(text_of, offered(self.handlers()))
        return Response(self._document, media_type="application/json")

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
        hub, operator = self._pipeline.hub, self._is_operator(request)
        readers, most = (
            (hub.operators, MOST_OPERATORS) if operator
            else (hub.readers - hub.operators, MOST_READERS)
        )  # fmt: skip
        if readers >= most:
            return problem(503, "too_many_readers", f"At most {most} read along; end one of them.")
        return StreamingResponse(self.events(operator=operator), media_type="application/x-ndjson")

    def _entries(self, *, operator: bool) -> tuple[Pending, ...]:
        entries = self._pipeline.holding.listed()
        return entries if operator else tuple(map(without_arguments, entries))

    def _is_operator(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self._key)

    async def events(self, *, operator: bool) -> AsyncIterator[bytes]:
        """Yield the lines of one reader's stream, as many at once as there are."""
        hub = self._pipeline.hub
        with hub.attached(operator=operator) as reader:
            yield line_of(self._snapshot(operator=operator))
            due, lost = time.monotonic() + STATE_SECONDS, 0
            while True:
                batch = await reader.next_batch(timeout=max(0.0, due - time.monotonic()))
                if batch:
                    yield batch
                if time.monotonic() >= due:  # also where messages never stop coming
                    if reader.dropped > lost:  # a call that waits may be among what was lost
                        lost = reader.dropped
                        yield line_of(self._snapshot(operator=operator))
                    yield line_of(self._alive(reader))
                    due = time.monotonic() + STATE_SECONDS

    def _snapshot(self, *, operator: bool) -> Snapshot:
        pending = self._entries(operator=operator)
        rows = tuple(self._pipeline.hub.rows)
        return Snapshot(state=self._state(), rows=rows, pending=pending, operator=operator,
                        recent=tuple(self._pipeline.holding.recent))  # fmt: skip

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
