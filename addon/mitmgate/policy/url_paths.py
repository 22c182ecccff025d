"""Prefixes of URL paths, told apart as servers may read them.

A server may decode ``%61``, cut ``;params`` (RFC 3986 section 3.3) or tell no capitals from small
letters. So a path has several readings. A rule that allows wants all of them below its prefixes;
one that asks or denies wants any.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from mitmgate.policy.syntax import is_plain_path

_HEX = frozenset(string.hexdigits)
_MOST_DECODED = 4


def surely_below(path: str, prefixes: Iterable[str]) -> bool:
    """Say whether every server reads *path* (without its query) as one below *prefixes*.

    A prefix has no slash at its end, ``""`` is the root. Segments are whole: ``/a`` is not
    above ``/ab``.
    """
    readings = _readings(path)
    given = tuple(prefixes)
    return readings is not None and all(_is_below(one, given) for one in readings)


def perhaps_below(path: str, prefixes: Iterable[str]) -> bool:
    """Say whether some server may read *path* as one below *prefixes*; letter case is nothing."""
    readings = _readings(path)
    if readings is None:
        return True
    given = tuple(map(_folded, prefixes))
    return any(_is_below(_folded(one), given) for one in readings)


def prefixes_cover(broad: Iterable[str], narrow: Iterable[str], *, cased: bool = True) -> bool:
    """Say whether each of the prefixes *narrow* lies below one of *broad*."""
    above = tuple(broad) if cased else tuple(map(_folded, broad))
    below = narrow if cased else map(_folded, narrow)
    return all(_is_below(one or "/", above) for one in below)


def _is_below(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold() if not text.isascii() else text.lower()


def _readings(path: str) -> set[str] | None:
    """Return the paths that servers may take *path* for, None where that is without end."""
    if not is_plain_path(path) or not _has_plain_escapes(path):
        return None
    if "%" not in path:
        return {path, _bare(path)} if _is_printable(path) else None
    found = {path, _bare(path)}
    for _ in range(_MOST_DECODED):
        decoded = _decoded(path)
        if decoded is None or not _is_printable(decoded) or not is_plain_path(decoded):
            return None
        if decoded == path:
            return found
        found |= {decoded, _bare(decoded)}
        path = decoded
    return None


def _decoded(path: str) -> str | None:
    try:
        return unquote_to_bytes(path).decode("utf-8")
    except UnicodeError:  # among others the overlong forms of / and . (RFC 3629 section 3)
        return None


def _is_printable(path: str) -> bool:
    return path.isprintable() and not path.startswith("//")


def _bare(path: str) -> str:
    """Return *path* without what servers cut from segments: parameters, dots and blanks at ends."""
    if ";" not in path and "." not in path and " " not in path:
        return path
    return "/".join(segment.partition(";")[0].rstrip(". ") for segment in path.split("/"))


def _has_plain_escapes(path: str) -> bool:
    parts = path.split("%")[1:]
    return all(len(part) >= 2 and _HEX.issuperset(part[:2]) for part in parts)
