"""``where``: pointers with wildcards, what unsure means to a rule, and the mistakes in a file."""

from __future__ import annotations

import operator
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mitmgate.policy.conditions import (
    MAX_VALUES,
    Condition,
    WhereEntry,
    compile_where,
    parse_pattern_pointer,
)
from mitmgate.policy.operators import MAX_PATTERN
from mitmgate.policy.truth import Truth, agreed, all_of, any_of


def condition(pointer: str, entry: dict[str, Any]) -> Condition:
    return Condition.of(pointer, WhereEntry.model_validate(entry))


IN_A = {"path_within": "/a"}
MANY = [{"path": "/a/x"}] * MAX_VALUES

# sentence: the pointer below /arguments, the entry, the arguments, holds for an allowing rule,
# holds for any other
WILDCARDS: dict[str, tuple[str, dict[str, Any], Any, bool, bool]] = {
    "all items meet it": ("/f/*", IN_A, {"f": ["/a/x", "/a/y"]}, True, True),
    "one item meets it": ("/f/*", IN_A, {"f": ["/a/x", "/b"]}, False, True),
    "no item meets it": ("/f/*", IN_A, {"f": ["/b"]}, False, False),
    "one item is unsure": ("/f/*", IN_A, {"f": ["/a/x", "y"]}, False, True),
    "one is unsure, the others are not meant": ("/f/*", IN_A, {"f": ["/b", "y"]}, False, True),
    "no items": ("/f/*", IN_A, {"f": []}, False, False),
    "members of an object": ("/f/*", IN_A, {"f": {"p": "/a", "q": "/b"}}, False, True),
    "a text has no items": ("/f/*", IN_A, {"f": "/a"}, False, False),
    "nothing there": ("/f/*", IN_A, {}, False, False),
    "behind the wildcard": ("/f/*/path", IN_A, {"f": [{"path": "/a"}] * 2}, True, True),
    "an item lacks the member": ("/f/*/path", IN_A, {"f": [{"path": "/a"}, {}]}, False, True),
    "an item is something else": ("/f/*/path", IN_A, {"f": [{"path": "/a"}, "/b"]}, False, True),
    "two wildcards": ("/f/*/*", IN_A, {"f": [["/a"], {"p": "/a"}]}, True, True),
    "two wildcards, one value out": ("/f/*/*", IN_A, {"f": [["/a"], {"p": "/"}]}, False, True),
    "two wildcards, one array empty": ("/f/*/*", IN_A, {"f": [["/a"], []]}, True, True),
    "the arguments themselves": ("/*", {"equals": 1}, {"p": 1, "q": 1}, True, True),
    "match any in an allowing rule": (
        "/f/*", IN_A | {"match": "any"}, {"f": ["/a", "/b"]}, True, True),
    "match all in a denying rule": (
        "/f/*", IN_A | {"match": "all"}, {"f": ["/a", "/b"]}, False, False),
    "match all in a denying rule, one is unsure": (
        "/f/*", IN_A | {"match": "all"}, {"f": ["/a", "b"]}, False, True),
    "match all, of none": ("/f/*", IN_A | {"match": "all"}, {"f": []}, False, False),
    "match says nothing without a wildcard": (
        "/f", IN_A | {"match": "any"}, {"f": "/a"}, True, True),
    "some exist": ("/f/*/path", {"exists": True}, {"f": [{"path": 1}, {}]}, False, True),
    "all exist": ("/f/*/path", {"exists": True}, {"f": [{"path": 1}]}, True, True),
    "none exists": ("/f/*/path", {"exists": False}, {"f": [{}, 1]}, True, True),
    "not all lack it": ("/f/*/path", {"exists": False}, {"f": [{}, {"path": 1}]}, False, False),
    "an empty array has none": ("/f/*", {"exists": False}, {"f": []}, True, True),
    "no item is another": ("/f/*", {"not": IN_A}, {"f": ["/b", "/c"]}, True, True),
    "an item is among others": ("/f/*", {"not": IN_A}, {"f": ["/b", "/a"]}, False, True),
    "as many as are visited": ("/f/*/path", IN_A, {"f": MANY}, True, True),
    "more than are visited": ("/f/*/path", IN_A, {"f": [*MANY, {"path": "/a"}]}, False, True),
    "more than are visited, none of the first is meant": (
        "/f/*/path", {"prefix": "/b"}, {"f": [*MANY, {"path": "/a"}]}, False, True),
    "more than are visited, and the first ones have it": (
        "/f/*/path", {"exists": False}, {"f": [*MANY, {}]}, False, False),
    "more than are visited, and the first ones lack it": (
        "/f/*/path", {"exists": False}, {"f": [{}] * (MAX_VALUES + 1)}, False, True),
    "an index is no wildcard": ("/f/1", IN_A, {"f": ["/b", "/a"]}, True, True),
    "a star in a name is a star": ("/f*", IN_A, {"f*": "/a", "fg": "/b"}, True, True),
}  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "entry", "arguments", "allowing", "other"), WILDCARDS.values(), ids=WILDCARDS
)
def test_wildcards(
    pointer: str, entry: dict[str, Any], arguments: Any, allowing: bool, other: bool
) -> None:
    one = condition("/arguments" + pointer, entry)
    params = {"arguments": arguments}
    assert one.holds(params, allowing=True) is allowing
    assert one.holds(params, allowing=False) is other


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "at least one operator is needed, as in {equals: true}"),
    "match alone": ({"match": "any"}, "at least one operator is needed"),
    "an unknown operator": ({"equal": 1}, "Extra inputs are not permitted"),
    "an operator by the name of its field": ({"in_": [1]}, "Extra inputs are not permitted"),
    "null": ({"prefix": None}, 'remove the key, or write "null" in quotes'),
    "null inside of not": ({"not": {"prefix": None}}, "null says nothing here"),
    "an empty list": ({"prefix": []}, "at least 1 item"),
    "an empty list of values": ({"in": []}, "at least 1 item"),
    "a value where a list is meant": ({"in": "a"}, "for one value write equals"),
    "an empty prefix": ({"prefix": ["a", ""]}, "at least 1 character"),
    "a number as prefix": ({"prefix": 1}, "must be text, or a list of texts"),
    "a pattern that RE2 refuses": ({"pattern": "(?=a)"}, "RE2 refuses it: invalid perl operator"),
    "a pattern without end": ({"pattern": ["a", "("]}, "RE2 refuses it: missing ): ("),
    "a pattern that repeats too much": (
        {"pattern": "((a{99}){99}){99}"}, "RE2 refuses it: invalid repetition size: {99}"),
    "a pattern that takes too much memory": (
        {"pattern": r"\pL{1000}"}, "RE2 refuses it: pattern too large"),
    "a pattern that takes too much time": (
        {"pattern": r"\pL{9}"}, "and 10000 are allowed; repeat less"),
    "a long pattern": ({"pattern": "a" * (MAX_PATTERN + 1)}, f"1 to {MAX_PATTERN} characters"),
    "a glob with braces": ({"glob": "{a,b}"}, "only * and ? are special"),
    "a glob with two stars": ({"glob": "/a/**"}, "write one * where you wrote several"),
    "a glob with a line end": ({"glob": "a\n"}, "control characters are not allowed"),
    "a long glob": ({"glob": "a" * 257}, "1 to 256 characters"),
    "a command with two blanks": ({"command": "rm  *"}, "words with one blank between them"),
    "a command with a blank behind": ({"command": "rm "}, "words with one blank between them"),
    "an empty command": ({"command": ""}, "1 to 256 characters"),
    "a type that there is not": ({"type": "int"}, "Input should be 'string'"),
    "true as a bound": ({"gt": True}, "valid integer"),
    "a text as a bound": ({"le": "5"}, "valid integer"),
    "infinity as a bound": ({"le": float("inf")}, "finite number"),
    "a negative length": ({"min_length": -1}, "greater than or equal to 0"),
    "a length that is no whole number": ({"max_length": 1.5}, "valid integer"),
    "a relative folder": ({"path_within": "tmp"}, "a plain absolute path, as in /workspace"),
    "a host with a scheme": ({"host_in": ["https://a"]}, "without scheme or path"),
    "every host": ({"host_in": ["*"]}, "matches every host is not allowed"),
    "a network with host bits": ({"cidr": "10.0.0.1/8"}, "did you mean 10.0.0.0/8?"),
    "exists as text": ({"exists": "yes"}, "valid boolean"),
    "a value of what does not exist": ({"exists": False, "equals": 1}, "exists: false alone"),
    "exists inside of not": ({"not": {"exists": True}}, "stand outside of not"),
    "match inside of not": ({"not": {"gt": 1, "match": "all"}}, "stand outside of not"),
    "not of nothing": ({"not": {}}, "at least one operator is needed"),
    "match of another kind": ({"gt": 1, "match": "some"}, "'any' or 'all'"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "message"), REFUSED.values(), ids=REFUSED)
