"""Where text stands in traffic, and the one walker that yields it (WIRE section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Surface(StrEnum):
    """The place a text was found in; policies give effects per surface."""

    ARGUMENTS = "arguments"
    RESULTS = "results"
    DEFINITIONS = "definitions"
    EGRESS_REQUEST = "egress_request"
    EGRESS_RESPONSE = "egress_response"
    MODEL_REQUEST = "model_request"


@dataclass(frozen=True, slots=True)
class Text:
    """One decoded string of a message: its surface, its JSON pointer (RFC 6901), itself.

    RFC 6901 cannot point at a key. Where ``key`` is true, ``text`` is an object's key and
    ``pointer`` that of its value: it can be judged, and must never be edited.
    """

    surface: Surface
    pointer: str
    text: str
    key: bool = False


DEFINING_METHODS = frozenset(
    {
        "initialize",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "skills/list",
    }
)
"""Requests whose results tell the model what there is, before anything is called."""

_OPAQUE = "requestState"
# Clients return it as they got it and show it to nobody. It is often a signed token: scanning
# would deny, and redacting would break, every call that asks back (2026-07-28).


def walk_json(surface: Surface, value: Any, prefix: str = "") -> Iterator[Text]:
    """Yield every string of *value* in document order, keys before their values.

    A string at the very top has *prefix* as its pointer; with an empty prefix an edit of it
    would count in the raw text, so scan such a text as plain text instead.
    """
    todo: list[tuple[str, Any]] = [(prefix, value)]
    while todo:
        pointer, item = todo.pop()
        if isinstance(item, Text):
            yield item
        elif isinstance(item, str):
            yield Text(surface, pointer, item)
        elif isinstance(item, Mapping):
            _push_members(todo, surface, pointer, item)
        elif isinstance(item, (list, tuple)):
            todo.extend(
                (f"{pointer}/{index}", item[index]) for index in range(len(item) - 1, -1, -1)
            )


def _push_members(
    todo: list[tuple[str, Any]], surface: Surface, pointer: str, item: Mapping[str, Any]
) -> None:
    for key, value in reversed(list(item.items())):
        place = f"{pointer}/{escape_token(key)}"
        todo.append((place, value))
        todo.append((place, Text(surface, place, key, key=True)))


def walk_params(
    method: str,
    params: Mapping[str, Any] | None,
    *,
    surface: Surface = Surface.ARGUMENTS,
    prefix: str = "",
) -> Iterator[Text]:
    """Yield the strings of a request's or notification's *params*, from ``/params`` on.

    Give ``Surface.RESULTS`` for what a server sends of its own accord, and the message's
    index (``/0``) as *prefix* inside a batch.
    """
    del method
    if params is not None:
        yield from walk_json(surface, _without_opaque(params), f"{prefix}/params")


def walk_result(
    method: str, result: Any, *, surface: Surface | None = None, prefix: str = ""
) -> Iterator[Text]:
    """Yield the strings of the *result* of a *method* request, from ``/result`` on.

    Give ``Surface.ARGUMENTS`` for what a client answers to a server.
    """
    if surface is None:
        surface = Surface.DEFINITIONS if method in DEFINING_METHODS else Surface.RESULTS
    if isinstance(result, Mapping):
        result = _without_opaque(result)
    yield from walk_json(surface, result, f"{prefix}/result")


def walk_error(
    error: Mapping[str, Any], *, surface: Surface = Surface.RESULTS, prefix: str = ""
) -> Iterator[Text]:
    """Yield the strings of a JSON-RPC *error* object, from ``/error`` on."""
    yield from walk_json(surface, error, f"{prefix}/error")


def _without_opaque(members: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(members.get(_OPAQUE), str):
        return members
    return {key: value for key, value in members.items() if key != _OPAQUE}


def escape_token(token: str) -> str:
    """Return *token* as one reference token of a JSON pointer."""
    if "~" in token or "/" in token:
        return token.replace("~", "~0").replace("/", "~1")
    return token


def resolve_pointer(value: Any, pointer: str) -> Any:
    """Return what *pointer* points at in *value*.

    Raise KeyError where nothing is there, ValueError where *pointer* is no JSON pointer.
    """
    if not pointer:
        return value
    if not pointer.startswith("/"):
        raise ValueError("a JSON pointer is empty or starts with '/'")
    for token in pointer[1:].split("/"):
        value = _step(value, token)
    return value


def _step(value: Any, token: str) -> Any:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise ValueError("'~' in a JSON pointer is followed by 0 or 1")
    key = token.replace("~1", "/").replace("~0", "~")
    if isinstance(value, Mapping):
        return value[key]
    if isinstance(value, (list, tuple)) and _is_index(key) and int(key) < len(value):
        return value[int(key)]
    raise KeyError(key)


def _is_index(token: str) -> bool:
    digits = token.isascii() and token.isdecimal() and len(token) <= 10
    return digits and (len(token) == 1 or not token.startswith("0"))
