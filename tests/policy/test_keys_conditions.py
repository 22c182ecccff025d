"""Odd spellings of keys behind wildcards, and where operators look at what is inside a value."""

from __future__ import annotations

from typing import Any

import pytest

from mitmgate.policy.conditions import MAX_VALUES, Condition, WhereEntry
from mitmgate.policy.keys import KeyFolds, is_ambiguous

type Case = tuple[str, dict[str, Any], Any, bool]

# sentence: the pointer below /arguments, the entry, the arguments, whether they are ambiguous
CASES: dict[str, Case] = {
    "the exact key": ("/path", {"prefix": "/"}, {"path": "/x"}, False),
    "another case of the key": ("/path", {"prefix": "/"}, {"Path": "/x"}, True),
    "both": ("/path", {"prefix": "/"}, {"path": "/x", "PATH": "/y"}, True),
    "a key that does not exist": ("/path", {"exists": False}, {"Path": 1}, True),
    "on the way to a wildcard": ("/files/*", {"type": "string"}, {"Files": []}, True),
    "behind a wildcard, in an array": (
        "/files/*/path", {"type": "string"}, {"files": [{"path": "a"}, {"Path": "b"}]}, True),
    "behind a wildcard, in an object": (
        "/files/*/path", {"type": "string"}, {"files": {"a": {"pa\0th": "b"}}}, True),
    "behind two wildcards": (
        "/*/*/path", {"type": "string"}, {"files": [{"path": "a"}, {" path": "b"}]}, True),
    "behind a wildcard, none": (
        "/files/*/path", {"type": "string"}, {"files": [{"path": "a"}, {"mode": "b"}, 1]}, False),
    "all members of an object count, so each is seen": (
        "/files/*", {"type": "string"}, {"files": {"a": 1, "A": 2}}, False),
    "behind more values than are visited": (
        "/files/*/path", {"type": "string"}, {"files": [{}] * MAX_VALUES + [{"Path": 1}]}, False),
    "among as many as are visited": (
        "/files/*/path", {"type": "string"},
        {"files": [{}] * (MAX_VALUES - 1) + [{"Path": 1}]}, True),
    "inside a value that is compared": ("/x", {"equals": {"a": 1}}, {"x": {"A": 1}}, True),
    "inside a value that is compared with several": (
        "/x", {"in": ["b", {"a": 1}]}, {"x": {"a": 1, "A": 1}}, True),
    "inside a value that is compared with a text": ("/x", {"in": ["a"]}, {"x": {"A": 1}}, False),
    "inside one that must not be equal": (
        "/x", {"not": {"equals": {"a": 1}}}, {"x": {"A": 1}}, True),
    "a member that is looked for": ("/x", {"contains": "a"}, {"x": {"A": 1}}, True),
    "a member that is found": ("/x", {"contains": "a"}, {"x": {"a": 1}}, False),
    "a member that is found twice": ("/x", {"contains": "a"}, {"x": {"a": 1, "A": 1}}, True),
    "a member that must not be there": (
        "/x", {"not": {"not": {"contains": "a"}}}, {"x": {"A": 1}}, True),
    "an item that is looked for": ("/x", {"contains": {"a": 1}}, {"x": [0, {"A": 1}]}, True),
    "an item that is a text": ("/x", {"contains": "a"}, {"x": ["A", {"A": 1}]}, False),
    "a text with a text in it": ("/x", {"contains": "a"}, {"x": "A"}, False),
    "inside a value that is only measured": (
        "/x", {"min_length": 1, "type": "object"}, {"x": {"a": 1, "A": 1}}, False),
    "behind a value that is compared, in an array": (
        "/*", {"equals": [{"a": 1}]}, {"x": 1, "y": [{"A": 1}]}, True),
    "no arguments": ("/x", {"exists": False}, None, False),
}  # fmt: skip


@pytest.mark.parametrize(("pointer", "entry", "arguments", "ambiguous"), CASES.values(), ids=CASES)
def test_keys(pointer: str, entry: dict[str, Any], arguments: Any, ambiguous: bool) -> None:
    condition = Condition.of("/arguments" + pointer, WhereEntry.model_validate(entry))
    assert is_ambiguous(condition, {"arguments": arguments}, KeyFolds()) is ambiguous