def test_mistakes_say_how_to_write_it_right(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WhereEntry.model_validate(entry)
    assert message in str(caught.value)


def test_every_key_is_described_in_a_sentence() -> None:
    for name, spec in WhereEntry.model_fields.items():
        assert (spec.description or "").endswith("."), name


TEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "bounds": ({"le": 100, "gt": 0}, "gt 0, le 100"),
    "a text is quoted": ({"prefix": "a b"}, 'prefix "a b"'),
    "values as JSON": ({"equals": {"a": [None, True]}}, 'equals {"a": [null, true]}'),
    "a list": ({"in": ["a", 2]}, 'in ["a", 2]'),
    "a long list": ({"in": [1, 2, 3, 4, 5]}, "in [1, 2, 3, 2 more]"),
    "a long text": ({"equals": "a" * 100}, 'equals "' + "a" * 59 + "..."),
    "characters that a terminal could obey": (
        {"equals": "\x1b[2J\u202e"}, r'equals "\u001b[2J\u202e"'),
    "not": ({"not": {"gt": 1, "lt": 5}}, "not (gt 1, lt 5)"),
    "existence": ({"exists": False}, "exists false"),
    "match": ({"type": "string", "match": "all"}, 'type "string", match all'),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "text"), TEXTS.values(), ids=TEXTS)
