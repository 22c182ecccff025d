"""Strangers' text: one line, nothing a terminal obeys, nothing an eye misses."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mitmgate_tui.text import clean, fit, middle

CLEAN = {
    "plain text stays": ("create_payment", "create_payment"),
    "letters of other scripts stay": ("支払い é ñ", "支払い é ñ"),
    "an escape becomes its picture": ("\x1b[2Jx", "␛[2Jx"),
    "line breaks do not break the line": ("a\r\nb", "a␍␊b"),
    "a C1 control gets a number": ("\x9b31m", "‹U+009B›31m"),
    "DEL becomes its picture": ("a\x7f", "a␡"),
    "bidi controls get a number": ("\u202eevil\u2066", "‹U+202E›evil‹U+2066›"),
    "invisible characters get a number": ("pay\u200bpal\u3164", "pay‹U+200B›pal‹U+3164›"),
    "tag characters get a number": ("x\U000e0041", "x‹U+E0041›"),
    "line separators get a number": ("a\u2028b", "a‹U+2028›b"),
    "odd spaces are spaces": ("a\u00a0b\u3000c", "a b c"),
    "a tower of marks is cut": ("a" + "\u0301" * 9, "a\u0301\u0301"),
    "half a surrogate pair gets a number": ("\ud800", "‹U+D800›"),
    "variation selectors go": ("⚠\ufe0f", "⚠"),
}


@pytest.mark.parametrize(("text", "expected"), CLEAN.values(), ids=list(CLEAN))
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters()))
def test_clean_text_has_nothing_to_obey(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    assert clean(shown) == shown


MIDDLE = {
    "what fits stays": ("abcdef", 6, "abcdef"),
    "the end stays visible": ("get_pull_request_files", 11, "get_p…files"),
    "one cell is an ellipsis": ("abc", 1, "…"),
    "no room is nothing": ("abc", 0, ""),
    "wide characters count twice": ("支払い支払い", 7, "支…い"),
}


@pytest.mark.parametrize(("text", "width", "expected"), MIDDLE.values(), ids=list(MIDDLE))
def test_middle(text: str, width: int, expected: str) -> None:
    assert middle(text, width) == expected


@given(st.text(st.characters()), st.integers(0, 40))
def test_fitted_text_has_exactly_the_width(text: str, width: int) -> None:
    assert cell_len(fit(clean(text), width)) == width
