"""Which strings of a JSON document are secret by their place in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mitmgate.record.sensitive import is_credential_name, is_sensitive, looks_like_token
from mitmgate.wire.surfaces import Text

_ANSWERS = frozenset({"accept", "decline", "cancel"})
_NAMING = frozenset({"name", "key", "header", "field", "variable"})


def secret_prefixes(values: Sequence[Text]) -> tuple[str, ...]:
    """Return the places that are secret by what stands beside them."""
    prefixes: list[str] = []
    for item in values:
        parent, _, name = item.pointer.rpartition("/")
        if name == "action" and item.text in _ANSWERS:
            prefixes.append(f"{parent}/content")  # what a person typed into an elicitation
        elif name == "grant_type":
            prefixes += [f"{parent}/code", f"{parent}/state"]
        elif name in _NAMING and is_credential_name(item.text):
            prefixes.append(f"{parent}/value")
        elif name == "0" and is_credential_name(item.text):
            prefixes.append(f"{parent}/1")  # a header as a pair
    return tuple(prefixes)


def is_secret_place(item: Text, prefixes: tuple[str, ...]) -> bool:
    """Tell whether the string *item* is secret by its place; *prefixes*: see above."""
    pointer = item.pointer
    if is_below(pointer, prefixes):
        return True
    return is_secret_pointer(pointer) or looks_like_token(pointer.rpartition("/")[2], item.text)


def is_below(pointer: str, prefixes: tuple[str, ...]) -> bool:
    """Tell whether *pointer* is one of *prefixes*, or below one."""
    return bool(prefixes) and any(pointer == p or pointer.startswith(f"{p}/") for p in prefixes)


@lru_cache(maxsize=8192)
def is_secret_pointer(pointer: str) -> bool:
    """Tell whether what stands at *pointer* is secret by a name above it."""
    names = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for position, name in enumerate(names):
        if not is_sensitive(name):
            continue
        # {"properties": {"password": {"type": ...}}} describes a password, it holds none.
        described = position > 0 and names[position - 1] == "properties"
        if not described or position == len(names) - 1:
            return True
    return False
