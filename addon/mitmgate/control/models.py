"""What proxy, console and shell say to each other over the control socket (version 1).

HTTP over a Unix socket in the state folder:
``GET /v1/state`` -> State; ``GET /v1/events`` -> newline-delimited Event lines, first a
``snapshot``, then deltas; ``GET /v1/pending`` -> PendingList;
``POST /v1/pending/{id}`` with DecideRequest -> Decided (404: no such entry; 409: it left,
``by`` says through whom, or it ``moved``; 422: it has no such scope);
``GET /v1/grants`` -> GrantList, ``POST /v1/undo`` with UndoRequest -> Undone (404: nothing);
``GET /v1/servers`` -> ServerList; ``GET /v1/metrics`` -> Prometheus' text format.
``Authorization: Bearer KEY`` carries the operator key. Without it everything is read-only and no
arguments are shown; a POST and ``/v1/grants`` get 403. A reader of /v1/events that sent the key
counts as an attached operator for as long as it is connected. Errors are
``application/problem+json``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mitmgate.control.decisions import (
    Decided,
    DecideRequest,
    GrantList,
    GrantView,
    Lasting,
    Model,
    On,
    ScopeChoice,
    Undone,
    UndoRequest,
)
from mitmgate.control.switch import Switch, SwitchRequest

__all__ = [
    "Change", "Completed", "CompletedEvent", "ConfirmRequest", "DecideRequest", "Decided", "Event",
    "FindingView", "GrantList", "GrantView", "HeldEvent", "Lasting", "Model", "Moment", "On",
    "Pending", "PendingList", "PolicyView", "Reloaded", "Resolved", "ResolvedEvent", "Row",
    "RowEvent", "ScopeChoice", "ServerList", "ServerView", "Snapshot", "State", "StateEvent",
    "Switch", "SwitchRequest", "UndoRequest", "Undone",
]  # fmt: skip


class FindingView(Model):
    """A finding as shown: never the text."""

    detector: str
    rule: str
    severity: str
    surface: str
    pointer: str


class Row(Model):
    """One decision as a line of the live view. ``time`` is seconds since the epoch.

    ``shadow`` is what a rule in shadow mode would have decided, as in ``deny by no-rm``. ``grant``
    is the id of the remembered answer, or of the ticket, that decided. A row of the kind
    ``switch`` is no decision: the kill switch was turned (``deny``: on).
    """

    id: str
    time: float
    kind: Literal["connect", "request", "dial", "answer", "event", "message", "switch"]
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
    grant: str | None = None


class Change(Model):
    """A difference in JSON. ``pointer`` (RFC 6901) says where; None: nothing stood, or stands."""

    pointer: str
    before: Any | None
    after: Any | None


class Pending(Model):
    """A call that waits for a person, or what stayed of one that nobody answered in time.

    ``since`` and ``deadline`` are seconds since the epoch, ``left`` the seconds that were left when
    this was sent. ``arguments`` are the decoded params (or the body's text) with known secrets
    replaced; None without the operator key. Entries with one ``fingerprint`` are equal calls and
    make one row; ``count`` is how many there were when this was sent. ``detached``: nobody waits
    any more; approving it lets one retry pass within ten minutes. ``names`` are the ids under which
    earlier attempts of the same call waited. ``scopes`` are the ways to remember an answer, the
    narrowest first; there may be none. ``changed`` is how the arguments differ from those of the
    last approved call of that tool; None where none is known, or without the operator key.
    """

    id: str
    row: Row
    since: float
    deadline: float
    arguments: Any | None = None
    fingerprint: str = ""
    count: int = 1
    left: float | None = None
    detached: bool = False
    names: tuple[str, ...] = ()
    scopes: tuple[ScopeChoice, ...] = ()
    changed: tuple[Change, ...] | None = None


class Resolved(Model):
    """A pending entry left the queue.

    ``via`` is console, shell or api for a person's answer; timeout, unattended, client_left,
    queue_full, shutdown, kill_switch for a denial that nobody gave; remembered; policy (another
    is in force, and it was judged anew); for a detached entry also retried (its client tries
    again) and expired. After a ``timeout`` or
    ``unattended`` denial the entry may come back at once, detached. ``grant`` is the id of the
    remembered answer or of the ticket; ``lasting`` and ``on`` are its scope.
    """

    id: str
    answer: Literal["allow", "deny"]
    via: str
    operator: str | None
    reason: str | None
    waited: float
    lasting: Lasting = "once"
    on: On | None = None
    grant: str | None = None


class Completed(Model):
    """An exchange ended; ``exchange`` is the part of row ids before the dot. Latency in seconds."""

    exchange: str
    status: int | None
    request_bytes: int
    response_bytes: int
    latency: float
    fate: str


class State(Model):
    """The proxy at a glance.

    ``pending`` calls wait, ``detached`` ones do not any more, ``grants`` answers are remembered.
    ``halt`` is the kill switch while it is on: everything is denied.
    """

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
    detached: int = 0
    grants: int = 0
    halt: Switch | None = None


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


class Snapshot(Model):
    """The first line of the event stream: where things stand. Rows oldest first.

    ``recent`` is what became of the last 100 entries that left, the oldest first.
    """

    type: Literal["snapshot"] = "snapshot"
    state: State
    rows: tuple[Row, ...]
    pending: tuple[Pending, ...]
    operator: bool
    recent: tuple[Resolved, ...] = ()


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
