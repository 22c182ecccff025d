"""The control API's side of what-if: a policy's text in, what it would have changed out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.whatif import MOST_TEXT, WhatIfRequest, WhatIfView
from mitmgate.errors import ConfigError
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy, read_policy
from mitmgate.policy.source import PolicySource
from mitmgate.serve.replies import json_of, problem
from mitmgate.serve.whatif import Pace, Traffic, whatif
from mitmgate.serve.whatif_view import view_of

SECONDS: Final = 10.0
"""How long it looks; what it has by then is told as partial."""
_BODY_LIMIT: Final = 2 * MOST_TEXT + 1024
_NAME: Final = "the policy that was sent"


class WhatIfApi:
    """The handler of ``POST /v1/whatif``; *source* is that of the policy in force.

    *captures* are captures and folders of them to take bodies from.
    """

    def __init__(
        self,
        judge: Judge,
        source: PolicySource,
        audit: Path,
        is_operator: Callable[[Request], bool],
        *,
        captures: tuple[Path, ...] = (),
    ) -> None:
        self._judge = judge
        self._source = source
        self._audit = audit
        self._is_operator = is_operator
        self._captures = captures
        self._busy = False

    async def ask(self, request: Request) -> Response:
        """Answer with what the policy would have changed. For operators only, one at a time."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "This needs the operator key.")
        asked = await _parsed(request)
        if isinstance(asked, Response):
            return asked
        if self._busy:
            return problem(409, "busy", "Another question of this kind is being answered.")
        self._busy = True
        try:
            return json_of(await asyncio.to_thread(self._told, asked, self._judge.policy))
        except ConfigError as error:
            return problem(422, "unusable", "; ".join(map(str, error.problems[:10])))
        except OSError as error:
            return problem(422, "unusable", f"The audit file cannot be read: {error.strerror}.")
        finally:
            self._busy = False

    def _told(self, asked: WhatIfRequest, before: Policy) -> WhatIfView:
        now = time.time()
        traffic = Traffic(self._audit, self._captures, now - asked.seconds, now)
        pace = Pace(SECONDS, gentle=True)
        return view_of(whatif(before, self._read(asked.policy), traffic, pace, seek=True))

    def _read(self, text: str) -> Policy:
        source = self._source
        base = None if source.path is None else source.path.parent
        return read_policy(
            text, file=_NAME, base=base, locked=source.locked, kept=source.kept
        ).policy


async def _parsed(request: Request) -> WhatIfRequest | Response:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            return problem(413, "body_too_large", f"A policy has at most {MOST_TEXT} characters.")
    try:
        return WhatIfRequest.model_validate_json(bytes(body), strict=True)
    except ValidationError as error:
        return problem(422, "bad_request", "; ".join(e["msg"] for e in error.errors()))
