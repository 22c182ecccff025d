"""JSON is read in one way or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import (
    SENSITIVE_KEYS,
    encode_json,
    fold_key,
    parse_json,
    refuse_ambiguous_keys,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

REFUSED = {
    "an empty text is no value": ("", "not_json"),
    "two values are not one": ("{} {}", "not_json"),
    "text after the value is refused": ("{}x", "not_json"),
    "a byte order mark is not skipped here": ("\ufeff{}", "not_json"),
    "single quotes are no JSON": ("{'a':1}", "not_json"),
    "comments are no JSON": ("{}//", "not_json"),
    "trailing commas are no JSON": ("[1,]", "not_json"),
    "a raw newline in a string is refused": ('"a\nb"', "not_json"),
    "a number of five thousand digits is refused": ("9" * 5000, "not_json"),
    "duplicate keys at the top are refused": ('{"a":1,"a":1}', "duplicate_key"),
    "duplicate keys deep down are refused": ('[{"x":{"a":1,"a":2}}]', "duplicate_key"),
    "keys equal after unescaping are duplicates": ('{"name":1,"n\\u0061me":2}', "duplicate_key"),
    "one level too many is refused": ("[" * 129 + "]" * 129, "too_deep"),
    "objects count as levels": ('{"a":' * 129 + "1" + "}" * 129, "too_deep"),
    "a hundred thousand brackets do not overflow": ("[" * 100_000 + "]" * 100_000, "too_deep"),
    "NaN is no JSON": ("[NaN]", "not_finite"),
    "Infinity is no JSON": ("-Infinity", "not_finite"),
    "a number beyond a double is refused": ("1e400", "not_finite"),
    "half a surrogate pair in a value is refused": ('{"a":["\\ud800"]}', "lone_surrogate"),
    "half a surrogate pair in upper case is refused": ('"\\uDC00"', "lone_surrogate"),
    "half a surrogate pair in a key is refused": ('{"\\ud800":1}', "lone_surrogate"),
    "a raw surrogate is refused": ('"\ud800"', "lone_surrogate"),
}


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_refuses(text: str, code: str) -> None:
    with pytest.raises(WireError) as refusal:
        parse_json(text)
    assert (refusal.value.code, refusal.value.rpc_code) == (code, -32700)


ACCEPTED: dict[str, tuple[str, Any]] = {
    "white space around the value is fine": (" \n{}\t", {}),
    "the deepest legal nesting is read": ('{"a":' * 3 + "1" + "}" * 3, {"a": {"a": {"a": 1}}}),
    "a whole surrogate pair is one character": ('"\\ud83d\\ude00"', "😀"),
    "big integers stay exact": ("9007199254740993", 9007199254740993),
    "an escaped backslash before ud800 is no surrogate": ('"\\\\ud800"', "\\ud800"),
    "the same key in different objects is fine": ('[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize(("text", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(text: str, value: Any) -> None:
    assert parse_json(text) == value


def test_exactly_max_depth_is_read() -> None:
    assert parse_json("[" * 128 + "]" * 128)
    with pytest.raises(WireError, match="deeper than 1 levels"):
        parse_json("[[]]", max_depth=1)


def test_many_shallow_brackets_are_not_deep() -> None:
    assert len(parse_json("[" + ",".join(["[]"] * 1000) + "]")) == 1000


@given(st.text())
def test_any_text_is_a_value_or_a_wire_error(text: str) -> None:
    try:
        parse_json(text)
    except WireError as refusal:
        assert refusal.code


@given(JSON_VALUES)
def test_reads_what_the_standard_library_writes(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(encode_json(value)) == value


def test_encoding_is_compact_and_keeps_characters() -> None:
    assert encode_json({"a": [1, "é"]}) == '{"a":[1,"é"]}'


NEAR_DOUBLES = {
    "case": "Name",
    "all upper case": "METHOD",
    "a NUL at the end": "method\0",
    "a NUL inside": "me\0thod",
    "a zero-width space": "na\u200bme",
    "a byte order mark": "\ufeffid",
    "the long s": "param\u017f",
    "full-width letters": "\uff4e\uff41\uff4d\uff45",
    "the Turkish capital i": "ur\u0130",
    "the Turkish dotless i": "ur\u0131",
    "a soft hyphen": "re\xadsult",
    "meta in capitals": "_Meta",
    "a blank at the end": "id ",
}


@pytest.mark.parametrize("key", NEAR_DOUBLES.values(), ids=NEAR_DOUBLES)
def test_near_doubles_of_sensitive_keys_are_ambiguous(key: str) -> None:
    with pytest.raises(WireError) as refusal:
        refuse_ambiguous_keys([key])
    assert refusal.value.code == "ambiguous_key"


def test_the_sensitive_keys_themselves_and_others_are_fine() -> None:
    refuse_ambiguous_keys([*SENSITIVE_KEYS, "names", "_id", "Cursor", "naïveté", "メソッド"])


@given(st.text())
def test_folding_is_total_and_stable(key: str) -> None:
    assert fold_key(fold_key(key)) == fold_key(key)
