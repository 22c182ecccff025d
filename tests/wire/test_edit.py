"""Edits change the strings they name, and no other character."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.edit import Change, Cut, Edit, Swap, apply_edits
from mitmgate.wire.surfaces import Surface, escape_token, resolve_pointer, walk_json

KEYS = st.text(alphabet='ab/~01é "\\', max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet='ab"\\/é😀\n,:{}[]', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
).filter(lambda value: isinstance(value, (dict, list)))  # fmt: skip

EDITED = {
    "nothing": ("{ }", [], "{ }"),
    "one string among odd blanks": ('{ "a" :\t"xyz" }', [Edit("/a", 1, 2, "-")],
                                    '{ "a" :\t"x-z" }'),
    "numbers keep their spelling": ('{"n":1.0e1,"b":12345678901234567890,"a":"x"}',
                                    [Edit("/a", 0, 1, "y")],
                                    '{"n":1.0e1,"b":12345678901234567890,"a":"y"}'),
    "escapes elsewhere stay": ('["\\u0041\\/", "x"]', [Edit("/1", 0, 1, "y")],
                               '["\\u0041\\/", "y"]'),
    "offsets count decoded characters": ('["\\u0041\\"\\ud83d\\ude00Z"]', [Edit("/0", 2, 3, "-")],
                                         '["A\\"-Z"]'),
    "several edits in one string, in any order": ('["abcdef"]',
                                                  [Edit("/0", 4, 6, "2"), Edit("/0", 0, 2, "1")],
                                                  '["1cd2"]'),
    "edits that touch": ('["abcd"]', [Edit("/0", 0, 2, "1"), Edit("/0", 2, 4, "2")], '["12"]'),
    "several strings": ('{"a":["x","y"]}', [Edit("/a/1", 0, 1, "2"), Edit("/a/0", 0, 1, "1")],
                        '{"a":["1","2"]}'),
    "what must be escaped is": ('["x"]', [Edit("/0", 0, 1, '"\\\n')], '["\\"\\\\\\n"]'),
    "ASCII stays ASCII": ('["x"]', [Edit("/0", 0, 1, "é")], '["\\u00e9"]'),
    "other characters stay": ('["xé"]', [Edit("/0", 0, 1, "ü")], '["üé"]'),
    "keys with slashes": ('{"a/b~":{"":"x"}}', [Edit("/a~1b~0/", 0, 1, "y")], '{"a/b~":{"":"y"}}'),
    "escaped keys": ('{"\\u0061":"x"}', [Edit("/a", 0, 1, "y")], '{"\\u0061":"y"}'),
    "a string equal to a key stays": ('{"x":"x","y":["x"]}', [Edit("/y/0", 0, 1, "z")],
                                      '{"x":"x","y":["z"]}'),
    "an edit in a batch": ('[{"a":"x"}, {"a":"x"}]', [Edit("/1/a", 0, 1, "y")],
                           '[{"a":"x"}, {"a":"y"}]'),
    "a string at the top is swapped": (' "x" ', [Swap("", "[1.0]")], " [1.0] "),
    "a swap of a number": ('{"a": 1.50 }', [Swap("/a", "1e2")], '{"a": 1e2 }'),
    "a swap of an object": ('{"a":{"b":[1]},"c":2}', [Swap("/a", "null")], '{"a":null,"c":2}'),
    "a swap keeps to ASCII": ('["x"]', [Swap("/0", '{"é":"😀"}')],
                              '[{"\\u00e9":"\\ud83d\\ude00"}]'),
    "a swap in other characters": ('["ü"]', [Swap("/0", '"é"')], '["é"]'),
    "the first item goes": ("[ 1 , 2 , 3 ]", [Cut("/0")], "[ 2 , 3 ]"),
    "the middle item goes": ("[ 1 , 2 , 3 ]", [Cut("/1")], "[ 1 , 3 ]"),
    "the last item goes": ("[ 1 , 2 , 3 ]", [Cut("/2")], "[ 1 , 2 ]"),
    "the first two items go": ("[1,2,3]", [Cut("/1"), Cut("/0")], "[3]"),
    "the last two items go": ("[1,2,3]", [Cut("/1"), Cut("/2")], "[1]"),
    "first and last go": ("[1,2,3]", [Cut("/0"), Cut("/2")], "[2]"),
    "all items go": ("[ 1, 2, 3 ]", [Cut("/0"), Cut("/1"), Cut("/2")], "[  ]"),
    "the only item goes": ("[[1]]", [Cut("/0/0")], "[[]]"),
    "lines of a pretty text go whole": ("[\n  1,\n  2,\n  3\n]", [Cut("/0"), Cut("/2")],
                                        "[\n  2\n]"),
    "a member goes with its key": ('{ "a" : 1, "b" : 2 }', [Cut("/a")], '{ "b" : 2 }'),
    "the last member goes": ('{"a":1,"b":{"c":"}"}}', [Cut("/b")], '{"a":1}'),
    "the only member goes": ('{"a":1}', [Cut("/a")], "{}"),
    "a message of a batch goes, another is edited": (
        '[{"id":1},{"id":2,"p":"x"},{"id":3.0}]', [Cut("/0"), Edit("/1/p", 0, 1, "y"), Cut("/2")],
        '[{"id":2,"p":"y"}]'),
    "an index counts what others cut": ('["a","b","c"]', [Cut("/0"), Swap("/2", "3")],
                                        '["b",3]'),
    "a cut beside a swap beside an edit": ('{"a":1,"b":"x","c":[1]}',
                                           [Cut("/a"), Edit("/b", 0, 1, "y"), Swap("/c", "{}")],
                                           '{"b":"y","c":{}}'),
    "plain text": ("key=abc", [Edit("", 4, 7, "***")], "key=***"),
    "plain text that looks like JSON": ('"abc"', [Edit("", 1, 4, "*")], '"*"'),
}  # fmt: skip


@pytest.mark.parametrize(("text", "edits", "expected"), EDITED.values(), ids=EDITED)
def test_edits(text: str, edits: list[Change], expected: str) -> None:
    assert apply_edits(text, edits) == expected


REFUSED = {
    "an unknown pointer": ('{"a":"x"}', [Edit("/b", 0, 1, "")], "no string"),
    "a pointer at a number": ('{"a":1}', [Edit("/a", 0, 1, "")], "no string"),
    "a pointer at an object": ('{"a":{}}', [Edit("/a", 0, 0, "x")], "no string"),
    "overlapping edits": ('["abc"]', [Edit("/0", 0, 2, ""), Edit("/0", 1, 3, "")], "overlap"),
    "an edit beyond the string": ('["abc"]', [Edit("/0", 2, 4, "")], "outside"),
    "an edit before the string": ('["abc"]', [Edit("/0", -1, 1, "")], "outside"),
    "an edit turned round": ('["abc"]', [Edit("/0", 2, 1, "")], "outside"),
    "plain text and a pointer mixed": ('["abc"]', [Edit("", 0, 1, ""), Edit("/0", 0, 1, "")],
                                       "no string"),
    "a pointer that no key can have": ('{"a~key":"x"}', [Edit("/a~key", 0, 1, "")], "no string"),
    "a pointer that is none": ('{"a":"x"}', [Edit("a", 0, 1, "")], "pointer"),
    "an edit below a string": ('["abc"]', [Edit("/0/0", 0, 1, "")], "no string"),
    "an edit of a string and one below it": (
        '["abc"]', [Edit("/0", 0, 1, ""), Edit("/0/0", 0, 1, "")], "no string"),
    "a swap of nothing": ('{"a":1}', [Swap("/b", "1")], "points at nothing"),
    "a swap below a number": ('{"a":1}', [Swap("/a/b", "1")], "points at nothing"),
    "a swap for what is no JSON": ('{"a":1}', [Swap("/a", "1,2")], "cannot edit"),
    "a swap for a key twice": ('{"a":1}', [Swap("/a", '{"b":1,"b":2}')], "cannot edit"),
    "a cut of nothing": ("[1]", [Cut("/1")], "points at nothing"),
    "a cut behind the last item": ("[1]", [Cut("/-")], "points at nothing"),
    "an index with a nought before it": ("[1,2]", [Cut("/01")], "points at nothing"),
    "a cut of everything": ("[1]", [Cut("")], "whole text"),
    "two cuts of one item": ("[1]", [Cut("/0"), Cut("/0")], "overlap"),
    "two swaps of one value": ("[1]", [Swap("/0", "1"), Swap("/0", "1")], "overlap"),
    "a cut and a swap of one value": ("[1]", [Swap("/0", "1"), Cut("/0")], "overlap"),
    "an edit inside a cut": ('[{"a":"x"}]', [Cut("/0"), Edit("/0/a", 0, 1, "")], "overlap"),
    "an edit inside a swap": ('[{"a":"x"}]', [Edit("/0/a", 0, 1, ""), Swap("/0", "1")], "overlap"),
    "an edit of a string that is swapped": ('["x"]', [Edit("/0", 0, 1, ""), Swap("/0", "1")],
                                            "overlap"),
    "a cut inside a cut": ("[[1]]", [Cut("/0/0"), Cut("/0")], "overlap"),
    "text that is no JSON": ("{", [Edit("/a", 0, 1, "")], "cannot edit"),
    "a key twice": ('{"a":"x","a":"y"}', [Edit("/a", 0, 1, "")], "cannot edit"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "edits", "problem"), REFUSED.values(), ids=REFUSED)
def test_refuses(text: str, edits: list[Change], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        apply_edits(text, edits)


def replaced(value: Any, pointer: str, new: str) -> Any:
    """A copy of *value* with *new* at *pointer*, made the simple way."""
    copy = json.loads(json.dumps(value))
    parent, _, token = pointer.rpartition("/")
    holder = resolve_pointer(copy, parent)
    key = token.replace("~1", "/").replace("~0", "~")
    holder[int(key) if isinstance(holder, list) else key] = new
    return copy


@given(VALUES, st.data(), st.booleans(), st.sampled_from([None, 2]), st.text(max_size=4))
def test_an_edit_changes_its_string_and_nothing_else(
    value: Any, data: st.DataObject, ascii_only: bool, indent: int | None, new: str
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert apply_edits(text, []) == text
    strings = [found for found in walk_json(Surface.RESULTS, value) if not found.key]
    if not strings:
        return
    found = data.draw(st.sampled_from(strings))
    start = data.draw(st.integers(0, len(found.text)))
    end = data.draw(st.integers(start, len(found.text)))
    got = apply_edits(text, [Edit(found.pointer, start, end, new)])
    changed = found.text[:start] + new + found.text[end:]
    assert json.loads(got) == replaced(value, found.pointer, changed)
    # Edited back, only the spelling of the one string may differ.
    back = apply_edits(got, [Edit(found.pointer, 0, len(changed), found.text)])
    assert json.loads(back) == value
    # Every character outside of that string is as it was.
    before, after = (json.dumps(found.text, ensure_ascii=flag) for flag in (True, False))
    assert back.replace(before, "").replace(after, "") == text.replace(before, "").replace(
        after, ""
    )


def places(value: Any, prefix: str = "") -> list[str]:
    """The pointers of everything inside *value*."""
    if isinstance(value, dict):
        pairs = [(escape_token(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        pairs = [(str(index), child) for index, child in enumerate(value)]
    else:
        return []
    return [
        place
        for token, child in pairs
        for place in (f"{prefix}/{token}", *places(child, f"{prefix}/{token}"))
    ]


def done_simply(value: Any, changes: list[Swap | Cut]) -> Any:
    """What the changes make of the parsed value, children before parents, last items first."""
    copy = {"": json.loads(json.dumps(value))}
    removed = object()
    for change in changes:
        parent, _, token = change.pointer.rpartition("/")
        holder = resolve_pointer(copy[""], parent)
        key: Any = token.replace("~1", "/").replace("~0", "~")
        new = json.loads(change.json) if isinstance(change, Swap) else removed
        holder[int(key) if isinstance(holder, list) else key] = new

    def swept(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: swept(child) for key, child in item.items() if child is not removed}
        if isinstance(item, list):
            return [swept(child) for child in item if child is not removed]
        return item

    return swept(copy[""])


@given(VALUES, st.data(), st.booleans(), st.sampled_from([None, 2]))
def test_swaps_and_cuts_do_what_they_do_to_the_parsed_value(
    value: Any, data: st.DataObject, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    changes: list[Swap | Cut] = []
    for pointer in data.draw(st.permutations(places(value))):
        inside = any(
            pointer.startswith(f"{change.pointer}/") or change.pointer.startswith(f"{pointer}/")
            for change in changes
        )
        kind = data.draw(st.sampled_from(["keep", "swap", "cut"]))
        if not inside and kind != "keep":
            changes.append(Cut(pointer) if kind == "cut" else Swap(pointer, '{"é": [1.0]}'))
    got = apply_edits(text, changes)
    assert json.loads(got) == done_simply(value, changes)
    # What is left is a piece of what was there: nothing is spelled anew.
    if all(isinstance(change, Cut) for change in changes):
        rest = iter(text)
        assert all(character in rest for character in got)


def test_untouched_characters_stay_around_swaps_and_cuts() -> None:
    text = '{"n": 1.0e+1, "\\u0061": [0 ,-0, 12345678901234567890], "s": "\\/\\u00e9", "z":\t{ } }'
    got = apply_edits(text, [Cut("/a/1"), Swap("/z", "0")])
    assert got == (
        '{"n": 1.0e+1, "\\u0061": [0, 12345678901234567890], "s": "\\/\\u00e9", "z":\t0 }'
    )


@pytest.mark.timeout(20)
def test_long_keys_over_many_values_take_linear_time() -> None:
    # A pointer made for each value would copy the key 100,000 times: 200 GB.
    text = json.dumps({"k" * 2_000_000: ["x"] * 100_000, "last": "x"})
    assert apply_edits(text, [Edit("/last", 0, 1, "y")]).endswith('"last": "y"}')


@pytest.mark.timeout(20)
def test_many_changes_take_linear_time() -> None:
    size = 100_000
    text = json.dumps(["x"] * size)
    cuts = [Cut(f"/{index}") for index in range(size - 1)]
    assert json.loads(apply_edits(text, cuts)) == ["x"]
    edits = [Edit(f"/{index}", 0, 1, "y") for index in range(size)]
    assert json.loads(apply_edits(text, edits)) == ["y"] * size
