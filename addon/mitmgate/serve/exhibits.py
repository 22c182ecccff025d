"""What lately passed, for people who look closer: references only, bounded, never written."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from mitmgate.judge.inputs import AnswerInput, EventInput, Input, MessageInput, RequestInput
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import Policy

_BYTES = 32 * 1024 * 1024
_EXCHANGES = 2_000
_EVENTS = 50
_OUTCOMES = 60


@dataclass(slots=True)
class Exhibit:
    """An exchange: its messages as they came, and what was decided on them, by number.

    ``policy`` is the one that its request was judged by. Each outcome stands with its time, in
    seconds since the epoch.
    """

    policy: Policy
    request: RequestInput | None = None
    answer: AnswerInput | None = None
    events: deque[EventInput | MessageInput] = field(default_factory=deque)
    outcomes: OrderedDict[int, tuple[Outcome, float]] = field(default_factory=OrderedDict)
    size: int = 0


class Exhibits:
    """The last exchanges; the oldest leave when there are too many, or too many bytes of them."""

    def __init__(self, *, most_bytes: int = _BYTES, most: int = _EXCHANGES) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[str, Exhibit] = OrderedDict()
        self.bytes = 0

    def add(self, given: Input, outcome: Outcome, policy: Policy, now: float) -> None:
        """Keep *given* and what was decided on it by *policy*."""
        exhibit = self._kept.get(outcome.exchange)
        if exhibit is None:
            exhibit = self._kept[outcome.exchange] = Exhibit(policy)
        before = exhibit.size
        self._put(exhibit, given)
        exhibit.outcomes[outcome.number] = outcome, now
        if len(exhibit.outcomes) > _OUTCOMES:
            exhibit.outcomes.popitem(last=False)
        self.bytes += exhibit.size - before
        while len(self._kept) > self._most or self.bytes > self._most_bytes:
            _, gone = self._kept.popitem(last=False)
            self.bytes -= gone.size

    def find(self, key: str) -> tuple[Exhibit, Outcome, float] | None:
        """Return the exchange of the row *key*, the row's decision and its time; None: gone."""
        exchange, _, number = key.rpartition(".")
        exhibit = self._kept.get(exchange)
        if exhibit is None or not (number.isascii() and number.isdigit() and len(number) < 10):
            return None
        found = exhibit.outcomes.get(int(number))
        return None if found is None else (exhibit, *found)

    def __len__(self) -> int:
        return len(self._kept)

    def _put(self, exhibit: Exhibit, given: Input) -> None:
        match given:
            case RequestInput():
                exhibit.size += _size(given) - _size(exhibit.request)
                exhibit.request = given
            case AnswerInput():
                exhibit.size += _size(given) - _size(exhibit.answer)
                exhibit.answer = given
            case EventInput() | MessageInput():
                exhibit.events.append(given)
                exhibit.size += _size(given)
                if len(exhibit.events) > _EVENTS:
                    exhibit.size -= _size(exhibit.events.popleft())
            case _:
                exhibit.size += 0


def _size(given: RequestInput | AnswerInput | EventInput | MessageInput | None) -> int:
    if given is None:
        return 0
    if isinstance(given, EventInput | MessageInput):
        return len(given.data) + 500
    head = sum(len(name) + len(value) for name, value in given.head.headers)
    return len(given.body) + head + 1_000
