"""HTTP Archive files (HAR 1.2) of browsers and proxies, entry by entry.

Source: http://www.softwareishard.com/blog/har-12-spec/. Bodies in them are decoded already, and
many tools leave bodies out: such an entry keeps its heads and is *incomplete*.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.judge.imported import Timed, answered
from mitmgate.judge.inputs import EndInput, MessageInput, RequestInput, Tunnel
from mitmgate.net.authority import normalise_host
from mitmgate.wire.http import AnswerHead, Headers, RequestHead
from mitmgate.wire.strictjson import parse_json

_LARGEST = 256 * 1024 * 1024
LATEST = 253_402_300_800.0
"""The year 10000, in seconds since the epoch: no time is as late."""
_AGENT = "client"  # a HAR file does not say who sent a request
_BOM = b"\xef\xbb\xbf"
_NOT_KEPT = frozenset({"content-encoding", "transfer-encoding"})  # bodies are decoded already


class _EntryError(ValueError):
    """What is wrong with an entry, in words that quote nothing of it."""


@dataclass(slots=True)
class Archive:
    """What a HAR file holds: the inputs of each entry in the order of their time.

    ``problems`` name the entries that could not be read.
    """

    exchanges: list[list[Timed]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def is_har_file(path: Path) -> bool:
    """Tell whether *path* begins as a HAR file does and not as a capture."""
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(_BOM).lstrip()
    return start.startswith(b"{") and not start.startswith(b'{"v":')


def read_har(path: Path) -> Archive:
    """Return what the HAR file at *path* holds; ConfigError where it cannot be read at all."""
    entries = _entries(path)
    found = Archive()
    for number, entry in enumerate(entries):
        try:
            found.exchanges.append(list(_inputs(entry, str(number))))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            said = f"entry {number} cannot be read: {_reason(error)}"
            found.problems.append(Problem(said, file=str(path), key=f"log.entries[{number}]"))
    found.exchanges.sort(key=lambda inputs: inputs[0].at)
    return found


def _entries(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(
                Problem(f"larger than {_LARGEST // 2**20} MiB", file=str(path),
                        hint="export fewer entries at a time")
            )  # fmt: skip
        text = path.read_bytes().removeprefix(_BOM).decode()
        log = parse_json(text)["log"]
        entries = log["entries"]
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    except (LookupError, TypeError, ValueError, WireError):
        entries = None
    if not isinstance(entries, list):
        raise ConfigError(
            Problem("not a HAR file, or a damaged one", file=str(path),
                    hint="export it again; it holds one JSON object with log.entries")
        )  # fmt: skip
    return entries


def _inputs(entry: Mapping[str, Any], exchange: str) -> Iterator[Timed]:
    began = _time(entry["startedDateTime"])
    request, response = entry["request"], entry.get("response") or {}
    head, authority, target = _head(request)
    body, missing = _posted(request)
    yield Timed(
        began,
        RequestInput(exchange, _AGENT, head, authority, body, Tunnel(None, target)),
        missing,
    )
    took = entry.get("time")
    ended = began + max(0.0, float(took) / 1000) if isinstance(took, int | float) else began
    messages = entry.get("_webSocketMessages")
    status = response.get("status", 0)
    if isinstance(messages, list):
        yield from _messages(messages, exchange, began)
    elif type(status) is int and status >= 100:  # 0: no answer came
        answer = AnswerHead(status, _headers(response.get("headers")))
        content = response.get("content") or {}
        empty = response.get("bodySize") == 0 or status < 200 or status in (204, 304)
        data, size = _content({"size": 0} | content if empty else content)
        yield from answered(exchange, answer, data, size=size, times=(began, ended))
    yield Timed(ended, EndInput(exchange))


def _head(request: Mapping[str, Any]) -> tuple[RequestHead, str, str | None]:
    url = urlsplit(request["url"])
    if url.scheme not in ("http", "https", "ws", "wss") or not url.hostname:
        raise _EntryError("the URL is not one of HTTP")
    secure = url.scheme in ("https", "wss")
    host = _host(url.hostname)
    port = url.port or (443 if secure else 80)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = _headers(request.get("headers"))
    head = RequestHead(
        _str(request["method"]), "https" if secure else "http", host, port, target, headers
    )
    named = head.get("host") or head.authority
    # RFC 6066 section 3: TLS names no literal addresses.
    return head, named, host if secure and not is_address(host) else None


def is_address(host: str) -> bool:
    """Tell whether *host* is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host(name: str) -> str:
    try:
        return normalise_host(name)
    except WireError:
        raise _EntryError("the URL has no valid host") from None


def _headers(value: Any) -> Headers:
    """Return headers of the usual list of names and values, or of an object."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        pairs = [(item["name"], item["value"]) for item in value or ()]
    named = ((_str(name).lower(), _str(told)) for name, told in pairs)
    return tuple(
        (name, _latin(told)) for name, told in named
        if name not in _NOT_KEPT and not name.startswith(":")
    )  # fmt: skip


def _posted(request: Mapping[str, Any]) -> tuple[bytes, int | None]:
    """Return the body of a request; and its length where it is missing."""
    data, size = request.get("postData"), request.get("bodySize", 0)
    size = size if type(size) is int and size > 0 else 0
    if data is None:
        return b"", size or None
    text = data.get("text")
    if isinstance(text, str) and (text or not size):
        return _decoded(text, data.get("encoding")), None
    fields = data.get("params")
    media = str(data.get("mimeType", "")).partition(";")[0].strip().lower()
    if fields and media == "application/x-www-form-urlencoded":
        return urlencode([(f["name"], f.get("value", "")) for f in fields]).encode(), None
    return b"", size


def _content(content: Mapping[str, Any]) -> tuple[bytes | None, int]:
    """Return the body of an answer, None where it is missing, and the length told."""
    size, text = content.get("size"), content.get("text")
    if isinstance(text, str) and (text or not size):
        return _decoded(text, content.get("encoding")), 0
    if size == 0:
        return b"", 0
    return None, max(size, 0) if type(size) is int else 0


def _decoded(text: str, encoding: Any) -> bytes:
    if encoding is None or encoding == "":
        return text.encode("utf-8", "replace")
    if encoding != "base64":
        raise _EntryError("a body has an unknown encoding")
    try:
        return b64decode(text)
    except binascii.Error:
        raise _EntryError("a body is not base64") from None


def _messages(messages: list[Any], exchange: str, began: float) -> Iterator[Timed]:
    for number, message in enumerate(messages):
        text = _str(message["data"])
        data: str | bytes = text if message.get("opcode", 1) == 1 else _decoded(text, "base64")
        at = message.get("time")
        when = max(began, float(at)) if isinstance(at, int | float) else began
        from_client = message.get("type") == "send"
        yield Timed(when, MessageInput(exchange, number, from_client, data))


def _time(value: Any) -> float:
    moment = datetime.fromisoformat(_str(value))
    if moment.tzinfo is None:
        raise _EntryError("startedDateTime has no zone")
    try:
        at = moment.timestamp()
    except OverflowError:
        at = -1.0
    if not 0 <= at < LATEST:
        raise _EntryError("startedDateTime is out of range")
    return at


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _latin(value: str) -> str:
    """Return *value* as the wire layers hold it: its bytes as latin-1."""
    return value.encode("utf-8", "replace").decode("latin-1")


def _reason(error: Exception) -> str:
    # What libraries say may quote a URL.
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) if isinstance(error, _EntryError) else "a value of a wrong type or form"
