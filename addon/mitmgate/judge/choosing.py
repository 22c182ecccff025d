"""Which exchanges a capture keeps: by what they are, what was found in them, or a share of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.inputs import ConnectInput, Input, RequestInput
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.globs import Glob, check_glob
from mitmgate.record.ring import Ring

_NAMES = ("server", "tool", "agent", "host", "method", "rule", "code", "verdict")
_HINT = f"write NAME:GLOB, with one of {', '.join(_NAMES)}; ! before it turns it round"
_WHOLE = 1 << 32


@dataclass(frozen=True, slots=True)
class Word:
    """One condition: what an outcome has under ``name`` matches ``glob``, or does not."""

    name: str
    glob: Glob
    wanted: bool

    def holds(self, outcome: Outcome) -> bool:
        """Tell whether *outcome* is as the word says."""
        return self.glob.matches(_value(outcome, self.name)) is self.wanted


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the traffic is kept; by default everything.

    ``words`` must all hold for one outcome of an exchange. ``findings`` wants one in which
    something was found. ``share`` (above 0, at most 1) keeps so much of all conversations, each
    whole: ``key`` makes the choice of each run another one.
    """

    words: tuple[Word, ...] = ()
    findings: bool = False
    share: float = 1.0
    key: bytes = b""
    texts: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.by_outcome and self.share >= 1

    @property
    def by_outcome(self) -> bool:
        """Whether it takes an outcome to tell that an exchange is kept."""
        return bool(self.words) or self.findings

    def takes(self, given: Input) -> bool:
        """Tell whether the exchange that begins with *given* is of a conversation that is kept."""
        if self.share >= 1 or not isinstance(given, ConnectInput | RequestInput):
            return True
        if isinstance(given, ConnectInput):
            name = f"{given.agent} {given.authority}"
        else:
            name = f"{given.agent} {given.head.host}:{given.head.port}"
        drawn = hashlib.blake2b(name.encode("utf-8", "replace"), key=self.key, digest_size=4)
        return int.from_bytes(drawn.digest()) < self.share * _WHOLE

    def wants(self, outcome: Outcome) -> bool:
        """Tell whether *outcome*, or a message of its batch, makes its exchange one to keep."""
        if any(map(self.wants, outcome.parts)):
            return True
        found = bool(outcome.findings) or not self.findings
        return found and all(word.holds(outcome) for word in self.words)


EVERYTHING = Choice()


@dataclass(frozen=True, slots=True)
class Keep:
    """What of a run is captured, and for how long; by default everything, for ever."""

    choice: Choice = EVERYTHING
    ring: Ring | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self.ring is None and self.choice.is_everything

    @property
    def words(self) -> list[str]:
        """What headers say of it."""
        return [*self.choice.texts, *(self.ring.words if self.ring else ())]


KEEP_ALL = Keep()


def parse_choice(
    words: tuple[str, ...], *, findings: bool = False, sample: str | None = None, key: bytes = b""
) -> Choice:
    """Return the choice of the options of ``run``; ConfigError says what is wrong with one.

    *sample* is a share such as ``10%``.
    """
    parsed = tuple(_word(text) for given in words for text in given.split())
    share = 1.0 if sample is None else _share(sample)
    texts = [text for given in words for text in given.split()]
    texts += ["findings"] if findings else []
    texts += [f"sample:{sample}"] if sample is not None else []
    return Choice(parsed, findings, share, key, tuple(texts))


def _word(text: str) -> Word:
    name, colon, glob = text.removeprefix("!").partition(":")
    if not colon or name not in _NAMES:
        raise ConfigError(
            Problem(f"not a condition: {text[:80]}", key="--capture-only", hint=_HINT)
        )
    try:
        return Word(name, Glob.of(check_glob(glob)), not text.startswith("!"))
    except ValueError as error:
        raise ConfigError(Problem(str(error), key="--capture-only", hint=_HINT)) from None


def _share(text: str) -> float:
    number, percent, rest = text.partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = 0.0
    if not percent or rest or not 0 < share <= 1:
        raise ConfigError(
            Problem(f"not a share: {text[:20]}", key="--capture-sample", hint="for example 10%")
        )
    return share


def _value(outcome: Outcome, name: str) -> str:
    subject = outcome.subject
    match name:
        case "server":
            return subject.server or ""
        case "tool":
            return subject.tool or ""
        case "agent":
            return subject.agent
        case "host":
            return subject.host
        case "method":
            return subject.method
        case "rule":
            return outcome.rule
        case "code":
            return outcome.code
        case _:
            return outcome.verdict.word
