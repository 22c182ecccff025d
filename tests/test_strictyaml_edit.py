"""Edits of YAML text: one value changes, every other line stays as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.strictyaml import load
from mitmgate.strictyaml.edit import with_value

AGENT = {"tokens": ["sha256:ab"], "groups": ["bots"]}
LINE = 'ci: {tokens: ["sha256:ab"], groups: [bots]}'

# sentence: the text before and after {tokens: [sha256:ab], groups: [bots]} is put at agents.ci
ADDED = {
    "a missing section goes to the end": (
        "version: 1   # v\n\n# the end\n",
        f"version: 1   # v\n\n# the end\n\nagents:\n  {LINE}\n"),
    "a last line without a line break gets one": (
        "version: 1", f"version: 1\n\nagents:\n  {LINE}\n"),
    "blank lines that belong to a text are not multiplied": (
        "a: |+\n  x\n\n", f"a: |+\n  x\n\nagents:\n  {LINE}\n"),
    "an empty section is filled": (
        "agents:   # who\n\n# next\nmcp: {}\n",
        f"agents:   # who\n  {LINE}\n\n# next\nmcp: {{}}\n"),
    "a section of empty brackets is filled": (
        "agents: {}\nmcp: {}\n", f"agents:\n  {LINE}\nmcp: {{}}\n"),
    "a section in brackets stays in brackets": (
        "agents: {a: {tokens: []}}\nmcp: {}\n",
        f"agents: {{a: {{tokens: []}}, {LINE}}}\nmcp: {{}}\n"),
    "a new key stands below its siblings, indented as they are": (
        "agents:\n    # A\n    a: {tokens:   [] }   # a\n    # last\n\n\n# next\nmcp: {}\n",
        "agents:\n    # A\n    a: {tokens:   [] }   # a\n    # last\n"
        f"    {LINE}\n\n\n# next\nmcp: {{}}\n"),
    "a text below is not taken for a comment": (
        "agents:\n  a:\n    x: |\n      # not a comment\n",
        f"agents:\n  a:\n    x: |\n      # not a comment\n  {LINE}\n"),
    "a text that looks like the section is passed over": (
        'x: "\n  agents:\n  "\n', f'x: "\n  agents:\n  "\n\nagents:\n  {LINE}\n'),
    "line breaks of Windows stay": (
        "agents:\r\n  a: {tokens: []}\r\n", f"agents:\r\n  a: {{tokens: []}}\r\n  {LINE}\r\n"),
    "a byte order mark stays": (
        "\ufeffagents:\n  a: {}\n", f"\ufeffagents:\n  a: {{}}\n  {LINE}\n"),
    "a file in brackets stays in brackets": (
        "{version: 1, mcp: {}}   # all\n",
        f"{{version: 1, mcp: {{}}, agents: {{{LINE}}}}}   # all\n"),
    "a start marker stays": ("---\na: 1\n", f"---\na: 1\n\nagents:\n  {LINE}\n"),
    "an end marker is no obstacle": ("a: 1   # x\n...\n", f"a: 1   # x\nagents:\n  {LINE}\n"),
    "an indented file stays indented": (
        "  a: 1\n  agents:\n    b: {}\n  c: 2\n",
        f"  a: 1\n  agents:\n    b: {{}}\n    {LINE}\n  c: 2\n"),
    "what is there already changes nothing": (
        "agents:\n  ci:\n    groups: [ bots ]\n    tokens: ['sha256:ab']",
        "agents:\n  ci:\n    groups: [ bots ]\n    tokens: ['sha256:ab']"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), ADDED.values(), ids=ADDED)
def test_a_key_is_added(before: str, after: str) -> None:
    assert with_value(before, ("agents", "ci"), AGENT, file="f") == after


BLOCK = """\
agents:
    ci:
        # rotated in May
        tokens:
            - 'one'   # the first
            # the second machine
            - two
        groups: [ bots ]   # g
    # another
    b: {tokens:   []}
