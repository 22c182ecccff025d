"""What another policy would have done with the traffic of some time, over the control socket."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mitmgate.control.decisions import Model

MOST_SECONDS = 31 * 86_400
MOST_TEXT = 256 * 1024

type Kind = Literal["allowed", "unredacted", "asked", "denied", "redacted", "undecidable"]

_WORDS: dict[Kind, str] = {
    "allowed": "newly allowed",
    "unredacted": "no longer redacted",
    "asked": "newly asked",
    "denied": "newly denied",
    "redacted": "newly redacted",
    "undecidable": "undecidable",
}


class WhatIfRequest(Model):
    """Asks what ``policy``, the text of a policy file, would have done in the last ``seconds``.

    Paths in it are relative to the folder of the policy in force.
    """

    policy: Annotated[str, Field(max_length=MOST_TEXT)]
    seconds: Annotated[int, Field(ge=60, le=MOST_SECONDS)] = 7 * 86_400


class WhatIfGroup(Model):
    """Decisions that change in one way: ``count`` of them, and ids of up to three.

    ``before`` and ``after`` are verdict and rule, one possible way for what is undecidable, and
    empty where there is none to name. ``rule`` is the rule that makes the change. ``why`` says what
    is missing where it cannot be told.
    """

    kind: Kind
    rule: str
    before: str
    after: str
    why: str
    count: Annotated[int, Field(ge=1)]
    examples: tuple[str, ...]


class WhatIfView(Model):
    """What changes. Of ``decisions`` in ``days``, ``with_bodies`` were judged with their bodies.

    ``approvals_a_day`` is how many more questions a day there would be. ``damaged`` counts lines of
    the audit file that are no records. ``partial``: there was no time to look at everything.
    ``exit`` is that of `mitmgate whatif`: 0 nothing changes, 1 something does or may, 3 something
    is newly allowed or no longer redacted.
    """

    exit: Literal[0, 1, 3]
    decisions: Annotated[int, Field(ge=0)]
    with_bodies: Annotated[int, Field(ge=0)]
    days: float
    allowed: Annotated[int, Field(ge=0)]
    unredacted: Annotated[int, Field(ge=0)]
    asked: Annotated[int, Field(ge=0)]
    approvals_a_day: float
    denied: Annotated[int, Field(ge=0)]
    redacted: Annotated[int, Field(ge=0)]
    undecidable: Annotated[int, Field(ge=0)]
    damaged: Annotated[int, Field(ge=0)]
    partial: bool
    groups: tuple[WhatIfGroup, ...]


def words_of(kind: Kind) -> str:
    """Return *kind* as people read it: ``newly allowed``."""
    return _WORDS[kind]


def sentence(view: WhatIfView) -> str:
    """Return *view* in a line: ``in 7 days this would have denied 3 and asked for 2 of 90 calls``.

    What cannot be told is said too.
    """
    made = [
        text
        for count, text in (
            (view.allowed, f"allowed {view.allowed} more"),
            (view.unredacted, f"no longer redacted {view.unredacted}"),
            (view.asked, f"asked for {view.asked} more ({view.approvals_a_day:.1f} a day)"),
            (view.denied, f"denied {view.denied} more"),
            (view.redacted, f"redacted {view.redacted} more"),
        )
        if count
    ]
    listed = ", ".join(made) or "changed nothing that can be told"
    days = f"{view.days:.0f} day{'' if round(view.days) == 1 else 's'}"
    first = "at least, in" if view.partial else "in"
    unsure = f"; {view.undecidable} cannot be told" if view.undecidable else ""
    return f"{first} {days} this would have {listed} of {view.decisions} decisions{unsure}"