def test_text(entry: dict[str, Any], text: str) -> None:
    assert condition("/arguments/x", entry).text == f"/arguments/x {text}"


def test_a_rule_has_one_condition_for_each_pointer() -> None:
    entries = {"/a/*": WhereEntry(equals=1), "/a~1*": WhereEntry(gt=0)}
    conditions = compile_where(entries)
    assert [one.pointer for one in conditions] == ["/a/*", "/a~1*"]
    assert [one.tokens for one in conditions] == [("a", "*"), ("a/*",)]


def test_a_pointer_is_one_of_rfc_6901() -> None:
    assert parse_pattern_pointer("/a/*/~0~1") == ("a", "*", "~/")
    for bad in ("", "a", "/~2", "/~"):
        with pytest.raises(ValueError, match="JSON pointer"):
            parse_pattern_pointer(bad)


SAME: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "the same value": ({"equals": 1}, {"equals": 1.0}, True),
    "true is not 1": ({"equals": 1}, {"equals": True}, False),
    "a value of a list": ({"in": [1, 2]}, {"equals": 2}, True),
    "a shorter list": ({"in": [1, 2, 3]}, {"in": [3, 1]}, True),
    "a longer list": ({"in": [1]}, {"in": [1, 2]}, False),
    "a list of one": ({"equals": 1}, {"in": [1, 1.0]}, True),
    "values that the operator holds for": ({"gt": 0, "type": "integer"}, {"in": [1, 2]}, True),
    "a value that it does not hold for": ({"gt": 0}, {"in": [0, 1]}, False),
    "a longer prefix": ({"prefix": ["a", "b"]}, {"prefix": ["ab", "b"]}, True),
    "a shorter prefix": ({"prefix": "ab"}, {"prefix": "a"}, False),
    "a longer suffix": ({"suffix": ".key"}, {"suffix": "a.key"}, True),
    "a greater bound": ({"gt": 1}, {"gt": 2}, True),
    "a bound that is reached": ({"gt": 1}, {"ge": 1}, False),
    "a bound that is not reached": ({"ge": 1}, {"gt": 1}, True),
    "the other bound": ({"gt": 1}, {"lt": 0}, False),
    "a lesser bound": ({"le": 5, "gt": 0}, {"le": 4, "ge": 1}, True),
    "more operators": ({"prefix": "a"}, {"prefix": "a", "max_length": 5}, True),
    "fewer operators": ({"prefix": "a", "max_length": 5}, {"prefix": "a"}, False),
    "a longer minimum": ({"min_length": 1}, {"min_length": 2}, True),
    "whatever exists": ({"exists": True}, {"pattern": "x"}, True),
    "what does not exist": ({"exists": True}, {"exists": False}, False),
    "two that do not exist": ({"exists": False}, {"exists": False}, True),
    "fewer folders": ({"path_within": ["/a", "/b"]}, {"path_within": "/b"}, True),
    "another folder": ({"path_within": "/a"}, {"path_within": "/b"}, False),
    "fewer commands": ({"command": ["ls", "rm *"]}, {"command": "rm *"}, True),
    "a pattern that another implies is not found out": (
        {"pattern": "a"}, {"pattern": "aa"}, False),
    "the same not": ({"not": {"in": [1]}}, {"not": {"in": [1.0]}}, True),
    "another not": ({"not": {"in": [1]}}, {"not": {"in": [True]}}, False),
    "a not with more in it": ({"not": {"gt": 1}}, {"not": {"gt": 1, "lt": 5}}, False),
}  # fmt: skip


