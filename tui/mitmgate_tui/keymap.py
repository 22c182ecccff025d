"""Other keys for the same actions, as far as that is safe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from textual.keys import Keys, _character_to_key  # the only way from "/" to Textual's "slash"

from mitmgate.errors import ConfigError, Problem
from mitmgate_tui.keys import DECISIONS, KEYS, Key

_DECIDE: Final = frozenset(key.id for key in DECISIONS)
_FIXED: Final = frozenset({"end"})
_NAMED: Final = frozenset(key.value for key in Keys if not key.value.startswith("<"))
_FUNCTION: Final = frozenset(f"f{number}" for number in range(1, 13))


def remap(wanted: Mapping[str, Sequence[str]], *, file: str = "keymap") -> tuple[Key, ...]:
    """Return the registry with the keys of *wanted* (id of an action to keys), all checked.

    Raises ConfigError with every problem: an unknown action or key, two meanings of a key in one
    place, a decision on a key that is pressed without thinking.
    """
    problems = [
        Problem(problem, file, key=f"keys.{name}")
        for name, pressed in wanted.items()
        for problem in _problems(name, pressed)
    ]
    keys = tuple(_remapped(key, wanted.get(key.id)) for key in KEYS)
    problems += [Problem(clash, file, key="keys") for clash in _clashes(keys)]
    if problems:
        raise ConfigError(*problems)
    return keys


def textual_keymap(keys: Sequence[Key]) -> dict[str, str]:
    """Return what Textual's ``set_keymap`` takes: only what differs from the registry."""
    usual = {key.id: key.pressed for key in KEYS}
    return {key.id: key.pressed for key in keys if key.pressed != usual[key.id]}


def _problems(name: str, pressed: Sequence[str]) -> list[str]:
    known = [key.id for key in KEYS]
    if name not in known:
        return [f"unknown action; there are {', '.join(known)}"]
    if name in _FIXED:
        return ["this key cannot be changed: it is the way out"]
    if not pressed:
        return ["an action needs a key"]
    problems = []
    for key in pressed:
        if not (_is_character(key) or key in _NAMED):
            problems.append(f"{key!r} is no key: give one character, or a name such as f2, ctrl+t")
        elif name in _DECIDE and not (_is_character(key) or key in _FUNCTION):
            problems.append(f"{key} cannot decide: take one character or f1 to f12")
    return problems


def _is_character(key: str) -> bool:
    return len(key) == 1 and key.isprintable() and not key.isspace() and key != ","


def _remapped(key: Key, pressed: Sequence[str] | None) -> Key:
    if not pressed:
        return key
    return dataclasses.replace(
        key,
        pressed=",".join(_character_to_key(one) if len(one) == 1 else one for one in pressed),
        shown=" ".join(pressed),
    )


def _clashes(keys: Sequence[Key]) -> list[str]:
    """Return each key with two meanings; the keys of the lists and of the detail may be equal."""
    clashes = []
    for places in (("app", "rows"), ("app", "detail", "tree")):
        meaning: dict[str, Key] = {}
        for key in keys:
            if key.scope not in places:
                continue
            for pressed in key.pressed.split(","):
                other = meaning.setdefault(pressed, key)
                if other is not key:
                    clashes.append(f"{pressed} means both {other.id} and {key.id}")
    return list(dict.fromkeys(clashes))
