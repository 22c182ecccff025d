"""Edits change the strings they name, and no other character."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.edit import Edit, apply_edits
from mitmgate.wire.surfaces import Surface, resolve_pointer, walk_json

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
    "plain text": ("key=abc", [Edit("", 4, 7, "***")], "key=***"),
    "plain text that looks like JSON": ('"abc"', [Edit("", 1, 4, "*")], '"*"'),
}  # fmt: skip


@pytest.mark.parametrize(("text", "edits", "expected"), EDITED.values(), ids=EDITED)
def test_edits(text: str, edits: list[Edit], expected: str) -> None:
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
    "text that is no JSON": ("{", [Edit("/a", 0, 1, "")], "cannot edit"),
    "a key twice": ('{"a":"x","a":"y"}', [Edit("/a", 0, 1, "")], "cannot edit"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "edits", "problem"), REFUSED.values(), ids=REFUSED)
def test_refuses(text: str, edits: list[Edit], problem: str) -> None:
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
