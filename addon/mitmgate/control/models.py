"""What proxy, console and shell say to each other over the control socket (version 1).

HTTP over a Unix socket in the state folder:
``GET /v1/state`` -> State; ``GET /v1/events`` -> newline-delimited Event lines, first a
``snapshot``, then deltas; ``GET /v1/pending`` -> PendingList;
``POST /v1/pending/{id}`` with DecideRequest -> Decided (404: no such entry, 409: it left);
``GET /v1/servers`` -> ServerList; ``GET /v1/metrics`` -> Prometheus' text format.
``Authorization: Bearer KEY`` carries the operator key. Without it everything is read-only and no
arguments are shown; a POST gets 403. A reader of /v1/events that sent the key counts as
an attached operator for as long as it is connected. Errors are ``application/problem+json``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of all control messages: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FindingView(Model):
    """A finding as shown: never the text."""

    detector: str
    rule: str
    severity: str
    surface: str
    pointer: str


class Row(Model):
    """One decision as a line of the live view. ``time`` is seconds since the epoch.

    ``shadow`` is what a rule in shadow mode would have decided, as in ``deny by no-rm``.
    """

    id: str
    time: float
    kind: Literal["connect", "request", "dial", "answer", "event", "message"]
    channel: Literal["mcp", "egress"]
    agent: str
    server: str | None
    host: str
    endpoint: str
    method: str
    tool: str | None
    verdict: Literal["allow", "ask", "deny"]
    rule: str
    code: str
    reason: str
    enforced: bool
    edits: int
    severity: str | None = None
    shadow: str | None = None
    findings: tuple[FindingView, ...] = ()
    held: bool = False


class Pending(Model):
    """A call that waits for a person.

    ``deadline`` is seconds since the epoch. ``arguments`` are the decoded params (or the
    body's text) with known secrets replaced; None without the operator key.
    """

    id: str
    row: Row
    since: float
    deadline: float
    arguments: Any | None = None


class Resolved(Model):
    """A pending entry left the queue."""

    id: str
    answer: Literal["allow", "deny"]
    via: str
    operator: str | None
    reason: str | None
    waited: float


class Completed(Model):
    """An exchange ended; ``exchange`` is the part of row ids before the dot. Latency in seconds."""

    exchange: str
    status: int | None
    request_bytes: int
    response_bytes: int
    latency: float
    fate: str


class State(Model):
    """The proxy at a glance."""

    version: str
    listen: str
    mode: Literal["enforce", "shadow"]
    policy: str
    pending: int
    operators: int
    decisions: int
    denied: int
    healthy: bool
    trouble: str | None = None
    policy_trouble: str | None = None


class PolicyView(Model):
    """The policy in force. ``waiting`` is the hash of one that loosens, ``changes`` how."""

    policy: str
    source: str
    mode: Literal["enforce", "shadow"]
    rules: int
    problem: str | None
    waiting: str | None
    changes: tuple[str, ...]
    applied: int
    refused: int


class ConfirmRequest(Model):
    """An operator's word that the policy with this hash may loosen."""

    policy: Annotated[str, Field(max_length=100)]
    operator: Annotated[str, Field(max_length=100)] | None = None


class Reloaded(Model):
    """What became of a reload."""

    result: Literal["unchanged", "applied", "waiting", "refused"]
    view: PolicyView


class PendingList(Model):
    """Everything that waits, oldest first."""

    pending: tuple[Pending, ...]


type Moment = Annotated[float, Field(ge=0, lt=253_402_300_800)]
"""Seconds since the epoch, in a year of four digits."""


class ServerView(Model):
    """An MCP server that was seen. ``server`` is its name in the policy; None: an unknown one.

    ``name``, ``title`` and ``version`` are what it reports of itself, unverified.
    ``protocol_versions`` are the revisions that it said it speaks, or was asked for as long as it
    has said nothing. ``transports``: streamable_http, sse, websocket. ``tools`` (500) and
    ``agents`` (100) are the first ones of ``tools_total`` and ``agents_total``. ``calls`` are
    calls of tools, denied ones too.
    """

    url: str
    server: str | None
    name: str | None
    title: str | None
    version: str | None
    protocol_versions: tuple[str, ...]
    transports: tuple[str, ...]
    tools: tuple[str, ...]
    tools_total: Annotated[int, Field(ge=0)]
    agents: tuple[str, ...]
    agents_total: Annotated[int, Field(ge=0)]
    calls: Annotated[int, Field(ge=0)]
    first_seen: Moment
    last_seen: Moment


class ServerList(Model):
    """Every MCP server that was seen, the one last seen first."""

    servers: tuple[ServerView, ...]


class DecideRequest(Model):
    """An operator's answer. ``reason`` (deny only) is read by the agent."""

    decision: Literal["allow", "deny"]
    reason: Annotated[str, Field(max_length=500)] | None = None
    operator: Annotated[str, Field(max_length=100)] | None = None
    via: Literal["console", "shell", "api"] = "api"


class Decided(Model):
    """The answer was taken."""

    id: str
    answer: Literal["allow", "deny"]


class Snapshot(Model):
    """The first line of the event stream: where things stand. Rows oldest first."""

    type: Literal["snapshot"] = "snapshot"
    state: State
    rows: tuple[Row, ...]
    pending: tuple[Pending, ...]
    operator: bool


class RowEvent(Model):
    """A new decision."""

    type: Literal["row"] = "row"
    row: Row


class HeldEvent(Model):
    """A new pending entry."""

    type: Literal["held"] = "held"
    pending: Pending


class ResolvedEvent(Model):
    """A pending entry left."""

    type: Literal["resolved"] = "resolved"
    resolved: Resolved


class CompletedEvent(Model):
    """An exchange ended."""

    type: Literal["completed"] = "completed"
    completed: Completed


class StateEvent(Model):
    """Sent every second, so that a reader knows the proxy lives."""

    type: Literal["state"] = "state"
    state: State
    dropped: int = 0
    """Rows that this reader lost because it read too slowly, since it attached."""


type Event = Annotated[
    Snapshot | RowEvent | HeldEvent | ResolvedEvent | CompletedEvent | StateEvent,
    Field(discriminator="type"),
]
