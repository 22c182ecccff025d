"""Every string of a message is walked, and named by a pointer that finds it again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.surfaces import (
    Surface,
    Text,
    escape_token,
    resolve_pointer,
    walk_error,
    walk_json,
    walk_params,
    walk_result,
)

KEYS = st.text(alphabet="ab/~01é ", max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def test_strings_and_keys_come_in_document_order() -> None:
    value = {"a": ["x", 1, {"b/c": "y"}], "d": None}
    assert [(text.pointer, text.text, text.key) for text in walk_json(Surface.RESULTS, value)] == [
        ("/a", "a", True),
        ("/a/0", "x", False),
        ("/a/2/b~1c", "b/c", True),
        ("/a/2/b~1c", "y", False),
        ("/d", "d", True),
    ]


@given(VALUES)
def test_every_pointer_finds_its_string(value: Any) -> None:
    for text in walk_json(Surface.RESULTS, value):
        if text.key:
            assert resolve_pointer(value, text.pointer) is not text
            assert text.pointer.endswith("/" + escape_token(text.text))
        else:
            assert resolve_pointer(value, text.pointer) == text.text


def count_strings(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(count_strings(child) for child in value.values())
    if isinstance(value, list):
        return sum(count_strings(child) for child in value)
    return isinstance(value, str)


@given(VALUES)
def test_no_string_is_left_out(value: Any) -> None:
    assert len(list(walk_json(Surface.RESULTS, value))) == count_strings(value)


def test_depth_does_not_matter() -> None:
    value: Any = "deep"
    for _ in range(5000):
        value = [value]
    (text,) = walk_json(Surface.RESULTS, value)
    assert text.text == "deep"


def values(texts: Any) -> list[Text]:
    return [text for text in texts if not text.key]


def test_params_are_arguments() -> None:
    params = {"name": "t", "arguments": {"q": "x"}, "_meta": {"m": "y"}}
    assert values(walk_params("tools/call", params)) == [
        Text(Surface.ARGUMENTS, "/params/name", "t"),
        Text(Surface.ARGUMENTS, "/params/arguments/q", "x"),
        Text(Surface.ARGUMENTS, "/params/_meta/m", "y"),
    ]
    assert not list(walk_params("tools/list", None))


def test_what_a_server_sends_of_its_own_accord_is_a_result() -> None:
    (text,) = values(
        walk_params("notifications/message", {"data": "x"}, surface=Surface.RESULTS, prefix="/3")
    )
    assert text == Text(Surface.RESULTS, "/3/params/data", "x")


DEFINING = ["initialize", "server/discover", "tools/list", "prompts/list", "resources/list",
            "resources/templates/list", "skills/list"]  # fmt: skip


@pytest.mark.parametrize("method", DEFINING)
def test_results_that_define(method: str) -> None:
    (text,) = values(walk_result(method, {"instructions": "x"}))
    assert text == Text(Surface.DEFINITIONS, "/result/instructions", "x")


@pytest.mark.parametrize("method", ["tools/call", "resources/read", "anything", "tasks/get"])
def test_other_results_are_results(method: str) -> None:
    (text,) = values(walk_result(method, {"content": [{"data": "x"}]}))
    assert text == Text(Surface.RESULTS, "/result/content/0/data", "x")


def test_a_client_s_answer_is_an_argument() -> None:
    (text,) = values(walk_result("sampling/createMessage", "x", surface=Surface.ARGUMENTS))
    assert text == Text(Surface.ARGUMENTS, "/result", "x")


def test_errors_are_results() -> None:
    (text,) = values(walk_error({"code": 1, "message": "x"}))
    assert text == Text(Surface.RESULTS, "/error/message", "x")


def test_request_state_is_left_alone_where_the_protocol_has_it_and_only_there() -> None:
    assert not list(walk_params("tools/call", {"requestState": "s"}))
    assert not list(walk_result("tools/call", {"requestState": "s"}))
    assert values(walk_params("tools/call", {"arguments": {"requestState": "s"}}))
    assert values(walk_params("tools/call", {"requestState": {"x": "s"}}))


DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "~1": 9, " ": 7}
POINTERS: dict[str, tuple[str, Any]] = {
    "the whole": ("", DOCUMENT),
    "a member": ("/foo", ["bar", "baz"]),
    "an element": ("/foo/0", "bar"),
    "the empty key": ("/", 0),
    "a slash": ("/a~1b", 1),
    "a tilde": ("/m~0n", 8),
    "a tilde before a one": ("/~01", 9),
    "a blank": ("/ ", 7),
}


@pytest.mark.parametrize(("pointer", "value"), POINTERS.values(), ids=POINTERS)
def test_resolves(pointer: str, value: Any) -> None:
    assert resolve_pointer(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer",
    ["/x", "/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/\u0661", "/a~1b/x", "/foo/0/0"],
)
def test_nothing_there(pointer: str) -> None:
    with pytest.raises(KeyError):
        resolve_pointer(DOCUMENT, pointer)


@pytest.mark.parametrize("pointer", ["foo", "#/foo", "/m~n", "/~", "/~2"])
def test_no_pointer(pointer: str) -> None:
    with pytest.raises(ValueError, match="pointer"):
        resolve_pointer(DOCUMENT, pointer)


@given(st.text())
def test_an_escaped_token_finds_its_key(key: str) -> None:
    assert resolve_pointer({key: 1}, f"/{escape_token(key)}") == 1
