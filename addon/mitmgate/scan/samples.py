"""Values that stand in for redacted ones in a replay: samples of a rule, then variations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
from string import ascii_lowercase, ascii_uppercase, digits
from threading import Lock

from mitmgate.scan.gate import Gate
from mitmgate.scan.patterns import frame
from mitmgate.scan.rule import Rule
from mitmgate.scan.search import spans_of

_ALPHABETS = (digits, ascii_lowercase, ascii_uppercase)
_VARIED = 8
_MOST_TRIES = 20_000


class SampleBook:
    """The distinct values of each rule, made on demand and then kept."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._made: dict[str, list[str]] = {}
        self._makers: dict[str, Iterator[str]] = {}
        self._lock = Lock()

    def value(self, rule_id: str, number: int) -> str:
        """Return the *number*-th value of *rule_id*, counted from 1."""
        rule = self._rules[rule_id]
        if number < 1:
            raise ValueError("samples are numbered from 1")
        with self._lock:
            made = self._made.setdefault(rule_id, [])
            maker = self._makers.setdefault(rule_id, _values(rule))
            made += islice(maker, max(0, number - len(made)))
        if len(made) < number:
            raise ValueError(f"no {number} distinct samples can be made for {rule_id}")
        return made[number - 1]


def _values(rule: Rule) -> Iterator[str]:
    """Yield distinct values that *rule* finds in the context of one of its samples."""
    seen: set[str] = set()
    for value in _candidates(rule):
        if value not in seen:
            seen.add(value)
            yield value


def _candidates(rule: Rule) -> Iterator[str]:
    placed = [span for sample in rule.match if (span := _span(rule, sample)) is not None]
    for sample, start, end in placed:
        yield sample[start:end]
    for sample, start, end in placed:
        for value in islice(_variations(sample[start:end]), _MOST_TRIES):
            context = sample[:start] + value + sample[end:]
            # Some variations break the format: only those that the rule finds whole will do.
            if _span(rule, context) == (context, start, end):
                yield value


def _span(rule: Rule, sample: str) -> tuple[str, int, int] | None:
    framed = frame([sample])
    for start, end in sorted(spans_of(rule, Gate([rule]), sample)):
        base = framed.starts[0]
        before, value = framed.data[base:start], framed.data[max(start, base) : end]
        first = len(before.decode())
        return sample, first, min(first + len(value.decode()), len(sample))
    return None


def _variations(value: str) -> Iterator[str]:
    """Count through the letters and digits in the middle of *value*, each within its own kind.

    The middle, because formats have their fixed parts at the ends.
    """
    middle = len(value) / 2
    places = [i for i, c in enumerate(value) if any(c in letters for letters in _ALPHABETS)]
    places = sorted(places, key=lambda place: abs(place - middle))[:_VARIED]
    for number in count(1):
        letters, rest = list(value), number
        for place in places:
            alphabet = next(a for a in _ALPHABETS if value[place] in a)
            rest, step = divmod(rest, len(alphabet))
            index = (alphabet.index(value[place]) + step) % len(alphabet)
            letters[place] = alphabet[index]
        if rest:
            return
        yield "".join(letters)
