"""The control API's side of the hold: answer what waits, list what is remembered, take it back."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mitmgate.control.models import DecideRequest, GrantList, Undone, UndoRequest
from mitmgate.serve.holding import Holding
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.peers import peer_of
from mitmgate.serve.replies import json_of, parsed, problem


class HoldApi:
    """The handlers; *is_operator* tells requests with the operator key."""

    def __init__(self, holding: Holding, is_operator: Callable[[Request], bool]) -> None:
        self._holding = holding
        self._is_operator = is_operator

    def routes(self) -> list[Route]:
        """Return the routes of all handlers."""
        return [
            Route("/v1/pending/{id}", self.decide, methods=["POST"]),
            Route("/v1/grants", self.grants),
            Route("/v1/undo", self.undo, methods=["POST"]),
        ]

    async def decide(self, request: Request) -> Response:
        """Take an operator's answer to an entry."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Deciding needs the operator key.")
        asked = await parsed(request, DecideRequest)
        if isinstance(asked, Response):
            return asked
        try:
            entry = request.path_params["id"]
            return json_of(self._holding.decide(entry, asked, peer_of(request)))
        except RefusedError as refused:
            return _refusal(refused)

    async def grants(self, request: Request) -> Response:
        """Answer with everything that is remembered."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "Listing needs the operator key.")
        return json_of(GrantList(grants=self._holding.ledger.listed()))

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
            undone = self._holding.ledger.undo(asked.grant, operator, asked.via)
        except RefusedError as refused:
            return _refusal(refused)
        return json_of(Undone(grant=undone))


def _refusal(refused: RefusedError) -> Response:
    return problem(refused.status, refused.code, refused.detail, **refused.more)