@pytest.mark.parametrize(("broad", "narrow", "covers"), SAME.values(), ids=SAME)
def test_covers(broad: dict[str, Any], narrow: dict[str, Any], covers: bool) -> None:
    one, other = condition("/x", broad), condition("/x", narrow)
    for allowing in (True, False):
        assert one.covers(other, allowing=allowing, other_allowing=allowing) is covers
    assert one.covers(other, allowing=False, other_allowing=True) is covers
    assert not one.covers(condition("/y", narrow))


def test_covers_asks_what_each_wants_of_a_wildcard() -> None:
    every = condition("/x/*", {"equals": 1, "match": "all"})
    some = condition("/x/*", {"equals": 1})
    assert some.covers(every, allowing=False, other_allowing=False)
    assert not every.covers(some, allowing=False, other_allowing=False)


CROSSED: dict[str, tuple[str, dict[str, Any], bool, bool, bool]] = {
    "sure operators mean the same to both": ("/x", {"equals": 1}, True, False, True),
    "an unsure one meets only the denying rule": ("/x", IN_A, True, False, False),
    "and then the denying rule covers the allowing": ("/x", IN_A, False, True, True),
    "all is not met wherever any is": ("/x/*", {"equals": 1}, True, False, False),
    "any is met wherever all is": ("/x/*", {"equals": 1}, False, True, True),
    "both want all": ("/x/*", {"equals": 1}, True, True, True),
    "too many values meet only the denying rule": (
        "/x/*", {"equals": 1, "match": "any"}, True, False, False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "entry", "allowing", "other", "covers"), CROSSED.values(), ids=CROSSED
)
def test_covers_across_verdicts(
    pointer: str, entry: dict[str, Any], allowing: bool, other: bool, covers: bool
) -> None:
    one = condition(pointer, entry)
    assert one.covers(one, allowing=allowing, other_allowing=other) is covers


# --- properties ---------------------------------------------------------------------------------

