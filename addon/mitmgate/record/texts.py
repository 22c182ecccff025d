"""What a text is looked at as: its strings, and where in it something is secret by its name."""

from __future__ import annotations

from collections.abc import Iterable

from mitmgate.errors import WireError
from mitmgate.record.digits import numbers_in
from mitmgate.record.places import is_secret_pointer
from mitmgate.record.sensitive import Span, is_sensitive, secret_values
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import PROTOCOL_KEYS, Surface, Text, walk_json

_PROTOCOL = tuple(f'"{name}"' for name in sorted(PROTOCOL_KEYS) if is_sensitive(name))


def strings_of(text: str) -> list[Text]:
    """Return the strings of a body's *text* where it is JSON, names and values; else all of it."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return walk_json(Surface.ARGUMENTS, parse_json(text))
        except WireError:
            pass
    return [Text(Surface.ARGUMENTS, "", text)]


def names_secret(text: str, keys: Iterable[Text]) -> bool:
    """Tell whether a member of the JSON *text* may be secret by its name.

    *keys* are its names, without those that the specification gives and nobody chooses.
    """
    if any(is_sensitive(key.text) for key in keys):
        return True
    return "\\u" in text or any(name in text for name in _PROTOCOL)


def secret_spans(text: str) -> list[Span]:
    """Return what is secret in *text* by the name before it, in JSON numbers too."""
    spans = secret_values(text)
    if ":" in text and text.lstrip().startswith(("{", "[")):
        spans = united([*spans, *numbers_in(text, is_secret_pointer)])
    return spans


def united(spans: list[Span]) -> list[Span]:
    """Return *spans* in order, what overlaps as one."""
    united: list[Span] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united
