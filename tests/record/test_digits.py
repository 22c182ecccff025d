"""Numbers of JSON that are secret by their name are written as others, equal ones as equal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.record.digits import as_stand_in, is_number, is_stand_in_number
from mitmgate.record.expansion import Redacted
from mitmgate.record.numbering import Numbering
from mitmgate.record.redact import Redactor

HIDDEN: dict[str, tuple[Any, Any]] = {
    "a PIN": ({"pin": 48213377}, {"pin": 10000001}),
    "one with three digits": ({"pin": 482}, {"pin": 101}),
    "a negative one": ({"pin": -48213377}, {"pin": -10000001}),
    "one with a fraction": ({"otp": 4821.5}, {"otp": 100001}),
    "a list, digit by digit": ({"otp": [4, 9]}, {"otp": [1, 1]}),
    "below a secret name": ({"password": {"a": 48213377}}, {"password": {"a": 10000001}}),
    "beside the name": ([{"name": "API_TOKEN", "value": 48213377}],
                        [{"name": "API_TOKEN", "value": 10000001}]),
    "what a person typed": ({"action": "accept", "content": {"a": 4821}},
                            {"action": "accept", "content": {"a": 1001}}),
    "JSON in a string": ({"a": '{"pin": 48213377, "n": 5551212}'},
                         {"a": '{"pin": 10000001, "n": 5551212}'}),
    "a list in a string": ({"a": '{"otp": [482, 991]}'}, {"a": '{"otp": [101, 102]}'}),
    "a text around it": ({"a": 'it says "pin": 48213377 there'},
                         {"a": 'it says "pin": 10000001 there'}),
    "equal and not equal": ({"pin": 4821, "otp": 4821, "password": 4822},
                            {"pin": 1001, "otp": 1001, "password": 1002}),
    "the pin of a chip": ({"pin": 13}, {"pin": 13}),
    "a description": ({"properties": {"pin": {"default": 1234}}},
                      {"properties": {"pin": {"default": 1234}}}),
    "an ordinary number": ({"count": 48213377, "id": 123456}, {"count": 48213377, "id": 123456}),
}  # fmt: skip


def _document(redactor: Redactor, text: str) -> str:
    redacted = redactor.document(text)
    assert isinstance(redacted, Redacted)
    return redacted.text


@pytest.mark.parametrize(("said", "stored"), HIDDEN.values(), ids=HIDDEN)
def test_written(redactor: Redactor, said: Any, stored: Any) -> None:
    assert json.loads(_document(redactor, json.dumps(said))) == stored


def test_damaged_json_hides_its_numbers_too(redactor: Redactor) -> None:
    text = _document(redactor, '{"a": 1, "pin": 48213377, "otp": [482, 993')
    assert "48213377" not in text
    assert "482" not in text


def test_a_name_that_is_written_with_escapes(redactor: Redactor) -> None:
    assert "48213377" not in _document(redactor, r'{"p\u0069n": 48213377}')


def test_only_the_digits_change(redactor: Redactor) -> None:
    text = '{ "n": 1.50e1,\t"pin" : 48213377 , "s":"\\u0041" }'
    assert _document(redactor, text) == text.replace("48213377", "10000001")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 10**9))
def test_a_stand_in_is_a_number_of_the_same_length(value: float, count: int) -> None:
    token = json.dumps(value)
    shown = as_stand_in(token, lambda *_: count)
    assert len(shown) == len(token)
    assert is_number(shown)
    assert is_stand_in_number(shown)


def test_different_numbers_stay_different() -> None:
    numbering = Numbering(b"k")
    shown = [as_stand_in(f"{number}", numbering.of) for number in range(100000, 100900)]
    assert len(set(shown)) == 900
