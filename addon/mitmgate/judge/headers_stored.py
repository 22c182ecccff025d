"""Headers as captures store them, and the strings in which they and everything else are kept.

Headers that no rule reads keep their name and get an opaque value, so that two of them stay
two; what a rule found in one keeps a placeholder, as in every other text. What repeats the body
(revision 2026-07-28) says what the stored body says.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mitmgate.errors import WireError
from mitmgate.judge.bodies import redactions_of, with_redactions
from mitmgate.judge.oauth import metadata_url
from mitmgate.record.expansion import Redacted, Sample, expand
from mitmgate.record.redact import Redactor
from mitmgate.record.sensitive import is_credential_name
from mitmgate.record.standin import Known, disguised
from mitmgate.wire.http import Headers
from mitmgate.wire.mirror import decode_value
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import escape_token, resolve_pointer

KEPT = frozenset(
    {"accept", "connection", "content-encoding", "content-type", "host", "mcp-method", "mcp-name",
     "mcp-protocol-version", "origin", "transfer-encoding", "upgrade", "user-agent"}
)  # fmt: skip
WITHHELD = "[withheld]"
_WRAPPED = "=?base64?", "?="
_PARAM = "mcp-param-"
_NAMES = "/params/name", "/params/uri", "/params/taskId"
_HOSTS = frozenset({"host", "origin"})
_OFFERS, _MCP = "sec-websocket-protocol", "mcp"
_NOTHING = Known()

type StoredText = str | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Body:
    """What a header may repeat: the body of its request as it came, and as it is stored."""

    text: str
    record: Mapping[str, Any]


def learn_headers(headers: Headers, redactor: Redactor) -> None:
    """Take in the credentials in *headers*: they may come again in the body."""
    for name, value in headers:
        if is_credential_name(name) and redactor.memo.get(name, value) is None:
            redactor.learn(value)


def header_texts(headers: Headers, redactor: Redactor) -> Iterator[str]:
    """Yield the names and values that were not looked at before."""
    for name, value in headers:
        if name != "content-length" and redactor.memo.get(name, value) is None:
            yield name
            yield value


def encode_headers(
    headers: Headers, redactor: Redactor, *, decoded: bool, body: Body | None = None
) -> list[list[Any]]:
    """Return *headers* without secrets; *decoded*: their content-encoding was undone."""
    method = next((value for name, value in headers if name == "mcp-method"), "")
    mirror = _Mirror(body)
    stored: list[list[Any]] = []
    for name, value in headers:
        if name == "content-encoding" and decoded:
            stored.append([name, "identity"])
        elif name == "content-length":
            stored.append([name, "0"])  # the stored body has another, and only presence matters
        elif name == "mcp-name" or name.startswith(_PARAM):
            told = mirror.stored(name, value)
            opaque = name != "mcp-name" or method.startswith("tasks/")
            stored.append([name, told or _encode_inner(value, redactor, opaque=opaque)])
        else:
            shown = disguised(name, _NOTHING, redactor.numbering.of)
            stored.append([shown, _encode_header(name, value, redactor)])
    return stored


def decode_headers(stored: list[list[Any]], sample: Sample) -> Headers:
    """Return the headers that :func:`encode_headers` stored."""
    return tuple((as_str(name), decode_text(value, sample)) for name, value in stored)


def _encode_header(name: str, value: str, redactor: Redactor) -> StoredText:
    remembered = redactor.memo.get(name, value)
    if remembered is not None:
        return remembered
    if name == _OFFERS and _MCP in (offers := [offer.strip() for offer in value.split(",")]):
        # Only that it offers MCP is looked at; other offers may be tokens.
        return _MCP if offers == [_MCP] else f"{_MCP}, {redactor.opaque(value)}"
    if name in KEPT:
        redacted = redactor.name(value) if name in _HOSTS else redactor.string(value)
    else:
        redacted = _opaque(name, value, redactor)
        # What makes a head malformed must still be there when it is judged again.
        controls = "".join(char for char in value if char < " " or char == "\x7f")
        if controls and redacted is not None:
            redacted = Redacted(redacted.text + controls, redacted.redactions)
    stored = stored_text(redacted, WITHHELD)
    if redactor.nothing_found and isinstance(stored, str):
        redactor.memo.put(name, value, stored)
    return stored


def _opaque(name: str, value: str, redactor: Redactor) -> Redacted | None:
    """Hide a header, but for where a challenge says that the metadata is: it is asked for then."""
    url = metadata_url(value) if name == "www-authenticate" else ""
    told = redactor.target(url) if url else None
    if told is None or told.redactions or '"' in told.text:
        return redactor.string(value, opaque=True)
    redacted = redactor.string(value.replace(url, ""), opaque=True)  # it would hide the URL later
    if redacted is None:
        return None
    return Redacted(f'{redacted.text} resource_metadata="{told.text}"', redacted.redactions)


def _encode_inner(value: str, redactor: Redactor, *, opaque: bool) -> StoredText:
    """Redact a header as the member of the body would be that it seems to repeat."""
    inner = _unwrapped(value)
    if inner is None:
        return stored_text(redactor.string(value, opaque=opaque), WITHHELD)
    return _as_wrapped(stored_text(redactor.string(inner, opaque=opaque), WITHHELD))


class _Mirror:
    """Finds what a header repeats, in the body as it is stored."""

    def __init__(self, body: Body | None) -> None:
        self._body = body
        self._both: tuple[Any, Any] | None = None

    def stored(self, name: str, value: str) -> StoredText | None:
        """Return the stored form of the header *name*, None where it repeats nothing there."""
        decoded = decode_value(value)
        if self._body is None or decoded is None or "text" not in self._body.record:
            return None
        before, after = self._documents()
        places = _NAMES if name == "mcp-name" else _arguments(before, name)
        for pointer in places:
            if _at(before, pointer) == decoded:
                return self._string(after, pointer, wrapped=value != decoded)
        # A number or a truth value stands in the body as it is.
        if any(_is_written(_at(before, pointer), decoded) for pointer in places):
            return value
        return None

    def _documents(self) -> tuple[Any, Any]:
        if self._both is None and self._body is not None:
            texts = self._body.text, self._body.record["text"]
            self._both = _parsed(texts[0]), _parsed(texts[1])
        return self._both or (None, None)

    def _string(self, after: Any, pointer: str, *, wrapped: bool) -> StoredText | None:
        text = _at(after, pointer)
        if self._body is None or not isinstance(text, str):
            return None
        redactions = tuple(
            replace(item, pointer="")
            for item in redactions_of(self._body.record)
            if item.pointer == pointer
        )
        stored = stored_text(Redacted(text, redactions), WITHHELD)
        return _as_wrapped(stored) if wrapped else stored


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except WireError:
        return None


def _at(document: Any, pointer: str) -> Any:
    try:
        return resolve_pointer(document, pointer)
    except (KeyError, ValueError):
        return None


def _arguments(document: Any, header: str) -> list[str]:
    """Return the pointers of the scalar arguments, first those whose name is in *header*."""
    found: list[str] = []
    todo = [("/params/arguments", _at(document, "/params/arguments"))]
    while todo:
        pointer, value = todo.pop()
        if isinstance(value, Mapping):
            todo += [(f"{pointer}/{escape_token(key)}", item) for key, item in value.items()]
        elif isinstance(value, str | int | float):
            found.append(pointer)
    wanted = _plain(header.removeprefix(_PARAM))
    return sorted(found, key=lambda pointer: _plain(pointer.rpartition("/")[2]) != wanted)


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _is_written(value: Any, decoded: str) -> bool:
    if isinstance(value, bool):
        return decoded == ("true" if value else "false")
    if not isinstance(value, int | float):
        return False
    try:
        return decoded == str(value) or float(decoded) == value
    except (ValueError, OverflowError):
        return False


def stored_text(redacted: Redacted | None, instead: str) -> StoredText:
    """Return plain text where nothing was replaced, else a record; *instead* if it cannot be."""
    if redacted is None:
        return {"text": instead, "incomplete": "secret"}
    if not redacted.redactions:
        return redacted.text
    return with_redactions({"text": redacted.text}, redacted)


def decode_text(stored: Any, sample: Sample) -> str:
    """Return what :func:`stored_text` stored, with samples for its secrets."""
    if isinstance(stored, str):
        return stored
    text = expand(as_str(stored["text"]), redactions_of(stored), sample)
    return _wrapped(text) if stored.get("wrapped") else text


def as_str(value: Any) -> str:
    """Return *value*; TypeError where it is no string."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _as_wrapped(stored: StoredText) -> StoredText:
    record = stored if isinstance(stored, dict) else {"text": stored}
    return record | {"wrapped": True}


def _unwrapped(value: str) -> str | None:
    start, end = _WRAPPED
    if not (value.startswith(start) and value.endswith(end) and len(value) > len(start + end)):
        return None
    try:
        inner = b64decode(value[len(start) : -len(end)], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return inner if _wrapped(inner) == value else None


def _wrapped(inner: str) -> str:
    start, end = _WRAPPED
    return f"{start}{b64encode(inner.encode()).decode()}{end}"
