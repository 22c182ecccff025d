"""JSON read in exactly one way, or refused: one value, no duplicate keys, bounded depth."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from json.scanner import make_scanner
from typing import Any, NoReturn

from mitmgate.errors import WireError

PARSE_ERROR = -32700

MOST_VALUES = 1_000_000
"""So many values one text may hold: a byte of ``[[],[],...]`` takes a hundred in memory."""

SENSITIVE_KEYS = frozenset(
    {
        "jsonrpc",
        "id",
        "method",
        "params",
        "name",
        "arguments",
        "uri",
        "result",
        "error",
        "_meta",
    }
)
"""Keys whose near-doubles some parser in the field takes for the key itself."""


def parse_json(text: str, *, max_depth: int = 128) -> Any:
    """Return the one JSON value that *text* spells, or raise :class:`WireError`.

    Codes: ``not_json``, ``duplicate_key``, ``too_deep``, ``too_many_values``, ``not_finite``,
    ``lone_surrogate``.
    """
    if len(text) > MOST_VALUES and _has_too_many_values(text):
        raise _refusal("too_many_values", f"JSON of more than {MOST_VALUES} values")
    try:
        value = _decoded(text)
    except RecursionError:
        raise _refusal("too_deep", "JSON is nested too deeply") from None
    except ValueError:
        # json.JSONDecodeError, and int() on more digits than Python converts.
        raise _refusal("not_json", "the text is not one JSON value") from None
    # Cheap bound first: fewer brackets than levels cannot be too deep.
    if text.count("{") + text.count("[") > max_depth and _too_deep(value, max_depth):
        raise _refusal("too_deep", f"JSON is nested deeper than {max_depth} levels")
    if _may_hold_surrogate(text) and _holds_surrogate(value):
        raise _refusal("lone_surrogate", "a JSON string holds half a surrogate pair")
    return value


def _decoded(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return _DECODER.decode(text)
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        raise ValueError("no value") from None
    if end != len(text) and text[end:].strip(_BLANKS):
        raise ValueError("more than a value")
    return value


def encode_json(value: Any) -> str:
    """Return *value* as compact JSON, characters beyond ASCII as they are."""
    return _ENCODER.encode(value)


_LONGEST_KEY = 256


def refuse_ambiguous_keys(keys: Iterable[str]) -> None:
    """Raise ``ambiguous_key`` when one of *keys* is a near-double of a sensitive key.

    A key with a NUL, or a long one beyond ASCII, is no key of any protocol and refused unread.
    """
    for key in keys:
        if key in SENSITIVE_KEYS or (key.isascii() and key.isidentifier() and key.islower()):
            continue  # as it folds
        odd = "\0" in key or (len(key) > _LONGEST_KEY and not key.isascii())
        # Go's encoding/json matches keys without case (CVE-2026-27896), and others drop a NUL
        # or end there: we would judge "name" and the server would run "Name".
        if odd or fold_key(key) in SENSITIVE_KEYS:
            raise WireError("ambiguous_key", "a key differs from a protocol key only in spelling")


def fold_key(key: str) -> str:
    """Return what the sloppiest parser may make of *key*."""
    if key.isascii() and key.isprintable():
        return key.strip().lower()
    # Decomposed, upper before lower: the long s, the Kelvin sign and the Turkish i's all
    # become plain letters in some runtime's case folding.
    folded = unicodedata.normalize("NFKD", key).upper().casefold()
    folded = unicodedata.normalize("NFKD", folded)
    return "".join(c for c in folded if unicodedata.category(c) not in _INVISIBLE).strip()


_INVISIBLE = frozenset({"Cc", "Cf", "Mn", "Me", "Cs", "Cn"})


def _refusal(code: str, message: str) -> WireError:
    return WireError(code, message, rpc_code=PARSE_ERROR)


def _no_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two parsers that disagree on which duplicate wins is a bypass: we would
    # judge one tool name and the server would run the other.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _refusal("duplicate_key", "an object has the same key twice")
    return members


def _no_constant(name: str) -> NoReturn:
    # NaN and Infinity are Python's and JavaScript's own; other parsers read null or fail.
    del name
    raise _refusal("not_finite", "NaN and Infinity are no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _refusal("not_finite", "a number is beyond the range of a double")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicate_keys, parse_constant=_no_constant, parse_float=_finite
)


_SCAN = make_scanner(_DECODER)  # type: ignore[arg-type]  # what JSONDecoder itself calls
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BLANKS = " \t\n\r"
_OPENS = ",[{"


def _has_too_many_values(text: str) -> bool:
    if sum(map(text.count, _OPENS)) <= MOST_VALUES:
        return False
    # Commas inside strings separate nothing: without escapes every second part is a string.
    plain = text.replace("\\\\", "").replace('\\"', "")
    if plain.count('"') > 4 * MOST_VALUES:
        return True
    return sum(part.count(mark) for part in plain.split('"')[::2] for mark in _OPENS) > MOST_VALUES


def _too_deep(value: Any, max_depth: int) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _may_hold_surrogate(text: str) -> bool:
    if "\\ud" in text or "\\uD" in text:
        return True
    return not text.isascii() and _is_broken(text)


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _holds_surrogate(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if not item.isascii() and _is_broken(item):
                return True
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return False
