"""The control API's side of health and of single rows."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.health import Health
from mitmgate.serve.detail import detail_of
from mitmgate.serve.health import captured_by
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.reload import Reloader
from mitmgate.serve.replies import json_of, problem
from mitmgate.serve.views import switch_of


class DetailApi:
    """The handlers of ``GET /v1/rows/{id}`` and ``GET /v1/health``."""

    def __init__(self, pipeline: Pipeline, reloader: Reloader | None) -> None:
        self._pipeline = pipeline
        self._reloader = reloader

    async def row(self, request: Request) -> Response:
        """Answer with all that is known of a row. For operators only."""
        found = self._pipeline.exhibits.find(request.path_params["id"])
        if found is None:
            return problem(404, "not_kept", "No row with that id is kept (any more).")
        scanner = self._pipeline.judge.scanner
        return json_of(await asyncio.to_thread(detail_of, *found, scanner))

    async def health(self, _: Request) -> Response:
        """Answer with how the proxy is."""
        pipeline, times = self._pipeline, self._pipeline.times
        captured = captured_by(pipeline._capture)
        return json_of(Health(
            calls_per_second=times.rate(time.perf_counter()), stages=times.stages(),
            pending=len(pipeline.pending), detached=len(pipeline.holding.detached),
            readers=pipeline.hub.readers, dropped=pipeline.hub.dropped, audit=pipeline.trouble,
            policy=None if self._reloader is None else self._reloader.trouble,
            capture=None if captured is None else captured.trouble,
            policy_hash=pipeline.judge.policy.hash, halt=switch_of(pipeline.judge.halt),
        ))  # fmt: skip
