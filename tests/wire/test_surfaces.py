"""Every string of a message is walked, and named by a pointer that finds it again."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.surfaces import (
    FAR,
    MAX_DERIVED,
    Surface,
    Text,
    definition_media,
    escape_token,
    input_requests,
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
            "resources/templates/list", "skills/list", "skills/get", "events/list"]  # fmt: skip


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


def test_the_request_state_of_a_result_is_left_alone_and_no_other() -> None:
    assert not list(walk_result("tools/call", {"requestState": "s"}))
    assert values(walk_result("", {"requestState": "s"}, surface=Surface.ARGUMENTS))
    assert values(walk_params("tools/call", {"requestState": "s"}))
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


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


SVG = b"<svg><text>caf\xc3\xa9</text></svg>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HIDDEN: dict[str, tuple[dict[str, Any], str | None]] = {
    "a blob of text": ({"uri": "u", "blob": packed(b"hi"), "mimeType": "text/plain"}, "hi"),
    "a blob without a type": ({"uri": "u", "blob": packed(b"hi")}, "hi"),
    "a blob of text under a false type": (
        {"blob": packed(b"hi"), "mimeType": "application/octet-stream"}, "hi"),
    "a picture that is text": (
        {"type": "image", "data": packed(SVG), "mimeType": "image/svg+xml"}, SVG.decode()),
    "a picture of a false type that is text": (
        {"type": "image", "data": packed(SVG), "mimeType": "image/png"}, SVG.decode()),
    "a block without a type of media": ({"type": "audio", "data": packed(b"hi")}, "hi"),
    "a picture": ({"type": "image", "data": packed(PNG), "mimeType": "image/png"}, None),
    "text with a byte that is none": (
        {"blob": packed(b"hi\xff"), "mimeType": "application/json"}, "hi\ufffd"),
    "text in latin-1": (
        {"blob": packed(b"caf\xe9"), "mimeType": "text/html; charset=iso-8859-1"}, "café"),
    "text in UTF-16 with a mark": (
        {"blob": packed("hé".encode("utf-16")), "mimeType": "text/plain"}, "hé"),
    "text in UTF-16 without one": (
        {"blob": packed("hi".encode("utf-16-le")), "mimeType": "image/png"}, "hi"),
    "broken text in UTF-16 without one": (
        {"blob": packed("hi".encode("utf-16-le") + b"\xff\xff"), "mimeType": "text/plain"},
        "hi\ufffd\ufffd"),
    "NULs alone": ({"blob": packed(b"\0\0")}, None),
    "base64 over several lines": ({"blob": "aGVs\r\nbG8="}, "hello"),
    "base64 without its padding": ({"blob": "aGVsbG8"}, "hello"),
    "base64 in the URL alphabet": ({"blob": "Pz8_Pj4-"}, "???>>>"),
    "base64 with characters that decoders skip": ({"blob": "aGV!s*bG8="}, "hello"),
    "base64 after base64": ({"blob": "aGk=aGk="}, "hihi"),
    "what is no base64": ({"blob": "é!?"}, None),
    "half a byte": ({"blob": "a"}, None),
    "nothing": ({"blob": ""}, None),
    "data of a message that is no content": ({"level": "info", "data": "aGVsbG8="}, None),
    "another member": ({"type": "image", "text": "aGVsbG8="}, None),
    "a number": ({"blob": 1}, None),
}  # fmt: skip


@pytest.mark.parametrize(("member", "text"), HIDDEN.values(), ids=HIDDEN)
def test_text_inside_base64(member: dict[str, Any], text: str | None) -> None:
    name = "blob" if "blob" in member else "data"
    place = f"/deep/0/{name}"
    expected = [] if text is None else [Text(Surface.RESULTS, place, text, derived=True)]
    for root, texts in {
        "/result": walk_result("resources/read", {"deep": [member]}),
        "/params": walk_params("x", {"deep": [member]}, surface=Surface.RESULTS),
        "/error": walk_error({"deep": [member]}),
    }.items():
        found = list(texts)
        derived = [one for one in found if one.derived]
        assert derived == [one._replace(pointer=root + one.pointer) for one in expected]
        # What is derived comes on top: the string itself is there as well.
        strings = {value for value in member.values() if isinstance(value, str)}
        assert {one.text for one in found if not one.key and not one.derived} == strings


def test_other_json_is_left_as_it_is() -> None:
    assert not [text for text in walk_json(Surface.RESULTS, {"blob": "aGVsbG8="}) if text.derived]


def test_what_is_read_out_of_base64_is_bounded() -> None:
    (text,) = (
        text
        for text in walk_result("x", {"blob": packed("é".encode() * MAX_DERIVED)})
        if text.derived
    )
    assert text.text == "é" * (MAX_DERIVED // 2)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    st.sampled_from([None, "text/plain", "image/png"]),
)
def test_any_text_in_base64_is_found(text: str, media: str | None) -> None:
    member = {"type": "image", "data": packed(text.encode()), "mimeType": media}
    (found,) = (one for one in walk_result("tools/call", {"c": [member]}) if one.derived)
    assert found.text == text


@given(st.text(), st.sampled_from([None, "text/plain;charset=utf-16", "x"]))
def test_any_string_may_stand_where_base64_is_due(text: str, media: str | None) -> None:
    assert list(walk_result("x", {"blob": text, "mimeType": media}))


@pytest.mark.timeout(20)
def test_long_keys_over_many_strings_take_linear_memory() -> None:
    value = {"k" * 1_000_000: ["x"] * 50_000, "after": "y"}
    texts = list(walk_json(Surface.RESULTS, value, "/params"))
    assert len(texts) == 50_003
    assert {text.pointer for text in texts if text.text == "x"} == {"/params" + FAR}
    assert texts[-1] == Text(Surface.RESULTS, "/params/after", "y")


def test_far_places_point_at_nothing() -> None:
    with pytest.raises(ValueError, match="pointer"):
        resolve_pointer({"~far": 1}, FAR)


def test_ordinary_depth_is_not_far() -> None:
    value: Any = ["x"] * 100
    for level in range(100):
        value = {f"a key of ordinary length {level}": value}
    assert not [text for text in walk_json(Surface.RESULTS, value) if FAR in text.pointer]


def test_server_cards_and_catalogues_define() -> None:
    assert definition_media("application/mcp-server-card+json")
    assert definition_media("Application/AI-Catalog+JSON; charset=utf-8")
    assert not definition_media("application/json")


FORM = {"message": "m"}
ASKED: dict[str, tuple[Any, list[tuple[str, str, Any]]]] = {
    "a result that asks": (
        {"inputRequests": {"a/b": {"method": "elicitation/create", "params": FORM},
                           "c": {"method": "roots/list"}}},
        [("/inputRequests/a~1b", "elicitation/create", FORM),
         ("/inputRequests/c", "roots/list", None)]),
    "a task that asks": (
        {"status": "input_required", "inputRequests": {"a": {"method": "x", "params": [1]}}},
        [("/inputRequests/a", "x", None)]),
    "a task's result that asks": (
        {"result": {"inputRequests": {"a": {"method": "x", "params": FORM}}}},
        [("/result/inputRequests/a", "x", FORM)]),
    "an error that sends to a page": (
        {"code": -32042, "data": {"elicitations": [{"url": "u"}, 1, {"url": "v"}]}},
        [("/data/elicitations/0", "elicitation/create", {"url": "u"}),
         ("/data/elicitations/2", "elicitation/create", {"url": "v"})]),
    "the data of such an error": (
        {"elicitations": [{"url": "u"}]},
        [("/elicitations/0", "elicitation/create", {"url": "u"})]),
    "a task that failed so": (
        {"error": {"code": -32042, "data": {"elicitations": [{"url": "u"}]}}},
        [("/error/data/elicitations/0", "elicitation/create", {"url": "u"})]),
    "an ordinary result": ({"content": [{"type": "text", "text": "inputRequests"}]}, []),
    "asks in what a tool returns as data": (
        {"structuredContent": {"inputRequests": {"a": {"method": "x"}}}}, []),
    "data that is no error's": ({"data": {"elicitations": [{"url": "u"}]}}, []),
    "asks that are none": ({"inputRequests": {"a": 1, "b": {"method": 2}}}, []),
    "no object": ([1], []),
    "nothing": (None, []),
}  # fmt: skip


@pytest.mark.parametrize(("value", "asks"), ASKED.values(), ids=ASKED)
def test_asks_of_a_server(value: Any, asks: list[tuple[str, str, Any]]) -> None:
    assert list(input_requests(value)) == asks
    for pointer, _, _ in asks:
        assert isinstance(resolve_pointer(value, pointer), dict)
