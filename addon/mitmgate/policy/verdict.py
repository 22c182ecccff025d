"""Verdicts and decisions: values that name the rule that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Verdict(IntEnum):
    """What becomes of a message; a larger one is stricter."""

    ALLOW = 0
    ASK = 1
    DENY = 2

    @property
    def word(self) -> str:
        """The verdict as policies and records spell it: ``allow``, ``ask``, ``deny``."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> Verdict:
        """Return the verdict that *word* spells; ValueError for anything else."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"not a verdict: {word!r}") from None


@dataclass(frozen=True, slots=True)
class ShadowMatch:
    """A rule in shadow mode that would have decided otherwise than the rule that did."""

    rule: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict nobody has to take on trust: it names the rule and the reason.

    ``rule`` is the id of a policy rule or one of the built-in names ``otherwise``,
    ``housekeeping``, ``unknown_servers`` and ``ambiguous_key``. ``code`` is the stable word
    for records (``rule``, ``locked``, ``hidden``, ``locked_hidden``, ``ambiguous_key``,
    ``otherwise``, ``housekeeping``, ``unknown_server``, ``policy_error``). ``reason`` is for the
    operator; ``agent_reason`` is what the agent may read. ``hidden`` says that the agent must take
    the target for unknown.

    ``redact`` are JSON pointers of what is replaced before the message goes on, ``effects`` what
    findings of a detector do instead of what the policy's ``scan`` says. ``floor`` and
    ``floor_redact`` are the locked layer's part of it: they hold in shadow mode too. ``wait`` is
    how many seconds an ask waits for a person, None: as long as ``hold.wait`` says.
    """

    verdict: Verdict
    rule: str
    code: str
    reason: str
    agent_reason: str
    hidden: bool = False
    severity: str | None = None
    shadow: ShadowMatch | None = None
    redact: tuple[str, ...] = ()
    floor: Verdict = Verdict.ALLOW
    floor_redact: tuple[str, ...] = ()
    effects: Mapping[str, str] = field(default_factory=dict)
    wait: float | None = None
