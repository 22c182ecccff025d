"""Weak signs count near each other, and general rules where no other names the value."""

from __future__ import annotations

import functools

import pytest

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import load_pack
from mitmgate.scan.settle import NEAR
from mitmgate.wire.surfaces import Surface

WEAK = """\
version: 1
pack: weak
kind: injection
rules:
  - {id: injection.a, title: A, severity: low, pattern: alpha, keywords: [alpha], weight: 0.5,
     match: [alpha], clean: [x]}
  - {id: injection.b, title: B, severity: low, pattern: beta, keywords: [beta], weight: 0.5,
     match: [beta], clean: [x]}
  - {id: injection.c, title: C, severity: low, pattern: gamma, keywords: [gamma], weight: 0.3,
     match: [gamma], clean: [x]}
"""
GENERIC = """\
version: 1
pack: generic
kind: secrets
rules:
  - {id: secret.a, title: A, severity: low, pattern: 'key=(?P<secret>[a-z0-9]+)', keywords: [key=],
     generic: true, match: [key=abc], clean: [x]}
  - {id: secret.b, title: B, severity: low, pattern: '(?P<secret>[a-z0-9]+)##', keywords: ['##'],
     generic: true, match: ['abc##'], clean: [x]}
  - {id: secret.c, title: C, severity: low, pattern: 'x9[a-z]+', keywords: [x9], match: [x9a],
     clean: [x]}
"""


@functools.cache
def scanner(pack: str) -> Scanner:
    return Scanner([load_pack(pack, file="p.yaml")], hash_key=b"k")


def found(pack: str, text: str) -> list[str]:
    return [f.rule for f in scanner(pack).scan_text(Surface.RESULTS, "", text)]


FAR = " " * (NEAR + 1)
WEIGHTS = {
    "one sign alone": ("alpha", []),
    "two that weigh 1": ("alpha beta", ["injection.a", "injection.b"]),
    "one sign twice": ("alpha alpha", []),
    "two that weigh less": ("alpha gamma", []),
    "three together": ("alpha gamma beta", ["injection.a", "injection.c", "injection.b"]),
    "two far apart": (f"alpha{FAR}beta", []),
    "two of them near": (
        f"alpha{FAR}beta alpha{FAR}alpha",
        ["injection.b", "injection.a"],
    ),
    "a sign again beside two": ("alpha beta alpha", ["injection.a", "injection.b", "injection.a"]),
}


@pytest.mark.parametrize(("text", "rules"), WEIGHTS.values(), ids=WEIGHTS)
def test_weak_signs(text: str, rules: list[str]) -> None:
    assert found(WEAK, text) == rules


NAMED = {
    "a general rule alone": ("key=abc", ["secret.a"]),
    "a rule that knows the value": ("key=x9abc", ["secret.c"]),
    "a rule that knows another value": ("key=abc x9abc", ["secret.a", "secret.c"]),
    "two general rules on one value": ("key=abc##", ["secret.a"]),
    "two general rules on two": ("key=abc abd##", ["secret.a", "secret.b"]),
}


@pytest.mark.parametrize(("text", "rules"), NAMED.values(), ids=NAMED)
def test_general_rules(text: str, rules: list[str]) -> None:
    assert found(GENERIC, text) == rules
