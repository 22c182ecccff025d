"""Pointers with wildcards to the places that they point at in one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mitmgate.policy.syntax import MISSING, member, parse_pointer
from mitmgate.wire.surfaces import escape_token

MOST_PLACES = 10_000
"""So many places are redacted; a value with more of them is refused by :func:`places`."""


def places(pointers: Iterable[str], value: Any) -> Iterator[str]:
    """Yield the JSON pointer of each place in *value* that one of *pointers* names.

    A token ``*`` names every item or member. ValueError beyond ``MOST_PLACES``. What stands below
    another place is left out: it goes with it.
    """
    found: set[str] = set()
    for pointer in pointers:
        for place in _expanded(parse_pointer(pointer), value):
            found.add(place)
            if len(found) > MOST_PLACES:
                raise ValueError(f"more than {MOST_PLACES} places are to be redacted")
    last = None
    for place in sorted(found, key=lambda one: f"{one}/"):
        if last is None or not place.startswith(f"{last}/"):
            yield place
            last = place


def _expanded(tokens: tuple[str, ...], value: Any) -> Iterator[str]:
    todo: list[tuple[str, Any, int]] = [("", value, 0)]
    while todo:
        place, here, depth = todo.pop()
        if depth == len(tokens):
            yield place
            continue
        for token in _keys(here) if tokens[depth] == "*" else (tokens[depth],):
            child = member(here, token)
            if child is not MISSING:
                todo.append((f"{place}/{escape_token(token)}", child, depth + 1))


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    elif isinstance(value, list):
        yield from map(str, range(len(value)))
