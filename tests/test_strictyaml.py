"""Strict YAML: what two readers could read differently is refused, with line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from mitmgate.errors import ConfigError
from mitmgate.strictyaml import did_you_mean, load, load_model, read_file

VALUES: dict[str, tuple[str, Any]] = {
    "plain text is text": ("a: hello", {"a": "hello"}),
    "true and false are booleans": ("a: true\nb: false", {"a": True, "b": False}),
    "null, ~ and nothing are null": ("a: null\nb: ~\nc:", {"a": None, "b": None, "c": None}),
    "decimal numbers are numbers": ("- 0\n- -3\n- +4\n- 1.50", [0, -3, 4, 1.5]),
    "addresses and durations are text": (
        "- 127.0.0.1\n- 45s\n- '::1'",
        ["127.0.0.1", "45s", "::1"],
    ),
    "quoted traps are text": ('["yes", "0777", \'1e3\']', ["yes", "0777", "1e3"]),
    "quoted keys may look like anything": ('"1": x\n"": y', {"1": "x", "": "y"}),
    "a start marker is fine": ("---\na: 1\n", {"a": 1}),
    "a byte order mark is dropped": ("\ufeffa: 1", {"a": 1}),
    "block text keeps its lines": ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
}


@pytest.mark.parametrize(("text", "value"), VALUES.values(), ids=VALUES)
def test_values(text: str, value: Any) -> None:
    assert load(text, file="f").value == value


AMBIGUOUS = "means different things to different YAML readers"

# sentence: text, line, key, what the message says
REFUSED: dict[str, tuple[str, int | None, str | None, str]] = {
    "yes is no boolean": ("a: yes", 1, "a", AMBIGUOUS),
    "On is no boolean": ("a: On", 1, "a", AMBIGUOUS),
    "True is no boolean": ("a: True", 1, "a", AMBIGUOUS),
    "a leading zero is octal to some": ("a: 0777", 1, "a", AMBIGUOUS),
    "0o is octal to others": ("a: 0o17", 1, "a", AMBIGUOUS),
    "hexadecimal is refused": ("a: 0x1F", 1, "a", AMBIGUOUS),
    "08 is text to some and eight to others": ("a: 08", 1, "a", AMBIGUOUS),
    "underscores are digits to some": ("a: 1_000", 1, "a", AMBIGUOUS),
    "a time is a number of seconds to some": ("a: 12:30", 1, "a", AMBIGUOUS),
    "an exponent is text to some": ("a: 1e3", 1, "a", AMBIGUOUS),
    "a date is a date to some": ("a: 2026-01-31", 1, "a", AMBIGUOUS),
    "infinity is refused": ("a: .inf", 1, "a", AMBIGUOUS),
    "a number too long to be exact is refused": ("a: 1234567890123456789", 1, "a", AMBIGUOUS),
    "a duplicate key is refused": ("a: 1\nb:\n  c: 1\n  c: 2", 4, "b.c", "first on line 3"),
    "a duplicate in quotes is a duplicate": ("a: 1\n'a': 2", 2, "a", "duplicate key"),
    "an anchor is refused": ("a: &x 1", 1, "a", "anchors"),
    "an alias is refused": ("a: 1\nb: *x", 2, "b", "aliases"),
    "a tag is refused": ("a: !!str 1", 1, "a", "tags"),
    "a python tag is refused": ("a: !!python/object:os.system x", 1, "a", "tags"),
    "a merge key is refused": ("<<: {a: 1}", 1, "<<", "merge key"),
    "a number is no key": ("1: x", 1, "1", "a key must be text"),
    "a boolean is no key": ("true: x", 1, "true", "a key must be text"),
    "nothing is no key": ("? \n: x", 1, "", "a key must be text"),
    "a list is no key": ("? [a]\n: x", 1, None, "a key must be plain text"),
    "a second document is refused": ("a: 1\n---\nb: 2", 3, None, "only one document"),
    "a directive is refused": ("%YAML 1.1\n---\na: 1", 1, None, "directives"),
    "a tab does not indent": ("a:\n\t- b", 2, None, "not valid YAML"),
    "an open bracket is a syntax error": ("a: [1\nb: 2", 2, None, "not valid YAML"),
    "a control character is refused": ("a: 1\nb: x\x00y", 2, None, "YAML does not allow"),
    "a lone surrogate is refused": ("a: 1\nb: \udc80", 2, None, "lone surrogate"),
    "nesting is bounded": ("[" * 5000, 1, None, "nested deeper"),
    "an empty file is refused": ("", None, None, "the file is empty"),
    "comments alone are an empty file": ("# nothing\n", None, None, "the file is empty"),
    "a large file is refused": ("# " + "x" * (8 << 20), None, None, "too large"),
}


@pytest.mark.parametrize(("text", "line", "key", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, line: int | None, key: str | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, file="p.yaml")
    problem = caught.value.problems[0]
    assert message in problem.message
    assert (problem.file, problem.line, problem.key or None) == ("p.yaml", line, key or None)
    assert problem.hint


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        load("a: 1\nb: yes\na: 2\nb: &x 3\n", file="f")
    assert [(one.line, one.key) for one in caught.value.problems] == [
        (2, "b"), (3, "a"), (4, "b"), (4, "b"),
    ]  # fmt: skip


def test_a_flood_of_problems_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        load("\n".join(["a: 1"] * 1001), file="f")
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1].message == "and 900 more problems"


def test_a_tab_is_named_as_the_cause() -> None:
    with pytest.raises(ConfigError, match="spaces, not tabs"):
        load("a:\n\t- b", file="f")


def test_lines_are_where_the_keys_stand() -> None:
    document = load("a:\n  - b: 1\n    c: 2\n  - d\n", file="f")
    assert document.lines["a", 0, "c"] == 3
    assert document.lines["a", 1] == 4
    assert document.line(("a", 0, "missing")) == 2


@given(st.text())
def test_any_text_gives_a_document_or_a_config_error(text: str) -> None:
    try:
        load(text, file="f")
    except ConfigError as error:
        assert error.problems


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                  max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), _JSON, min_size=1, max_size=4))
def test_what_is_accepted_is_what_pyyaml_reads_too(value: dict[str, Any]) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    try:
        document = load(text, file="f")
    except ConfigError:
        return  # stricter is fine; different is not
    assert document.value == yaml.safe_load(text)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    flags: tuple[bool, ...] = ()


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    count: int
    inner: Inner | None = None
    table: dict[str, Inner] = {}


def test_a_model_is_loaded_from_lists_and_mappings() -> None:
    loaded = load_model(Outer, "count: 1\ninner: {name: x, flags: [true]}", file="f")
    assert loaded == Outer(count=1, inner=Inner(name="x", flags=(True,)))


# sentence: text, the problem as shown
MODEL_PROBLEMS = {
    "an unknown key names its likely meaning": (
        "count: 1\ninner: {nam: x, name: y}",
        "f:2: inner.nam: unknown key (did you mean name?)",
    ),
    "an unknown key without likeness lists what is known": (
        "count: 1\ntable:\n  a: {name: y, qqqq: 1}",
        "f:3: table.a.qqqq: unknown key (known keys: name, flags)",
    ),
    "a missing key is named at its parent's line": (
        "count: 1\ninner:\n  flags: []",
        "f:2: inner.name: this key is missing (add it)",
    ),
    "a number is no text": (
        "count: 1\ninner: {name: 3}",
        'f:2: inner.name: must be text (quote it: "3")',
    ),
    "text is no number": ("count: many", "f:1: count: must be a whole number"),
    "true is no number": ("count: true", "f:1: count: must be a whole number"),
    "a list is no mapping": (
        "count: 1\ninner: []",
        "f:2: inner: must be a mapping of keys to values",
    ),
    "a scalar is no file": (
        "hello",
        "f:1: must be a mapping of keys to values (known keys: count, inner, table)",
    ),
}


@pytest.mark.parametrize(("text", "shown"), MODEL_PROBLEMS.values(), ids=MODEL_PROBLEMS)
def test_model_problems(text: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(Outer, text, file="f")
    assert [str(problem) for problem in caught.value.problems] == [shown]


def test_did_you_mean_needs_likeness() -> None:
    assert did_you_mean("servr", ["server", "tool"]) == "server"
    assert did_you_mean("zzz", ["server", "tool"]) is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xe9\n")
    for path, message in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "this is a directory"),
        (latin / "below", "cannot be read"),
        (latin, "latin.yaml:2: not UTF-8 text"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            read_file(path)
        assert caught.value.problems[0].hint