_TEXTS = st.sampled_from(
    ["", "a", "/a/b", "/a/../c", "~", "C:\\a", "http://[", "10.0.0.1", "1", "ls; rm 'x", "\0", "*"]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _TEXTS
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_ENTRIES = st.sampled_from(
    [entry for _, entry, *_ in WILDCARDS.values()]
    + [entry for pair in SAME.values() for entry in pair[:2]]
    + [{"host_in": ["a.b"]}, {"cidr": "10.0.0.0/8"}, {"glob": "*a?"}, {"contains": {"a": 1}}]
)
_POINTERS = st.sampled_from(["/a", "/*", "/*/*", "/a/*", "/*/0"])


@given(_POINTERS, _ENTRIES, st.none() | st.dictionaries(_TEXTS | st.just("a"), _JSON))
def test_any_json_has_an_answer_and_allowing_is_the_stricter_one(
    pointer: str, entry: dict[str, Any], params: dict[str, Any] | None
) -> None:
    one = condition(pointer, {**entry, "match": "any"})
    allowing, other = (one.holds(params, allowing=way) for way in (True, False))
    assert other or not allowing


@given(_JSON, _ENTRIES)
def test_not_is_the_opposite_of_what_is_there(value: Any, entry: dict[str, Any]) -> None:
    inner = {name: operand for name, operand in entry.items() if name not in ("match", "exists")}
    if inner:
        truth = condition("/x", inner).test(value)
        assert condition("/x", {"not": inner}).test(value) is truth.negated()


@given(_ENTRIES, _ENTRIES, _POINTERS, st.booleans(), st.booleans(), st.data())
def test_what_covers_holds_too(
    broad: dict[str, Any],
    narrow: dict[str, Any],
    pointer: str,
    allowing: bool,
    other: bool,
    data: st.DataObject,
) -> None:
    matches = st.sampled_from([{}, {"match": "any"}, {"match": "all"}])
    one, two = (condition(pointer, entry | data.draw(matches)) for entry in (broad, narrow))
    if one.covers(two, allowing=allowing, other_allowing=other):
        params = data.draw(st.dictionaries(_TEXTS | st.just("a"), _JSON, max_size=4))
        if two.holds(params, allowing=other):
            assert one.holds(params, allowing=allowing)


TRUTHS = st.lists(st.sampled_from(Truth))


@given(TRUTHS)
def test_any_is_not_all_of_the_opposites(truths: list[Truth]) -> None:
    assert any_of(truths) is all_of(truth.negated() for truth in truths).negated()
    assert agreed(truths) is (truths[0] if len(set(truths)) == 1 else Truth.UNSURE)


def test_a_truth_is_no_boolean() -> None:
    with pytest.raises(TypeError, match="one of three"):
        operator.truth(Truth.NO)


HOSTILE: dict[str, tuple[dict[str, Any], Any]] = {
    "quotes": ({"command": "rm *"}, "'\"" * 5_000),
    "dots": ({"path_within": "/a"}, "/a/.." * 1_000_000),
    "a path of many names": ({"path_within": "/a"}, "/a" * 16_000),
    "braces": ({"path_within": "/a"}, "{" * 32_000),
    "a pattern that backtracks": ({"pattern": "(a|a)*(a|a)*b"}, "a" * 1_000_000),
    "a pattern that keeps many states": (
        {"pattern": "a[ab]{100}c"},
        bytes(97 + (n**3 >> 7) % 2 for n in range(1 << 20)).decode(),
    ),
    "question marks": ({"glob": "*?a?b?c*"}, "ab" * 500_000),
    "a large array": ({"contains": {"a": [1]}}, [{"a": [2]}] * 500_000),
    "a long host": ({"host_in": ["a.b"]}, "a." * 4_000_000),
}


@pytest.mark.parametrize(("entry", "value"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_take_no_time(entry: dict[str, Any], value: Any) -> None:
    one = condition("/x", entry)
    start = perf_counter()
    one.test(value)
    assert perf_counter() - start < 2
