"""The control API's side of the policy: show it, reload it, confirm one that loosens."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.models import ConfirmRequest, PolicyView, Reloaded
from mitmgate.judge.judge import Judge
from mitmgate.serve.reload import Reloader
from mitmgate.serve.replies import json_of, parsed, problem


class PolicyApi:
    """The handlers; *is_operator* tells requests with the operator key."""

    def __init__(
        self, judge: Judge, reloader: Reloader, is_operator: Callable[[Request], bool]
    ) -> None:
        self._judge = judge
        self._reloader = reloader
        self._is_operator = is_operator

    async def show(self, _: Request) -> Response:
        """Answer with the policy in force, and the one that waits."""
        return json_of(self._view())

    async def reload(self, _: Request) -> Response:
        """Read the policy again. Needs no key: what loosens waits all the same."""
        result = await self._reloader.reload()
        return json_of(Reloaded(result=result, view=self._view()))

    async def confirm(self, request: Request) -> Response:
        """Put a policy that loosens in force."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Confirming needs the operator key.")
        asked = await parsed(request, ConfirmRequest)
        if isinstance(asked, Response):
            return asked
        if not self._reloader.confirm(asked.policy, asked.operator):
            return problem(409, "not_waiting", "No policy with that hash waits (any more).")
        return json_of(Reloaded(result="applied", view=self._view()))

    def _view(self) -> PolicyView:
        reloader, policy = self._reloader, self._judge.policy
        waiting = reloader.waiting
        return PolicyView(
            policy=policy.hash,
            source=reloader.source.name,
            mode=self._judge.mode,
            rules=policy.rule_count,
            problem=reloader.problem,
            waiting=None if waiting is None else waiting.policy.hash,
            changes=() if waiting is None else waiting.changes,
            applied=reloader.applied,
            refused=reloader.refused,
        )
