"""The filter: what each word matches, and that every text is one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tui.conftest import make_row

from mitmgate.control.models import Completed, FindingView
from mitmgate.control.words import MAX_TEXT, like
from mitmgate_tui.entry import Entry
from mitmgate_tui.filters import parse

SECRET = FindingView(
    detector="secrets", rule="aws-key", severity="high", surface="arguments", pointer="/a"
)


def entries() -> list[Entry]:
    rows = [
        Entry(make_row("create_issue", server="github", agent="claude@lap")),
        Entry(make_row("search", server="jira", agent="ci", verdict="deny", rule="no-search")),
        Entry(make_row("fetch", server="notion", edits=1, findings=(SECRET,))),
        Entry(make_row("pay", server="stripe", verdict="ask", agent="ci")),
        Entry(make_row("web", server=None, tool=None, channel="egress", method="GET",
                       host="docs.python.org", endpoint="https://docs.python.org/3/")),
        Entry(make_row("dry", server="github", verdict="deny", enforced=False)),
    ]  # fmt: skip
    for entry, status in zip(rows, (200, None, 404, None, 301), strict=False):
        if status is not None:
            entry.done = Completed(
                exchange="x", status=status, request_bytes=1, response_bytes=1, latency=0.1,
                fate="answered",
            )  # fmt: skip
    return rows


ALL = {"create_issue", "search", "fetch", "pay", "web", "dry"}
MATCHES = {
    "nothing typed shows all": ("", ALL),
    "plain text is looked for in the names": ("python", {"web"}),
    "words side by side must all match": ("github v:shadow", {"dry"}),
    "an ampersand says the same": ("github & v:shadow", {"dry"}),
    "the host": ("~d docs.*", {"web"}),
    "the method": ("~m get", {"web"}),
    "the URL": ("~u /3/", {"web"}),
    "the status": ("~c 404", {"fetch"}),
    "a class of status": ("~c 2xx", {"create_issue"}),
    "the channel": ("~t egress", {"web"}),
    "the server": ("server:github", {"create_issue", "dry"}),
    "the tool by a glob": ("tool:create_*", {"create_issue"}),
    "a glob wants the whole name": ("tool:create*x", set()),
    "the agent": ("agent:ci", {"search", "pay"}),
    "the rule": ("rule:no-", {"search"}),
    "what was denied": ("v:deny", {"search"}),
    "what was not plainly allowed": ("v:!allow", {"search", "fetch", "pay", "dry"}),
    "what was redacted": ("v:edit", {"fetch"}),
    "what is held": ("v:held", {"pay"}),
    "the beginning of a verdict": ("v:sha", {"dry"}),
    "a finding": ("f:aws", {"fetch"}),
    "a severity or worse": ("s:medium", {"fetch"}),
    "a severity that nothing reaches": ("s:critical", set()),
    "not": ("!agent:ci", {"create_issue", "fetch", "web", "dry"}),
    "or": ("agent:ci | tool:create_issue", {"search", "pay", "create_issue"}),
    "parentheses": ("(agent:ci | server:github) v:deny", {"search"}),
    "not of a group": ("!(agent:ci | server:github)", {"fetch", "web"}),
    "quotes hold blanks together": ("'reads are'", ALL),
    "quotes after a word": ('rule:"no-search"', {"search"}),
    "case does not matter": ("SERVER:GitHub TOOL:Create*", {"create_issue"}),
    "a colon that is no word of ours is text": ("https://docs", {"web"}),
}


@pytest.mark.parametrize(("text", "expected"), MATCHES.values(), ids=list(MATCHES))
def test_a_filter_shows(text: str, expected: set[str]) -> None:
    keep = parse(text).keep
    shown = {entry.id.removesuffix(".0") for entry in entries() if keep is None or keep(entry)}
    assert shown == expected
    assert parse(text).note is None


HALF_TYPED = {
    "a word of mitmproxy without a value": ("~d", "~d wants a value"),
    "a word that nobody knows": ("~z x", "~z is no word"),
    "a name without a value": ("server:", "server: wants a value"),
    "a negated name without a value": ("v:!", "v: wants a value"),
    "a verdict that nobody knows": ("v:maybe", "v: does not know maybe"),
    "a status that is none": ("~c abc", "~c does not know abc"),
    "not of nothing": ("!", "! wants a word"),
    "not of a half typed word": ("!tool:", "tool: wants a value"),
    "or nothing": ("pay |", "| wants a word on both sides"),
}


@pytest.mark.parametrize(("text", "note"), HALF_TYPED.values(), ids=list(HALF_TYPED))
def test_a_half_typed_word_matches_all_and_says_so(text: str, note: str) -> None:
    found = parse(text)
    assert found.note is not None
    assert note in found.note
    if found.keep is not None:  # "~z x": the text beside it still counts
        assert text == "~z x"
    else:
        assert found.keep is None


def test_a_half_typed_word_does_not_switch_off_the_others() -> None:
    keep = parse("server:github tool:").keep
    assert keep is not None
    assert [entry.id for entry in entries() if keep(entry)] == ["create_issue.0", "dry.0"]


def test_a_parenthesis_that_is_still_open_is_told() -> None:
    found = parse("(agent:ci | tool:fetch")
    assert found.note == ") is missing"
    assert found.keep is not None
    assert [entry.id for entry in entries() if found.keep(entry)] == [
        "search.0", "fetch.0", "pay.0",
    ]  # fmt: skip


@given(st.text("~dmuctv:!|&()'\" *abgit", max_size=60) | st.text(max_size=80))
def test_every_text_is_a_filter(text: str) -> None:
    keep = parse(text).keep
    for entry in entries():
        assert keep is None or isinstance(keep(entry), bool)


@pytest.mark.parametrize("text", ["(" * MAX_TEXT, "!" * MAX_TEXT, "a" * (MAX_TEXT + 1)])
def test_depth_and_length_are_bounded(text: str) -> None:
    found = parse(text)
    assert found.note
    assert found.keep is None or found.keep(entries()[0]) in (True, False)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_glob_is_what_the_standard_library_says(pattern: str, text: str) -> None:
    from fnmatch import fnmatchcase

    expected = fnmatchcase(text, pattern) if "*" in pattern else pattern in text
    assert like(pattern)(text) == expected


def test_many_stars_are_no_trap() -> None:
    begun = time.process_time()
    assert not like("*a" * 200 + "*b")("a" * 10_000)
    assert time.process_time() - begun < 1
