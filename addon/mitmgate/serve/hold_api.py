"""The control API's side of the hold: answer what waits, list what is remembered, take it back."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.decisions import PreviewRequest
from mitmgate.control.models import DecideRequest, GrantList, Undone, UndoRequest
from mitmgate.serve.ever import Ever
from mitmgate.serve.holding import Holding
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.peers import peer_of
from mitmgate.serve.replies import json_of, parsed, problem


class HoldApi:
    """The handlers; *is_operator* tells requests with the operator key."""

    def __init__(
        self, holding: Holding, ever: Ever, is_operator: Callable[[Request], bool]
    ) -> None:
        self._holding = holding
        self._ever = ever
        self._is_operator = is_operator

    async def decide(self, request: Request) -> Response:
        """Take an operator's answer to an entry."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Deciding needs the operator key.")
        asked = await parsed(request, DecideRequest)
        if isinstance(asked, Response):
            return asked
        try:
            entry, peer = request.path_params["id"], peer_of(request)
            if asked.lasting == "ever":
                return json_of(await self._ever.decide(entry, asked, peer))
            return json_of(self._holding.decide(entry, asked, peer))
        except RefusedError as refused:
            return _refusal(refused)

    async def preview(self, request: Request) -> Response:
        """Answer with the rule that an answer for ever would be."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "A preview needs the operator key.")
        asked = await parsed(request, PreviewRequest)
        if isinstance(asked, Response):
            return asked
        try:
            entry = request.path_params["id"]
            return json_of(await self._ever.preview(entry, asked, peer_of(request)))
        except RefusedError as refused:
            return _refusal(refused)

    async def grants(self, request: Request) -> Response:
        """Answer with everything that is remembered."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Listing needs the operator key.")
        return json_of(GrantList(grants=await self._ever.listed()))

    async def undo(self, request: Request) -> Response:
        """Take back what an operator said."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Undoing needs the operator key.")
        asked = await parsed(request, UndoRequest)
        if isinstance(asked, Response):
            return asked
        peer = peer_of(request)
        operator = asked.operator or (None if peer is None else peer.name)
        try:
            undone = await self._ever.undo(asked.grant, operator, asked.via, peer)
        except RefusedError as refused:
            return _refusal(refused)
        return json_of(Undone(grant=undone))


def _refusal(refused: RefusedError) -> Response:
    return problem(refused.status, refused.code, refused.detail, **refused.more)
