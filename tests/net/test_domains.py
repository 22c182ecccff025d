"""Domain patterns: exact or ``*.x``, and nothing that is wider than it looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.net.domains import DomainSet, parse_domain_pattern

MATCHES = {
    "an exact host matches itself": ("docs.python.org", "docs.python.org", True),
    "an exact host does not match below it": ("python.org", "docs.python.org", False),
    "a wildcard matches one label": ("*.readthedocs.io", "x.readthedocs.io", True),
    "a wildcard matches several labels": ("*.readthedocs.io", "a.b.readthedocs.io", True),
    "a wildcard does not match its apex": ("*.readthedocs.io", "readthedocs.io", False),
    "a wildcard needs the dot": ("*.example.com", "evilexample.com", False),
    "a wildcard does not match above": ("*.a.example.com", "example.com", False),
    "patterns are normalised": ("*.BÜCHER.example.", "x.xn--bcher-kva.example", True),
    "an address matches itself": ("127.0.0.1", "127.0.0.1", True),
    "an IPv6 address matches in any spelling": ("[2001:db8:0::1]", "2001:db8::1", True),
}


@pytest.mark.parametrize(("pattern", "host", "matched"), MATCHES.values(), ids=MATCHES)
def test_matching(pattern: str, host: str, matched: bool) -> None:
    parsed = parse_domain_pattern(pattern)
    assert parsed.matches(host) is matched
    assert DomainSet.of([parsed]).matches(host) is matched


REFUSED = {
    "a bare star": ("*", "every host"),
    "two stars": ("**", "every host"),
    "a star in the middle": ("a.*.example.com", "first label"),
    "a star inside a label": ("a*.example.com", "first label"),
    "two wildcards": ("*.*.example.com", "first label"),
    "a URL": ("https://example.com", "without scheme"),
    "a path": ("example.com/x", "without scheme"),
    "a port": ("example.com:443", "no port"),
    "a wildcard address": ("*.0.0.1", "usable"),
    "a wildcard IPv6 address": ("*.[::1]", "wildcard"),
    "nothing": ("", "empty"),
    "a space": ("example .com", "spaces"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_domain_pattern(text)


@given(st.text())
def test_a_pattern_or_a_value_error(text: str) -> None:
    try:
        pattern = parse_domain_pattern(text)
    except ValueError:
        return
    assert parse_domain_pattern(str(pattern)) == pattern
