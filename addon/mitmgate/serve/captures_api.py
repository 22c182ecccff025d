"""The control API's side of captures: a row becomes one, with its golden file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.captures import CaptureMade, CaptureRequest
from mitmgate.errors import ConfigError
from mitmgate.record.excerpt import captures_in, find_excerpt, write_excerpt
from mitmgate.serve.replies import json_of, parsed, problem

FOLDER: Final = "fixtures"
_NOT_KEPT: Final = (
    "Its bodies were not kept: start the proxy with --capture DIR, and what comes then can become "
    "a capture."
)


class CapturesApi:
    """The handler of ``POST /v1/captures``: out of the *captures* folder, into *fixtures*.

    *captures* is None where nothing is captured.
    """

    def __init__(
        self, captures: Path | None, fixtures: Path, is_operator: Callable[[Request], bool]
    ) -> None:
        self._captures = captures
        self._fixtures = fixtures
        self._is_operator = is_operator
        self._lock = asyncio.Lock()

    async def make(self, request: Request) -> Response:
        """Write the exchange of a row as a capture of its own. For operators only."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "This needs the operator key.")
        asked = await parsed(request, CaptureRequest)
        if isinstance(asked, Response):
            return asked
        try:
            async with self._lock:
                made = await asyncio.to_thread(self._made, asked.id)
        except ConfigError as error:
            return problem(409, "not_written", "; ".join(map(str, error.problems[:3])))
        except OSError as error:
            return problem(409, "not_written", f"The captures cannot be read: {error.strerror}.")
        return problem(409, "not_kept", _NOT_KEPT) if made is None else json_of(made)

    def _made(self, row: str) -> CaptureMade | None:
        if self._captures is None:
            return None
        found = find_excerpt(captures_in(self._captures), row)
        if found is None:
            return None
        out = self._fixtures / f"{row.partition('.')[0]}.jsonl"
        write_excerpt(found, out, notes=f"from {row}")
        carried = {line["exchange"] for line in found.lines if line.get("carried")}
        return CaptureMade(path=str(out), carried=len(carried))
