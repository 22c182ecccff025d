"""What of a capture can be played again, exchange by exchange, and what its operators said."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    MessageInput,
    RequestInput,
)
from mitmgate.policy.load import Policy
from mitmgate.replay.entries import (
    CaptureLine,
    CutLine,
    GrantLine,
    InputLine,
    ResolutionLine,
    SwitchLine,
    UndoLine,
)

BODY = "a body was not stored"
CUT = "its end was not kept"
SOCKET = "a WebSocket"
LINES = "a stream of JSON lines"
TOKEN = "an agent showed a token"
BEGINNING = "its beginning is not in the capture"
AFTER = "it came after an answer for calls to come, or the kill switch"


@dataclass(slots=True)
class Plan:
    """How one exchange is played; ``skip`` says why it is not.

    ``ready`` is the index of its last input before an answer, ``answered`` whether one came.
    ``answers`` are what operators said, in their order.
    """

    skip: str | None = None
    ready: int = -1
    answered: bool = False
    answers: deque[Literal["allow", "deny"]] = field(default_factory=deque)


def plans_of(lines: Sequence[CaptureLine], policy: Policy) -> dict[int, Plan]:
    """Return the plans of the exchanges in *lines*, by their numbers."""
    plans: dict[int, Plan] = {}
    after = False
    for index, line in enumerate(lines):
        after = after or isinstance(line, GrantLine | UndoLine | SwitchLine)
        match line:
            case InputLine():
                new = line.exchange not in plans
                plan = plans.setdefault(line.exchange, Plan(AFTER if after else None))
                plan.skip = plan.skip or _why_not(line, policy, first=new)
                _place(plan, line, index)
            case ResolutionLine() if line.exchange in plans:
                plans[line.exchange].answers.append(line.answer)
            case CutLine() if line.exchange in plans:
                plans[line.exchange].skip = CUT
            case _:
                pass
    return plans


def names_in(lines: Iterable[CaptureLine]) -> set[str]:
    """Return the hosts that are asked for."""
    inputs = [line.input for line in lines if isinstance(line, InputLine)]
    hosts = {one.head.host for one in inputs if isinstance(one, RequestInput)}
    return {host for host in hosts if host and host.isascii()} | {"recorded.example"}


def _place(plan: Plan, line: InputLine, index: int) -> None:
    if isinstance(line.input, RequestInput | DialInput) and not plan.answered:
        plan.ready = index
    if isinstance(line.input, AnswerInput | EventInput | MessageInput):
        plan.answered = True


def _why_not(line: InputLine, policy: Policy, *, first: bool) -> str | None:
    given = line.input
    if line.incomplete or line.lost:
        return BODY
    if isinstance(given, MessageInput) or (isinstance(given, AnswerInput) and _is_switch(given)):
        return SOCKET
    if isinstance(given, EventInput) and given.head.media_type != "text/event-stream":
        return LINES
    if isinstance(given, RequestInput | AnswerInput) and given.unread is not None:
        return BODY
    if isinstance(given, RequestInput) and given.head.get("upgrade") is not None:
        return SOCKET
    if isinstance(given, RequestInput | ConnectInput) and given.shown is not None:
        return TOKEN if policy.agents or policy.require_agents else None
    if first and not isinstance(given, RequestInput | ConnectInput | EndInput):
        return BEGINNING
    return None


def _is_switch(given: AnswerInput) -> bool:
    return given.head.status == 101
