"""JSON-RPC 2.0 messages as values: a text becomes one message or batch, or ``WireError``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.methods import MCP_METHODS, MCP_ONLY_METHODS
from mitmgate.wire.strictjson import fold_key, parse_json, refuse_ambiguous_keys

type RequestId = int | str
"""Never test an id for truth: ``0`` and ``""`` are ids, and TypeScript clients start at 0."""


@dataclass(frozen=True, slots=True)
class Request:
    """A message that wants an answer with the same id."""

    id: RequestId
    method: str
    params: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that nobody answers."""

    method: str
    params: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a request that worked; ``result`` is any JSON value."""

    id: RequestId
    result: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to a request that failed; without an id when none could be read."""

    id: RequestId | None
    error: Mapping[str, Any]


type Message = Request | Notification | Result | Failure


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages sent as one array: legal in 2025-03-26 only, executed by servers beyond it."""

    messages: tuple[Message, ...]


_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})


def parse_message(text: str) -> Message | Batch:
    """Return the message or batch that *text* spells, or raise :class:`WireError`.

    Codes: those of ``parse_json``, and ``not_jsonrpc``, ``bad_id``, ``bad_params``,
    ``empty_batch``, ``ambiguous_key``, ``unknown_member``.
    """
    value = parse_json(text)
    if not isinstance(value, list):
        return _message(value)
    if not value:
        raise WireError("empty_batch", "a batch without messages")
    return Batch(tuple(_message(item) for item in value))


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise WireError("not_jsonrpc", "a message must be a JSON object")
    if "jsonrpc" in value or any(fold_key(key) == "jsonrpc" for key in value):
        refuse_ambiguous_keys(value)
    if value.get("jsonrpc") != "2.0":
        raise WireError("not_jsonrpc", 'the object does not say "jsonrpc": "2.0"')
    if not _MEMBERS.issuperset(value):
        # Nobody would look into it here, and some servers hand it on.
        raise WireError("unknown_member", "a message has a member that JSON-RPC does not know")
    kinds = [kind for kind in ("method", "result", "error") if kind in value]
    match kinds:
        case ["method"]:
            return _call(value)
        case ["result"]:
            return _result(value)
        case ["error"]:
            return _failure(value)
        case _:
            # Request to one parser, answer to another: it would be judged as the harmless one.
            raise WireError("not_jsonrpc", "a message has one of method, result and error")


def _call(value: dict[str, Any]) -> Request | Notification:
    method, params = value["method"], value.get("params")
    if not isinstance(method, str):
        raise WireError("not_jsonrpc", "method must be a string")
    if params is not None:
        if not isinstance(params, dict):
            raise WireError("bad_params", "params must be an object", rpc_code=-32602)
        refuse_ambiguous_keys(params)
    if "id" not in value:
        return Notification(method, params)
    return Request(_request_id(value["id"]), method, params)


def _result(value: dict[str, Any]) -> Result:
    result = value["result"]
    if isinstance(result, dict):
        refuse_ambiguous_keys(result)
    return Result(_request_id(value.get("id")), result)


def _failure(value: dict[str, Any]) -> Failure:
    number, error = value.get("id"), value["error"]
    if not isinstance(error, dict):
        raise WireError("not_jsonrpc", "error must be an object")
    return Failure(None if number is None else _request_id(number), error)


MAX_ID = 1024
"""The longest id: each is kept until its answer came."""


def _request_id(value: Any) -> RequestId:
    # A null id is a request to one server and a notification to the next; true is 1 in Python.
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise WireError("bad_id", "an id must be an integer or a string")
    if (len(value) if isinstance(value, str) else value.bit_length() // 4) > MAX_ID:
        raise WireError("bad_id", f"an id is longer than {MAX_ID} characters")
    return value


MAX_VALUES = 256
"""So many concatenated JSON values are looked at one by one; more are only searched."""


def looks_like_jsonrpc(text: str | bytes) -> bool:
    """Say whether any sloppy parser could take *text* for JSON-RPC that MCP might run.

    For what ``parse_message`` refused: True is a reason to deny it instead of passing it as
    plain egress. Bytes are decoded by JSON's own detection (UTF-8, -16 and -32). By-position
    params (an array) under a method that is not MCP's are other protocols: False.
    """
    if isinstance(text, bytes):
        # Python's json.loads and others find UTF-16 without any charset.
        text = text.decode(json.detect_encoding(text), errors="replace")
    # NULs are what UTF-16 read as UTF-8 is full of.
    text = text.replace("\0", "").lstrip("\ufeff \t\r\n\v\f\xa0")
    if not text.startswith(("{", "[", "/", "#")):
        return False
    try:
        return any(_sloppy(value) for value in _values(text))
    except (ValueError, RecursionError):
        # Comments, single quotes, trailing commas, cut or endless nesting: no parser of
        # ours reads it, one of theirs might.
        return _mentions_jsonrpc(text)


class _Pairs(list[tuple[str, Any]]):
    """The members of an object with folded keys, duplicates and all."""


def _fold_pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs((fold_key(key), value) for key, value in pairs)


_SLOPPY = json.JSONDecoder(object_pairs_hook=_fold_pairs, parse_int=float, strict=False)


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values that follow each other in *text*: line-wise servers read all."""
    start = 0
    for _ in range(MAX_VALUES):
        value, start = _SLOPPY.raw_decode(text, start)
        yield value
        while start < len(text) and text[start] in " \t\r\n,\x1e":
            start += 1
        if start == len(text):
            return
    raise ValueError("too many values")


def _sloppy(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _Pairs):
            if _sloppy_object(item):
                return True
        elif isinstance(item, list):
            todo.extend(item)
    return False


_CALL_KEYS = frozenset({"method", "result", "error", "id", "params"})


def _sloppy_object(pairs: _Pairs) -> bool:
    keys = {key for key, _ in pairs}
    methods = {value for key, value in pairs if key == "method" and isinstance(value, str)}
    folded = {fold_key(method) for method in methods}
    if not folded.isdisjoint(_FOLDED_ONLY):
        return True
    if "jsonrpc" not in keys or keys.isdisjoint(_CALL_KEYS):
        return False
    by_position = [
        isinstance(value, list) and not isinstance(value, _Pairs)
        for key, value in pairs
        if key == "params"
    ]
    if methods and by_position and all(by_position):
        return not folded.isdisjoint(_FOLDED_ALL)
    return True


_FOLDED_ONLY = frozenset(fold_key(method) for method in MCP_ONLY_METHODS)
_FOLDED_ALL = frozenset(fold_key(method) for method in MCP_METHODS) | _FOLDED_ONLY


def _mentions_jsonrpc(text: str) -> bool:
    lowered = text.casefold()
    for invisible in ("\u200b", "\u200c", "\u200d", "\u2060", "\xad", "\ufeff"):
        lowered = lowered.replace(invisible, "")
    if "\\u" in lowered:
        for letter in "jsonrpcJSONRPC":
            lowered = lowered.replace(f"\\u{ord(letter):04x}", letter.lower())
    return "jsonrpc" in lowered
