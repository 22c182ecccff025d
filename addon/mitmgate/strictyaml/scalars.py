"""Plain scalars: only what YAML 1.1 and YAML 1.2 read alike has a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml  # noqa: TID251 - its resolver tells what readers of YAML 1.1 make of a scalar

CONSTANTS: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}
_YAML_1_1: Any = yaml.resolver.Resolver()
_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BOOL_LIKE = frozenset({"yes", "no", "on", "off", "true", "false"})
_MAX_DIGITS = 18  # stays exact in every JSON reader's integers and far below int()'s own limit


def plain_value(text: str) -> str | int | float:
    """Return what every YAML reader takes the plain scalar *text* for, or raise ValueError."""
    number = _decimal(text)
    old = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))
    if number is not None and old in _NUMBERS:
        return number
    if number is None and old == _TEXT and not _number_of_yaml_1_2(text):
        return text
    if text == "<<":
        raise ValueError("is a merge key, which is not allowed")
    # yes, 0777, 0x1F, 1_000, 12:30, 1e3, 2026-01-01: YAML 1.1 and 1.2 disagree about each.
    raise ValueError("means different things to different YAML readers")


def _decimal(text: str) -> int | float | None:
    """Return the number that *text* spells in plain decimals, else None."""
    body = text[1:] if text[:1] in ("+", "-") else text
    whole, dot, fraction = body.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (whole[0] == "0" and whole != "0"):
        return None
    if len(body) > _MAX_DIGITS:
        return None
    if not dot:
        return int(text)
    return float(text) if fraction.isascii() and fraction.isdigit() else None


def _number_of_yaml_1_2(text: str) -> bool:
    """Say whether YAML 1.2 takes *text*, which is no plain decimal, for a number."""
    if text[:2] in ("0o", "0x"):
        return True
    if text.strip("+-.0123456789eE") or not text.strip("+-.eE"):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def quote_hint(text: str) -> str:
    """Return how to write *text* so that every reader agrees."""
    quoted = json.dumps(clip(text), ensure_ascii=False)
    if text.lower() in _BOOL_LIKE:
        return f"write true or false, or quote it: {quoted}"
    return "write the keys out" if text == "<<" else f"quote it: {quoted}"


def is_unicode(text: str) -> bool:
    """Say whether *text* can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def clip(text: str) -> str:
    """Return *text*, cut to what fits into a message."""
    return text if len(text) <= 40 else text[:37] + "..."
