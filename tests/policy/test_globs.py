"""Globs: whole names, case sensitive, and no pattern or name that takes long."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.globs import GlobSet, check_glob

CASES = {
    "a plain name matches itself": ("get_me", "get_me", True),
    "the whole name must match": ("get", "get_me", False),
    "case counts": ("get_*", "GET_me", False),
    "a star may be empty": ("get_*", "get_", True),
    "a star in front": ("*_issue", "create_issue", True),
    "a star on both sides": ("*iss*", "create_issue", True),
    "a star in the middle": ("get_*_issue", "get_one_issue", True),
    "the ends do not overlap": ("aba*aba", "ababa", False),
    "a question mark is one character": ("get_?", "get_a", True),
    "a question mark is not none": ("get_?", "get_", False),
    "a question mark is not two": ("get_?", "get_ab", False),
    "a question mark between stars": ("*a?c*", "xxabcxx", True),
    "a question mark next to a star": ("?*", "", False),
    "a star matches everything": ("*", "", True),
    "pieces keep their order": ("*a*b*", "ba", False),
    "a newline in a name is a character": ("get_*", "get_\nx", True),
    "nothing hides behind a newline": ("get_me", "get_me\n", False),
    "lookalikes differ": ("get_me", "get_m\u0435", False),
}


@pytest.mark.parametrize(("glob", "name", "matched"), CASES.values(), ids=CASES)
def test_matching(glob: str, name: str, matched: bool) -> None:
    assert GlobSet.of([check_glob(glob)]).matches(name) is matched


def test_a_set_matches_if_any_glob_does() -> None:
    globs = GlobSet.of(["a", "b*", "?c"])
    assert [name for name in ("a", "bx", "xc", "x", "") if globs.matches(name)] == ["a", "bx", "xc"]
    assert globs.texts == ("a", "b*", "?c")


REFUSED = {
    "nothing": "",
    "a bracket": "get_[ab]",
    "a brace": "get_{a,b}",
    "a backslash": "get_\\*",
    "two stars": "get_**",
    "a space": "get me",
    "a control character": "get\x00",
    "a very long one": "a" * 257,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="glob"):
        check_glob(text)


@given(st.text("ab*?", min_size=1, max_size=10), st.text("ab", max_size=14))
def test_the_same_as_fnmatch(glob: str, name: str) -> None:
    assert GlobSet.of([glob]).matches(name) is fnmatch.fnmatchcase(name, glob)


def test_a_hostile_name_does_not_take_long() -> None:
    globs = GlobSet.of(["*a" * 100 + "b", "*" + "a?" * 100 + "b*"])
    started = time.process_time()
    assert not globs.matches("a" * 20_000)
    assert time.process_time() - started < 5  # backtracking would take longer than we live
