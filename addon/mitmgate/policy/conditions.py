"""Conditions on what a call or a result carries: ``where`` of a rule, its keys and their meaning.

A condition looks at the places that a JSON pointer names, ``*`` in it standing for every item or
member, and asks its operators about each value there. Their answer has three values
(``mitmgate.policy.truth``): what a server may read in several ways meets a rule that asks or
denies, and does not meet a rule that allows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final

from mitmgate.policy import operators
from mitmgate.policy.operators import Test
from mitmgate.policy.syntax import MISSING, json_equal, member, parse_pointer
from mitmgate.policy.truth import Truth, all_of, any_of, truth_of
from mitmgate.policy.where import Match, WhereEntry

__all__ = [
    "MAX_VALUES",
    "WILDCARD",
    "Condition",
    "WhereEntry",
    "compile_where",
    "parse_pattern_pointer",
    "values_at",
    "values_below",
]

WILDCARD: Final = "*"
MAX_VALUES = 10_000
"""Values that the wildcards of one condition visit; ten thousand paths take some 0.1 s."""


def parse_pattern_pointer(text: str) -> tuple[str, ...]:
    """Return the tokens of the JSON pointer *text* (RFC 6901), ``*`` for every item or member.

    Only a token that is ``*`` alone is a wildcard, and it always is: a member whose name is
    ``*`` cannot be addressed by itself.
    """
    return parse_pointer(text)


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of ``where``, ready to be asked.

    ``wholes`` are the objects and arrays that it compares values with, ``parts`` the values that
    it looks for inside of them: keys there matter too (``mitmgate.policy.keys``).
    """

    pointer: str
    tokens: tuple[str, ...]
    entry: WhereEntry
    wholes: tuple[Any, ...] = ()
    parts: tuple[Any, ...] = ()
    _test: Test = field(default=lambda _: Truth.NO, compare=False, repr=False)

    @classmethod
    def of(cls, pointer: str, entry: WhereEntry) -> Condition:
        """Return the condition that *entry* holds at *pointer*; ValueError for a bad pointer."""
        wholes = chain(_operands(entry, "equals"), *_operands(entry, "in"))
        return cls(
            pointer,
            parse_pattern_pointer(pointer),
            entry,
            tuple(one for one in wholes if isinstance(one, Mapping | list)),
            tuple(_operands(entry, "contains")),
            _test_of(entry),
        )

    @property
    def text(self) -> str:
        """The condition in a line, from the policy alone: ``/arguments/limit gt 0, le 100``."""
        return f"{self.pointer} {self.entry.text}"

    def test(self, value: Any) -> Truth:
        """Say whether the operators hold for *value*, one that stands at the pointer."""
        return self._test(value)

    def holds(self, params: Mapping[str, Any] | None, *, allowing: bool) -> bool:
        """Say whether a rule may rely on it for *params*; *allowing* is a rule that allows.

        Unsure is no for an allowing rule, and yes for others. Of the values behind a wildcard
        an allowing rule wants all (and one at least), others any, unless ``match`` is given.
        """
        truth = self._truth(params, allowing=allowing)
        return truth is Truth.YES or (truth is Truth.UNSURE and not allowing)

    def _truth(self, params: Any, *, allowing: bool) -> Truth:
        if WILDCARD not in self.tokens:
            return self._truth_of(_value_at(params, self.tokens))
        values, complete = values_at(params, self.tokens)
        there = [value for value in values if value is not MISSING]
        if self.entry.exists is False:
            return truth_of(not there) if there or complete else Truth.UNSURE
        rest = Truth.YES if complete else Truth.UNSURE
        if self._mode(allowing=allowing) == "any":
            return max(any_of(map(self._test, there)), rest.negated())
        # A member that an item lacks meets nothing, and what else that item holds is unseen.
        if len(there) < len(values) or not there:
            return Truth.NO
        return min(all_of(map(self._test, there)), rest)

    def _truth_of(self, value: Any) -> Truth:
        if value is MISSING:
            return truth_of(self.entry.exists is False)
        return self._test(value)

    def covers(
        self, other: Condition, *, allowing: bool = True, other_allowing: bool = False
    ) -> bool:
        """Say whether this surely holds wherever *other* does; False is no proof.

        *allowing* and *other_allowing* say which rules allow: they take unsure in two ways, so
        the same condition in an allowing rule does not cover that in a denying one.
        """
        if self.tokens != other.tokens:
            return False
        wild = WILDCARD in self.tokens
        ours, theirs = self._mode(allowing=allowing), other._mode(allowing=other_allowing)
        if wild and (ours, theirs) == ("all", "any"):
            return False
        # Unsure meets the other rule and not this one.
        if allowing and not other_allowing and (wild or not other.entry.given.keys() <= _SURE):
            return False
        return all(_implies(other.entry, *given) for given in self.entry.given.items())

    def _mode(self, *, allowing: bool) -> Match:
        return self.entry.match or ("all" if allowing else "any")


def compile_where(entries: Mapping[str, WhereEntry]) -> tuple[Condition, ...]:
    """Return the conditions of a rule's ``where``, from pointers to entries."""
    return tuple(Condition.of(pointer, entry) for pointer, entry in entries.items())


