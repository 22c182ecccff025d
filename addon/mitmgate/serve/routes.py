"""The one table of the control API: it makes the routes, and the document that describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mitmgate.control.captures import CaptureMade, CaptureRequest
from mitmgate.control.decisions import Preview, PreviewRequest
from mitmgate.control.detail import Detail
from mitmgate.control.health import Health
from mitmgate.control.models import (
    ConfirmRequest,
    Decided,
    DecideRequest,
    GrantList,
    PendingList,
    PolicyView,
    Reloaded,
    ServerList,
    State,
    Switch,
    SwitchRequest,
    Undone,
    UndoRequest,
)
from mitmgate.control.rules import RuleList
from mitmgate.control.whatif import WhatIfRequest, WhatIfView
from mitmgate.serve.replies import problem

type Handler = Callable[[Request], Awaitable[Response]]

LINES = "application/x-ndjson"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
OPENAPI = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does. ``id`` names its handler.

    ``out`` is the model of a good answer, or its media type; ``into`` that of the body, None: there
    is none. ``codes`` are the problems beside those that every operation of its kind has, by
    status. ``key``: without the operator key it answers 403.
    """

    id: str
    method: Literal["GET", "POST"]
    path: str
    says: str
    out: type[BaseModel] | str
    into: type[BaseModel] | None = None
    codes: Mapping[int, str] = field(default_factory=dict)
    key: bool = False


OPERATIONS: tuple[Operation, ...] = (
    Operation("state", "GET", "/v1/state", "The proxy at a glance.", State),
    Operation("events", "GET", "/v1/events",
              "A snapshot, then what happens, one JSON line each. It never ends. A reader with the "
              "operator key counts as an attached operator, and sees arguments.", LINES,
              codes={503: "as many as can read along already"}),
    Operation("pending", "GET", "/v1/pending",
              "What waits for a person; arguments only with the operator key.", PendingList),
    Operation("decide", "POST", "/v1/pending/{id}", "Answer a call that waits.",
              Decided, DecideRequest,
              {404: "nothing with that id waits",
               409: "it left, or moved; `by` says through whom; or the file of remembered answers "
               "is another", 503: "it could not be recorded",
               507: "the file of remembered answers could not be written"}, key=True),
    Operation("preview", "POST", "/v1/pending/{id}/preview",
              "The rule that an answer for ever would be.", Preview, PreviewRequest,
              {404: "nothing with that id waits", 409: "it left, or there is such a rule",
               507: "the file of remembered answers cannot be read"}, key=True),
    Operation("grants", "GET", "/v1/grants", "The answers that are remembered.", GrantList,
              key=True),
    Operation("undo", "POST", "/v1/undo", "Take back an answer.", Undone, UndoRequest,
              {404: "there is nothing to take back",
               409: "the file of remembered answers is another", 503: "it could not be recorded",
               507: "the file of remembered answers could not be written"}, key=True),
    Operation("row", "GET", "/v1/rows/{id}", "All that is known of a row.", Detail,
              codes={404: "no such row is kept (any more)"}, key=True),
    Operation("servers", "GET", "/v1/servers", "The MCP servers that were seen.", ServerList),
    Operation("rules", "GET", "/v1/rules",
              "The rules in force, and how often each decided; what operators said for ever, and "
              "suggestions, only with the operator key.", RuleList),
    Operation("health", "GET", "/v1/health", "How the proxy is.", Health),
    Operation("metrics", "GET", "/v1/metrics", "Numbers in Prometheus' text format.", METRICS),
    Operation("switch", "GET", "/v1/switch", "The kill switch.", Switch),
    Operation("turn", "POST", "/v1/switch", "Turn the kill switch on or off.", Switch,
              SwitchRequest, {503: "it could not be recorded, or the file `halt` not removed"},
              key=True),
    Operation("policy", "GET", "/v1/policy", "The policy in force, and the one that waits.",
              PolicyView),
    Operation("reload", "POST", "/v1/policy/reload",
              "Read the policy again. Needs no key: what loosens waits for an operator.", Reloaded),
    Operation("confirm", "POST", "/v1/policy/confirm", "Put a policy that loosens in force.",
              Reloaded, ConfirmRequest, {409: "no policy with that hash waits"}, key=True),
    Operation("whatif", "POST", "/v1/whatif",
              "What another policy would have changed. It looks for ten seconds at most.",
              WhatIfView, WhatIfRequest,
              {409: "another such question is being answered"}, key=True),
    Operation("capture", "POST", "/v1/captures", "Make a capture of the exchange of a row.",
              CaptureMade, CaptureRequest,
              {409: "its bodies were not kept, or it is there already"}, key=True),
    Operation("openapi", "GET", "/v1/openapi.json", "This document.", OPENAPI),
)  # fmt: skip


def routes(handlers: Mapping[str, Handler], is_operator: Callable[[Request], bool]) -> list[Route]:
    """Return one route for each path of the operations that have a handler."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in offered(handlers):
        handler = _checked(operation, handlers[operation.id], is_operator)
        by_path.setdefault(operation.path, {})[operation.method] = handler
    return [_route(path, methods) for path, methods in by_path.items()]


def offered(handlers: Iterable[str]) -> tuple[Operation, ...]:
    """Return the operations that *handlers* name."""
    known = set(handlers)
    return tuple(operation for operation in OPERATIONS if operation.id in known)


def _route(path: str, methods: Mapping[str, Handler]) -> Route:
    async def endpoint(request: Request) -> Response:
        return await methods[request.method](request)

    route = Route(path, endpoint, methods=list(methods))
    route.methods = set(methods)  # without HEAD: an event stream has no end
    return route


def _checked(
    operation: Operation, handler: Handler, is_operator: Callable[[Request], bool]
) -> Handler:
    async def checked(request: Request) -> Response:
        if operation.key and not is_operator(request):
            return problem(403, "operator_key_required", "This needs the operator key.")
        if operation.into is not None and not _is_json(request):
            return problem(415, "not_json", "Send application/json.")
        return await handler(request)

    return checked


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == "application/json"
