"""What operators say of waiting calls over the control socket, and what comes of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

type On = Literal["call", "values", "tool", "server", "url", "prefix", "host"]
"""How much an answer covers, see ``mitmgate.hold.target``."""
type Lasting = Literal["once", "session", "time", "ever"]
"""How long an answer counts: for this call only, for its conversation, for a number of seconds, or
until it is taken back, as a rule in the file of remembered answers."""

MOST_SECONDS = 86_400


class Model(BaseModel):
    """Base of all control messages: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScopeChoice(Model):
    """One way to remember an answer to a waiting call; the narrowest comes first.

    ``covers`` says it in words. ``names`` are the arguments to choose from where ``on`` is
    ``values``, ``prefixes`` the folders where it is ``prefix``, the deepest first; both are empty
    without the operator key.
    """

    on: On
    covers: str
    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class DecideRequest(Model):
    """An operator's answer. ``reason`` (deny only) is read by the agent.

    ``fingerprint`` is the one that the operator saw: where the entry has another by now, nothing is
    decided (409 ``moved``). ``lasting`` other than ``once`` needs ``on``, one of the entry's
    ``scopes``; ``seconds`` (only for ``time``) is what the policy says in ``hold.allow_for`` or
    ``hold.deny_for`` unless it is given. ``names`` are the arguments for ``values``, ``prefix`` the
    folder for ``prefix``, by default the deepest. ``ever`` needs ``preview``, the hash of a Preview
    of the same answer: where the file is another by now, nothing is decided (409
    ``file_changed``), and where it cannot be written neither (507 ``not_saved``). ``key`` is the
    key that was pressed.
    """

    decision: Literal["allow", "deny"]
    reason: Annotated[str, Field(max_length=500)] | None = None
    operator: Annotated[str, Field(max_length=100)] | None = None
    via: Literal["console", "shell", "api"] = "api"
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    lasting: Lasting = "once"
    seconds: Annotated[int, Field(ge=1, le=MOST_SECONDS)] | None = None
    on: On | None = None
    names: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=8)] = ()
    prefix: Annotated[str, Field(max_length=2000)] | None = None
    key: Annotated[str, Field(max_length=20)] | None = None
    preview: Annotated[str, Field(max_length=100)] | None = None


class PreviewRequest(Model):
    """Asks what rule an answer for ever would be; the fields are those of DecideRequest.

    A ``reason`` goes into a rule that denies, for the agent to read.
    """

    decision: Literal["allow", "deny"]
    on: On
    names: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=8)] = ()
    prefix: Annotated[str, Field(max_length=2000)] | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None
    operator: Annotated[str, Field(max_length=100)] | None = None


class Preview(Model):
    """The rule that an answer for ever would add to the file of remembered answers.

    ``rule`` is its YAML, ``diff`` the change of the file (unified), ``hash`` that of its new text,
    ``covers`` how many other waiting calls it settles. ``warnings`` are sentences to be read first;
    ``history`` says what it would have settled lately, where the audit log can tell.
    """

    rule: str
    diff: str
    hash: str
    covers: Annotated[int, Field(ge=0)]
    warnings: tuple[str, ...] = ()
    history: str | None = None


class Decided(Model):
    """The answer was taken.

    ``released`` is how many waiting calls it let go, or stopped; ``grant`` the id of what is
    remembered, for `undo`; ``ticket`` that of the ticket where nobody waited any more: the agent's
    retry passes once.
    """

    id: str
    answer: Literal["allow", "deny"]
    released: int = 0
    grant: str | None = None
    ticket: str | None = None


class GrantView(Model):
    """Something that an operator said and that still counts.

    ``kind``: a ``grant`` covers calls to come, a ``ticket`` one retry, a ``question`` an endpoint
    without a name, a ``rule`` stands in the file of remembered answers. ``covers`` says in words
    what. ``made`` is in seconds since the epoch, ``left`` in seconds, None where it lasts as long
    as its session, this run, or for ever.
    """

    id: str
    kind: Literal["grant", "ticket", "question", "rule"]
    answer: Literal["allow", "deny"]
    covers: str
    on: On | None
    lasting: Literal["once", "session", "time", "run", "ever"]
    agent: str
    operator: str | None
    outcome: str
    made: float
    left: float | None


class GrantList(Model):
    """Everything that is remembered, the oldest first."""

    grants: tuple[GrantView, ...]


class UndoRequest(Model):
    """Take back ``grant``, or what this ``operator`` made last in this run and still counts."""

    grant: Annotated[str, Field(max_length=100)] | None = None
    operator: Annotated[str, Field(max_length=100)] | None = None
    via: Literal["console", "shell", "api"] = "api"


class Undone(Model):
    """What was taken back. A call that passed has run: that cannot be undone."""

    grant: GrantView
