"""Items that come into a list of a user's file and go out of it, and everything else that stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.strictyaml import load
from mitmgate.strictyaml.listing import item_text, with_item, without_item

HEAD = "# mine\nversion: 1\nrules:\n"
ADDED = {
    "a key without a value": (HEAD, f"{HEAD}  - {{id: a}}\n"),
    "an empty list": ("rules: []\n# end\n", "rules:\n  - {id: a}\n# end\n"),
    "no key": ("version: 1\n", "version: 1\nrules:\n  - {id: a}\n"),
    "no line break at the end": ("rules:", "rules:\n  - {id: a}\n"),
    "lines of Windows": ("version: 1\r\nrules:\r\n", "version: 1\r\nrules:\r\n  - {id: a}\r\n"),
    "items and comments": (
        f"{HEAD}  # first\n  - {{id: x}}  # why\n# end\n",
        f"{HEAD}  # first\n  - {{id: x}}  # why\n  - {{id: a}}\n# end\n",
    ),
    "items in block style": (
        f"{HEAD}  - id: x\n    then: deny\n", f"{HEAD}  - id: x\n    then: deny\n  - {{id: a}}\n",
    ),
}  # fmt: skip
GONE = {
    "the only one": (f"{HEAD}  - {{id: a}}\n", 0, HEAD),
    "the first": (
        f"{HEAD}  - {{id: a}}\n  # b\n  - {{id: b}}\n", 0, f"{HEAD}  # b\n  - {{id: b}}\n"),
    "the last": (f"{HEAD}  # a\n  - {{id: a}}\n  - {{id: b}}\n# end\n", 1,
                 f"{HEAD}  # a\n  - {{id: a}}\n# end\n"),
    "over several lines": (f"{HEAD}  - id: a\n    # its own\n    then: deny\n  - {{id: b}}\n", 0,
                           f"{HEAD}  - {{id: b}}\n"),
    "one of two that are equal": (
        f"{HEAD}  - {{id: a}}\n  - {{id: a}}\n", 1, f"{HEAD}  - {{id: a}}\n"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ADDED.values(), ids=ADDED)
def test_an_item_comes(text: str, expected: str) -> None:
    assert with_item(text, "rules", {"id": "a"}, file="f") == expected


@pytest.mark.parametrize(("text", "number", "expected"), GONE.values(), ids=GONE)
def test_an_item_goes(text: str, number: int, expected: str) -> None:
    assert without_item(text, "rules", number, file="f") == expected


def test_a_list_in_one_line_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="without harm"):
        without_item("rules: [{id: a}, {id: b}]\n", "rules", 0, file="f")


def test_what_is_not_there_does_not_go() -> None:
    with pytest.raises(IndexError):
        without_item(HEAD, "rules", 0, file="f")


WORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30)


@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "tool", "x"]), WORDS, min_size=1), max_size=4)
)
def test_whatever_comes_is_read_back_and_goes_again(items: list[dict[str, Any]]) -> None:
    texts = [HEAD]
    for item in items:
        texts.append(with_item(texts[-1], "rules", item, file="f"))
    assert (load(texts[-1], file="f").value["rules"] or []) == items
    for before, _ in zip(reversed(texts[:-1]), items, strict=True):
        number = len(load(texts[-1], file="f").value["rules"]) - 1
        texts.append(without_item(texts[-1], "rules", number, file="f"))
        assert texts[-1] == before
    assert all("\n" not in item_text(item) for item in items)
