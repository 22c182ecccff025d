"""The rules in force and how often each decided, over the control socket."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mitmgate.control.decisions import Model, On


class RuleView(Model):
    """A rule. ``section`` is the list that it stands in, ``layer`` the file's kind.

    ``hits`` and ``last_hit`` (seconds since the epoch) count since the proxy started; ``never``
    says that the rule decided nothing since then. ``text`` says in YAML what the rule is.
    """

    id: str
    layer: str
    section: str
    verdict: Literal["allow", "ask", "deny"]
    text: str
    hits: Annotated[int, Field(ge=0)]
    last_hit: float | None
    never: bool


class Suggestion(Model):
    """Calls that operators approved again and again: what they have in common could be a rule.

    ``text`` says so in words, ``on`` is the scope, ``count`` how often. ``pending_like`` is the id
    of a call that waits now and that such a rule would settle.
    """

    text: str
    on: On
    count: Annotated[int, Field(ge=0)]
    pending_like: str | None = None


class RuleList(Model):
    """Every rule in the order in which they are asked, and what could become one."""

    rules: tuple[RuleView, ...]
    suggestions: tuple[Suggestion, ...] = ()
