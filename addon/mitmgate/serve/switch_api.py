"""The control API's side of the kill switch."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mitmgate.control.models import SwitchRequest
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.peers import peer_of
from mitmgate.serve.replies import json_of, parsed, problem
from mitmgate.serve.switch import KillSwitch


class SwitchApi:
    """The handlers; *is_operator* tells requests with the operator key."""

    def __init__(self, switch: KillSwitch, is_operator: Callable[[Request], bool]) -> None:
        self._switch = switch
        self._is_operator = is_operator

    async def show(self, _: Request) -> Response:
        """Answer with the kill switch as it is."""
        return json_of(self._switch.view)

    async def turn(self, request: Request) -> Response:
        """Turn the kill switch on or off."""
        if not self._is_operator(request):
            return problem(403, "operator_key_required", "The kill switch needs the operator key.")
        asked = await parsed(request, SwitchRequest)
        if isinstance(asked, Response):
            return asked
        peer = peer_of(request)
        by = asked.operator or (peer.name if peer is not None else "an operator")
        try:
            if asked.on:
                self._switch.engage(by, reason=asked.reason, via=asked.via, peer=peer)
            else:
                self._switch.lift(asked, by, peer)
        except RefusedError as refused:
            return problem(refused.status, refused.code, refused.detail, **refused.more)
        return json_of(self._switch.view)
