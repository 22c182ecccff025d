"""Prefixes of URL paths: what is surely below one, and what a server may take for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.syntax import parse_path_prefix
from mitmgate.policy.url_paths import perhaps_below, prefixes_cover, surely_below

# sentence: the prefix, the path, surely below, perhaps below
BELOW: dict[str, tuple[str, str, bool, bool]] = {
    "the path itself": ("/a", "/a", True, True),
    "with a slash at its end": ("/a", "/a/", True, True),
    "below it": ("/a", "/a/b.tar.gz", True, True),
    "a name that begins alike": ("/a", "/ab", False, False),
    "another": ("/a", "/b", False, False),
    "everything is below the root": ("", "/x", True, True),
    "the root itself": ("", "/", True, True),
    "other letters": ("/a", "/A", False, True),
    "full-width letters": ("/admin", "/%EF%BD%81dmin", False, True),
    "an escaped letter": ("/admin", "/%61dmin", False, True),
    "a letter escaped twice": ("/admin", "/%2561dmin", False, True),
    "an escaped slash": ("/a/b", "/a%2Fb", False, True),
    "an escaped letter below": ("/a", "/a/%62", True, True),
    "an escaped blank": ("/a", "/a/b%20c", True, True),
    "an escaped percent sign": ("/a", "/a/100%25", True, True),
    "a name in another alphabet": ("/a", "/a/%C3%A9", True, True),
    "parameters of a segment": ("/a", "/a;x=1/b", False, True),
    "parameters below": ("/a", "/a/b;x=1", True, True),
    "a dot that some servers cut": ("/a", "/a./b", False, True),
    "a blank that some servers cut": ("/a", "/a%20/b", False, True),
    "dots that lead elsewhere": ("/a", "/a/../b", False, True),
    "dots that lead back": ("/a", "/b/../a", False, True),
    "escaped dots": ("/a", "/a/%2e%2e/b", False, True),
    "dots and an escaped slash": ("/a", "/a/..%2fb", False, True),
    "dots with parameters": ("/a", "/a/..;/b", False, True),
    "an empty segment": ("/a", "/a//b", False, True),
    "a backslash": ("/a", "/a\\b", False, True),
    "an escaped NUL": ("/a", "/a/b%00", False, True),
    "an overlong form of a slash": ("/a", "/a/b%c0%af", False, True),
    "a broken escape": ("/a", "/a/%zz", False, True),
    "an escape of another kind": ("/a", "/a/%u0061", False, True),
    "escaped without end": ("/a", f"/a/%{'25' * 9}61", False, True),
    "no path": ("", "*", False, True),
}


@pytest.mark.parametrize(("prefix", "path", "surely", "perhaps"), BELOW.values(), ids=BELOW)
def test_paths_below_a_prefix(prefix: str, path: str, surely: bool, perhaps: bool) -> None:
    assert surely_below(path, [prefix]) is surely
    assert perhaps_below(path, [prefix]) is perhaps


def test_readings_may_lie_below_different_prefixes() -> None:
    assert surely_below("/a%2Fb", ["/a%2Fb", "/a/b"]) is True
    assert surely_below("/c", []) is False


PREFIXES = {
    "the root": ("/", ""), "a path": ("/a/b", "/a/b"), "a slash at its end": ("/a/", "/a"),
    "a name with a dot": ("/.well-known/x.json", "/.well-known/x.json"),
}  # fmt: skip
REFUSED = {
    "no slash": "a", "nothing": "", "a query": "/a?b", "a fragment": "/a#b", "escapes": "/%61",
    "dots": "/a/../b", "an empty segment": "/a//b", "a wildcard": "/a/*", "a parameter": "/a;b",
    "a blank": "/a b", "a control character": "/a\n", "another alphabet": "/é",
    "a backslash": "/a\\b", "a dot at the end of a part": "/a./b",
}  # fmt: skip


@pytest.mark.parametrize(("text", "prefix"), PREFIXES.values(), ids=PREFIXES)
def test_a_prefix_as_policies_write_it(text: str, prefix: str) -> None:
    assert parse_path_prefix(text) == prefix


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path_prefix(text)


_PIECES = st.sampled_from(
    ["/", "a", "b", "A", ".", "..", ";", "%", "%2f", "%2e", "%61", "%25", "25", "é", " ", "\\",
     "\0", "%c0%af", "\ud800"]
)  # fmt: skip
_PATHS = st.lists(_PIECES, max_size=12).map("".join) | st.text(max_size=20)
_GIVEN = st.lists(st.sampled_from(["", "/a", "/a/b", "/A", "/b"]), max_size=3)


@given(_PATHS, _GIVEN)
def test_what_is_surely_below_is_perhaps_below(path: str, prefixes: list[str]) -> None:
    assert surely_below(path, prefixes) <= perhaps_below(path, prefixes)


@given(_PATHS, _GIVEN, _GIVEN)
def test_prefixes_that_cover_others(path: str, broad: list[str], narrow: list[str]) -> None:
    if prefixes_cover(broad, narrow):
        assert surely_below(path, narrow) <= surely_below(path, broad)
    if prefixes_cover(broad, narrow, cased=False) and narrow:
        assert perhaps_below(path, narrow) <= perhaps_below(path, broad)
