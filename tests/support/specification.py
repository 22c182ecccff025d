"""The messages of MCP, revision by revision: each request with its answers, each notification.

They are written from the published schemas and stand in ``tests/wire/data``. ``since`` is the
first revision that has a message; legacy ones stay in every later revision of their era.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mitmgate.wire.http import Headers

DATA = Path(__file__).parents[1] / "wire" / "data"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
REVISIONS = (*LEGACY, MODERN)
_META = "io.modelcontextprotocol/"
_CLIENT = {
    f"{_META}protocolVersion": MODERN,
    f"{_META}clientInfo": {"name": "ExampleClient", "version": "1.0.0"},
    f"{_META}clientCapabilities": {},
}
_ODD = r'[12345678901234567890, 1.0, -0, 1e2, 0.10, "\u00e9\ud83d\ude00", "é/\u002f"]'
_STATUS = {-32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32600: 400}

type Sender = Literal["client", "server"]
type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message and, where it is a request, every answer to it; ``model`` is a type's name."""

    revision: str
    title: str
    sender: Sender
    message: Json
    answers: dict[str, Json]
    extension: bool = False
    model: str | None = None

    @property
    def method(self) -> str:
        method: str = self.message["method"]
        return method

    @property
    def headers(self) -> Headers:
        """The headers of the message where the client posts it, as its revision wants them."""
        kind = (("content-type", "application/json"),)
        session = (("mcp-protocol-version", self.revision), ("mcp-session-id", "s-1"))
        if self.revision != MODERN:
            return kind if self.method == "initialize" else (*kind, *session)
        params = self.message.get("params", {})
        named = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
        key = "taskId" if self.method.startswith("tasks/") else named.get(self.method)
        name = () if key is None else (("mcp-name", _header(params[key])),)
        place = params.get("arguments", {}).get("location")  # "x-mcp-header" of get_weather
        named_too = () if place is None else (("mcp-param-location", _header(place)),)
        mirrored = ("mcp-method", self.method), *name, *named_too
        return *kind, ("mcp-protocol-version", MODERN), *mirrored

    def status(self, answer: Json) -> int:
        """Return the HTTP status under which its revision sends *answer*."""
        code = answer.get("error", {}).get("code")
        return _STATUS.get(code, 200) if self.revision == MODERN else 200


def _header(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def spellings(value: Any) -> Iterator[str]:
    """Yield *value* as JSON in the ways that SDKs write it."""
    yield json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    yield json.dumps(value)
    yield json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\r\n")
    if isinstance(value, dict):
        yield json.dumps(dict(reversed(value.items())))


def odd_spelling(message: Json) -> str:
    """Return *message* as no encoder of ours writes it: whoever reads and writes it anew is seen.

    Members backwards, odd blanks, escapes that nobody needs, numbers that no double holds.
    """
    odd = json.loads(json.dumps(message))
    place = odd.get("params", odd.get("result", odd.get("error", {}).get("data")))
    if isinstance(place, dict):
        place.setdefault("_meta", {})["example.org/odd"] = "ODD"
    text = json.dumps(_backwards(odd), indent="\t", separators=(" ,", " :  "))
    text = text.replace("/", "\\/").replace("\n", "\r\n ")
    return text.replace('"ODD"', _ODD)


def _backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _backwards(item) for key, item in reversed(value.items())}
    return [_backwards(item) for item in value] if isinstance(value, list) else value


@functools.cache
def exchanges() -> dict[str, Exchange]:
    """Return every exchange by a sentence that tells it from all others."""
    found = [*_legacy(), *_modern("messages-modern"), *_modern("messages-extensions")]
    named = {f"{one.revision} {one.method}, {one.title}": one for one in found}
    assert len(named) == len(found), "two messages have one name"
    return named


def _load(name: str) -> list[Json]:
    entries: list[Json] = json.loads((DATA / f"{name}.json").read_text())
    return entries


def _legacy() -> Iterator[Exchange]:
    for entry in _load("messages-legacy"):
        for revision in LEGACY:
            if revision >= entry.get("since", ""):
                yield _exchange(_in(revision, entry), revision)


def _modern(name: str) -> Iterator[Exchange]:
    for entry in _load(name):
        if not entry.get("notification"):
            params = entry.get("params", {})
            meta = {**_CLIENT, **params.get("_meta", {})}
            entry["params"] = {**params, "_meta": meta}
        yield _exchange(entry, MODERN, extension=name.endswith("extensions"))


def _in(revision: str, entry: Json) -> Json:
    told: Json = json.loads(json.dumps(entry).replace('"REVISION"', f'"{revision}"'))
    return told


def _exchange(entry: Json, revision: str, *, extension: bool = False) -> Exchange:
    number = {} if entry.get("notification") else {"id": _id(entry["title"])}
    params = {"params": entry["params"]} if "params" in entry else {}
    return Exchange(
        revision,
        entry["title"],
        entry.get("from", "client"),
        {"jsonrpc": "2.0", **number, "method": entry["method"], **params},
        {title: _answer(number, answer) for title, answer in entry.get("answers", {}).items()},
        extension,
        entry.get("type"),
    )


def _id(title: str) -> int | str:
    """Return an id by *title*: 0, a number or a text, as clients in the field choose them."""
    return (0, 7, 2**53 + 1, "", "req-1")[len(title) % 5]


def _answer(number: Json, answer: Json) -> Json:
    body = answer if answer.keys() == {"error"} else {"result": answer}
    return {"jsonrpc": "2.0", **number, **body}