"""
FLOW = 'agents:\n  ci: {tokens: [one, "two"], groups: [ g ]}   # c\n  b: {tokens:   []}\n'
FLAT = "agents:\n  ci:\n    tokens:\n    - one\n    - two\n\n  b: {}\n"
BRACKETS = "agents:\n  ci:\n    tokens: [one,   # 1\n             two]   # 2\n"

# sentence: text, the new tokens, the lines that go, the lines that come
LISTS: dict[str, tuple[str, list[str], list[str], list[str]]] = {
    "the first line goes, with its own comment": (
        BLOCK, ["two"], ["            - 'one'   # the first"], []),
    "the last line goes": (BLOCK, ["one"], ["            - two"], []),
    "an item is added below the last": (
        BLOCK, ["one", "two", "sha256:3"], [], ['            - "sha256:3"']),
    "an emptied list is written as empty": (
        FLAT, [], ["    tokens:", "    - one", "    - two"], ["    tokens: []"]),
    "a flat list stays flat": (FLAT, ["one", "two", "three"], [], ["    - three"]),
    "a list in brackets loses an item": (
        FLOW, ["two"],
        ['  ci: {tokens: [one, "two"], groups: [ g ]}   # c'],
        ['  ci: {tokens: ["two"], groups: [g]}   # c']),
    "a list in brackets gets an item": (
        FLOW, ["one", "two", "on"],
        ['  ci: {tokens: [one, "two"], groups: [ g ]}   # c'],
        ['  ci: {tokens: [one, "two", "on"], groups: [g]}   # c']),
    "another order is written anew": (
        FLAT, ["two", "one"],
        ["    tokens:", "    - one", "    - two"], ["    tokens: [two, one]"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "tokens", "less", "more"), LISTS.values(), ids=LISTS)
def test_a_list_is_changed(text: str, tokens: list[str], less: list[str], more: list[str]) -> None:
    after = with_value(text, ("agents", "ci", "tokens"), tokens, file="f")
    old, new = text.splitlines(), after.splitlines()
    assert [line for line in old if line not in new] == less
    assert [line for line in new if line not in old] == more
    assert load(after, file="f").value["agents"]["ci"]["tokens"] == tokens


def test_a_mapping_is_changed_where_it_differs() -> None:
    after = with_value(BLOCK, ("agents", "ci"), {"tokens": ["two"], "note": "new one"}, file="f")
    assert load(after, file="f").value["agents"]["ci"] == {"tokens": ["two"], "note": "new one"}
    assert "# rotated in May" in after
    assert after.endswith("    # another\n    b: {tokens:   []}\n")


REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a text on the way": ("agents: all\n", ("agents", "ci"), "f:1: agents: must be a mapping"),
    "a list on the way": ("a: {b: [1]}\n", ("a", "b", "c"), "f:1: a.b: must be a mapping"),
    "a list as the file": ("- 1\n", ("a",), "f:1: must be a mapping"),
    "what is no strict YAML": ("a: yes\n", ("b",), "f:1: a: 'yes' means different things"),
    "comments in brackets that would be lost": (
        BRACKETS, ("agents", "ci", "tokens"),
        "f:3: agents.ci.tokens: cannot be changed here without harm to other lines or comments "
        "(change it by hand, or write this part with one key a line)"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_edited_is_refused(text: str, path: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_value(text, path, ["two"], file="f")
    assert str(caught.value.problems[0]).startswith(message)


QUOTED = [
    *("", "on", "No", "1", "1e3", "0777", "null", "~", "a b", "a: b", "# a", "- a", "---", "..."),
    *("é", "\u2028", "\x85", "\n", '"', "'", "\\", "\x00", "\U0001f600", "<<", "=", "*a"),
]


@pytest.mark.parametrize("text", QUOTED)
def test_any_text_may_be_a_key_and_a_value(text: str) -> None:
    after = with_value("a: 1\n", ("b", text), [text], file="f")
    assert load(after, file="f").value == {"a": 1, "b": {text: [text]}}


_WORDS = st.text(max_size=6) | st.sampled_from(["a", "b", "tokens", "groups", "agents", "# a"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=10,
)
_FILES = st.builds(
    lambda value, flow, indent: yaml.safe_dump(
        value, allow_unicode=True, default_flow_style=flow, indent=indent, sort_keys=False
    ),
    st.dictionaries(_WORDS, _JSON, min_size=1, max_size=4),
    st.sampled_from([True, False, None]),
    st.integers(2, 4),
)


@given(_FILES, st.lists(_WORDS, min_size=1, max_size=3), _JSON)
def test_the_new_value_stands_there_and_nothing_else_changed(
    text: str, path: list[str], value: Any
) -> None:
    try:
        after = with_value(text, tuple(path), value, file="f")
    except ConfigError:
        return
    expected = load(text, file="f").value
    at = expected
    for key in path[:-1]:
        at[key] = at = at.get(key) or {}
    at[path[-1]] = value
    assert json.dumps(load(after, file="f").value, sort_keys=True) == json.dumps(
        expected, sort_keys=True
    )


@given(_FILES, st.lists(_WORDS, min_size=1, max_size=3))
def test_no_comment_is_lost_by_an_addition(text: str, path: list[str]) -> None:
    lines = text.splitlines()
    remarked = "".join(f"{line}  # no. {number}.\n" for number, line in enumerate(lines))
    try:
        same = load(remarked, file="f").value == load(text, file="f").value
        after = with_value(remarked, (*path, "new"), AGENT, file="f")
    except ConfigError:
        return
    lost = [number for number in range(len(lines)) if f"# no. {number}." not in after]
    assert not same or lost == []


@given(st.text(), st.lists(st.text(max_size=3), min_size=1, max_size=2))
def test_any_text_gives_a_text_or_a_config_error(text: str, path: list[str]) -> None:
    try:
        with_value(text, tuple(path), ["x"], file="f")
    except ConfigError as error:
        assert error.problems


def test_a_large_file_is_edited_in_place() -> None:
    rules = "".join(
        f"    - {{id: r{number}, then: ask}}   # {number}\n" for number in range(10_000)
    )
    text = f"mcp:\n  rules:\n{rules}agents:\n  a: {{}}\n"
    assert with_value(text, ("agents", "ci"), AGENT, file="f") == f"{text}  {LINE}\n"