# --- the values that a pointer names -----------------------------------------------------------


def _value_at(root: Any, tokens: Iterable[str]) -> Any:
    value = root
    for token in tokens:
        value = value.get(token, MISSING) if type(value) is dict else member(value, token)
    return value


def values_at(root: Any, tokens: Iterable[str]) -> tuple[list[Any], bool]:
    """Return the values at *tokens* below the JSON value *root*, and whether these are all.

    ``MISSING`` stands in for each place on a way that does not lead to its end; below an empty
    array or object there are no places.
    """
    values, complete = [root], True
    for token in tokens:
        if token == WILDCARD:
            values, whole = values_below(values)
            complete = complete and whole
        else:
            values = [member(value, token) for value in values]
    return values, complete


def values_below(values: Iterable[Any]) -> tuple[list[Any], bool]:
    """Return the first ``MAX_VALUES`` items and members of *values*, and whether these are all."""
    every = chain.from_iterable(map(_children, values))
    found = list(islice(every, MAX_VALUES))
    return found, next(every, _NO_MORE) is _NO_MORE


_NO_MORE: Final = object()


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else (MISSING,)


# --- operators of an entry ---------------------------------------------------------------------


def _existing(wanted: bool) -> Test:
    return lambda _: truth_of(wanted)


def _opposite(entry: WhereEntry) -> Test:
    inner = _test_of(entry)
    return lambda value: inner(value).negated()


_TESTS: Mapping[str, Callable[[Any], Test]] = {
    "equals": operators.equal_to,
    "in": operators.one_of,
    "prefix": operators.beginning_with,
    "suffix": operators.ending_with,
    "glob": operators.like,
    "pattern": operators.matching,
    "contains": operators.containing,
    "exists": _existing,
    "type": operators.of_type,
    "gt": lambda bound: operators.compared(operator.gt, bound),
    "ge": lambda bound: operators.compared(operator.ge, bound),
    "lt": lambda bound: operators.compared(operator.lt, bound),
    "le": lambda bound: operators.compared(operator.le, bound),
    "min_length": lambda bound: operators.measured(operator.ge, bound),
    "max_length": lambda bound: operators.measured(operator.le, bound),
    "path_within": operators.path_in,
    "host_in": operators.host_among,
    "cidr": operators.address_in,
    "command": operators.command_like,
    "not": _opposite,
}


def _test_of(entry: WhereEntry) -> Test:
    tests = tuple(_TESTS[name](operand) for name, operand in entry.given.items())
    return tests[0] if len(tests) == 1 else lambda value: all_of(test(value) for test in tests)


def _operands(entry: WhereEntry, name: str) -> Iterator[Any]:
    """Yield the operands of the operator *name* in *entry* and in each ``not`` inside of it."""
    inner: WhereEntry | None = entry
    while inner is not None:
        if name in inner.given:
            yield inner.given[name]
        inner = inner.not_


# --- one entry implying another ----------------------------------------------------------------

# Their tests never answer unsure.
_SURE = frozenset(
    {"equals", "in", "prefix", "suffix", "exists", "type", "min_length", "max_length"}
)
# Any one of their operands suffices, so more of them only mean more.
_ALTERNATIVES = frozenset(
    {"prefix", "suffix", "glob", "pattern", "type", "path_within", "host_in", "cidr", "command"}
)
# To each bound the bounds that it follows from, and how their numbers must compare.
_BOUNDS: Mapping[str, tuple[tuple[str, Callable[[Any, Any], bool]], ...]] = {
    "gt": (("gt", operator.ge), ("ge", operator.gt)),
    "ge": (("gt", operator.ge), ("ge", operator.ge)),
    "lt": (("lt", operator.le), ("le", operator.lt)),
    "le": (("lt", operator.le), ("le", operator.le)),
    "min_length": (("min_length", operator.ge),),
    "max_length": (("max_length", operator.le),),
}


def _implies(narrow: WhereEntry, name: str, wanted: Any) -> bool:
    """Say whether each value that meets *narrow* surely meets the operator *name*."""
    given = narrow.given
    if name == "exists" and wanted:
        return given.get("exists", True) is True
    known = (given["equals"],) if "equals" in given else given.get("in")
    if known is not None:
        test = _TESTS[name](wanted)
        return all(test(value) is Truth.YES for value in known)
    if any(bound in given and compare(given[bound], wanted)
           for bound, compare in _BOUNDS.get(name, ())):  # fmt: skip
        return True
    if name not in given:
        return False
    theirs = given[name]
    if name == "prefix":
        return all(text.startswith(wanted) for text in theirs)
    if name == "suffix":
        return all(text.endswith(wanted) for text in theirs)
    if name in _ALTERNATIVES:
        return set(theirs) <= set(wanted)
    return _same(theirs, wanted)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, WhereEntry) and isinstance(right, WhereEntry):
        return left.given.keys() == right.given.keys() and all(
            _same(operand, right.given[name]) for name, operand in left.given.items()
        )
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(json_equal, left, right))
    return json_equal(left, right)
