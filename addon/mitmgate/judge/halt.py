"""The kill switch: while it is on, whatever is judged is denied, and nothing takes its place."""

from __future__ import annotations

from dataclasses import dataclass

from mitmgate.judge.agents import identify
from mitmgate.judge.effects import Concluded, Weighed
from mitmgate.judge.inputs import ConnectInput, DialInput
from mitmgate.judge.outcome import Subject
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict

CODE = "kill_switch"


@dataclass(frozen=True, slots=True)
class Halt:
    """The kill switch is on. ``by`` is an operator, ``signal`` or ``file``.

    ``since`` is in seconds since the epoch; ``reason`` is for operators.
    """

    by: str
    since: float
    reason: str | None = None


DENIED = Decision(
    Verdict.DENY, CODE, CODE, "the kill switch is on: everything is denied",
    "Stopped by mitmgate: the operator has stopped everything for now. Do not try again before "
    "they say so.",
)  # fmt: skip


def halted(subject: Subject) -> Concluded:
    """Return what is concluded on whatever *subject* wants while the switch is on."""
    return Concluded(subject, Weighed(DENIED))


def subject_of(policy: Policy, given: ConnectInput | DialInput) -> Subject:
    """Return the subject of a connection that nobody looks closer at."""
    if isinstance(given, DialInput):
        host, port = given.host, given.port
        return Subject(given.agent, "egress", host, port, f"{host}:{port}", "CONNECT")
    where = given.authority[:255]
    return Subject(identify(policy, given)[0], "egress", where, 0, where, "CONNECT")
