"""A secret in every place of every message, on every transport on which it can travel."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hostile_exchanges import ANSWER, CALL, SOCKET, batch_of, limits
from judging import KEY, SERVER, post, request, scanner
from specification import MODERN, Exchange, Json, exchanges

from mitmgate.errors import WireError
from mitmgate.judge.inputs import AnswerInput, EventInput, Input, MessageInput
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy, load_policy
from mitmgate.wire.http import AnswerHead, Headers
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import PROTOCOL_KEYS, Surface, Text

REDACTING = f"""\
version: 1
servers: {{files: {{url: "https://{SERVER}/mcp"}}}}
mcp: {{otherwise: allow}}
scan: {{secrets: {{arguments: redact, results: redact, definitions: deny,
                 egress_request: redact, egress_response: deny}}}}
"""
PLANTED = f"the key is {KEY} and nothing else"
_JSON: Headers = (("content-type", "application/json"),)
_SESSION: Headers = (*_JSON, ("mcp-session-id", "s-1"))
_EVENTS = AnswerHead(200, (("content-type", "text/event-stream"),))
_OPAQUE = "requestState"  # clients hand it back unread, and tokens are what it is made of

type Path = tuple[str | int, ...]
type Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One message of an exchange: who says it, and the headers and status of its POST."""

    message: Json
    from_client: bool
    headers: Headers
    status: int = 200


@functools.cache
def _policy() -> Policy:
    return load_policy(REDACTING, file="p.yaml")


def redacting_judge() -> Judge:
    """Return a judge that lets everything through, but takes secrets out."""
    return Judge(_policy(), scanner(), limits=limits())


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every string in *value*, and of every name that its sender chose.

    A name's path ends with it and an empty tail: ``("params", "arguments", "city", "")``.
    """
    if isinstance(value, str):
        yield path
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in PROTOCOL_KEYS:
                yield (*path, key, "")
            if key != _OPAQUE:
                yield from places(item, (*path, key))


def planted(message: Json, path: Path) -> Json:
    """Return *message* with the secret at *path*."""
    told = copy.deepcopy(message)
    *above, last = path[:-1] if path[-1] == "" else path
    item: Any = told
    for token in above:
        item = item[token]
    if path[-1] == "":
        item[PLANTED] = item.pop(last)
    else:
        item[last] = PLANTED
    return told


def conversations(one: Exchange) -> Iterator[Steps]:
    """Yield *one* with the secret in one place after the other, of its message or an answer."""
    for path in places(one.message):
        yield (_asked(replace(one, message=planted(one.message, path))),)
    for answer in one.answers.values():
        for path in places(answer):
            told = planted(answer, path)
            yield _asked(one), _answering(one, told, answer)


def untouched(one: Exchange) -> Iterator[Steps]:
    """Yield *one* with each of its answers."""
    for answer in one.answers.values() or [None]:
        answering = () if answer is None else (_answering(one, answer, answer),)
        yield _asked(one), *answering


def _asked(one: Exchange) -> Step:
    return Step(one.message, one.sender == "client", one.headers if one.sender == "client" else ())


def _answering(one: Exchange, told: Json, answer: Json) -> Step:
    return Step(told, one.sender == "server", _SESSION, one.status(answer))


def spelled(message: Json) -> str:
    """Return *message* as JSON, every other one of those with the secret spelled oddly."""
    text = json.dumps(message)
    return text if len(text) % 2 else text.replace(KEY, f"\\u{ord(KEY[0]):04x}{KEY[1:]}")


def _opened() -> Input:
    """Return the request for the stream on which a server speaks first."""
    asks = (*_SESSION, ("accept", "text/event-stream"))
    return request("GET", headers=asks, exchange="stream")


def _call(revision: str) -> Input:
    one = exchanges()[f"{MODERN} tools/call, a call"]
    return post(one.message, headers=one.headers, exchange="stream") if revision == MODERN else (
        _opened()
    )  # fmt: skip


def _http(steps: Steps, revision: str, *, answers: str, beside: str | None) -> Iterator[Input]:
    """Streamable HTTP: what a client says is posted, what a server says answers it or comes.

    Each in a batch where the server says *beside* in it.
    """
    yield _call(revision)
    posted = False
    for number, step in enumerate(steps):
        text, headers = spelled(step.message), step.headers
        if beside is not None:
            other = CALL if step.from_client else beside
            other = other.replace('"id": 0', f'"id": "other {number}"')
            text, headers = batch_of(text, other).decode(), _SESSION
        if step.from_client:
            yield request("POST", body=text.encode(), headers=headers, exchange="posted")
        elif posted and answers == "json":
            yield AnswerInput("posted", AnswerHead(step.status, _JSON), text.encode())
        else:
            yield EventInput("posted" if posted else "stream", number, "message", text, _EVENTS)
        posted = step.from_client


def _channel(steps: Steps, revision: str) -> Iterator[Input]:
    """HTTP+SSE (2024-11-05)."""
    del revision
    yield _opened()
    yield EventInput("stream", 0, "endpoint", "/messages?session_id=1", _EVENTS)
    for number, step in enumerate(steps):
        text = spelled(step.message)
        if step.from_client:
            target = "/messages?session_id=1"
            yield request("POST", target=target, body=text.encode(), exchange=f"p{number}")
        else:
            yield EventInput("stream", number + 1, "message", text, _EVENTS)


def _socket(steps: Steps, revision: str) -> Iterator[Input]:
    del revision
    yield request("GET", headers=SOCKET, exchange="socket")
    for number, step in enumerate(steps):
        yield MessageInput("socket", number, step.from_client, spelled(step.message))


TRANSPORTS: dict[str, Callable[[Steps, str], Iterator[Input]]] = {
    "HTTP, answers of JSON": lambda s, r: _http(s, r, answers="json", beside=None),
    "HTTP, answers of events": lambda s, r: _http(s, r, answers="events", beside=None),
    "batches, answers of JSON": lambda s, r: _http(s, r, answers="json", beside=CALL),
    "batches, answers of events": lambda s, r: _http(s, r, answers="events", beside=CALL),
    "batches with an answer to nothing": lambda s, r: _http(s, r, answers="json", beside=ANSWER),
    "HTTP+SSE": _channel,
    "a WebSocket": _socket,
}
LATER = frozenset({"HTTP, answers of JSON", "HTTP, answers of events", "a WebSocket"})
"""What messages of 2026-07-28 travel on; the others are of older revisions."""


def once() -> Iterator[Exchange]:
    """Yield each message once: of the oldest revision that has it, later ones say it alike."""
    seen = set()
    for one in exchanges().values():
        name = one.revision == MODERN, one.method, one.title
        if name not in seen:
            seen.add(name)
            yield one


def plant(data: bytes, place: int) -> bytes:
    """Return *data* with the secret at the beginning of the first string or name after *place*."""
    at = data.find(b'"', place % (len(data) + 1)) + 1
    return data[:at] + f" {KEY} ".encode() + data[at:]


def holds_key(text: str) -> bool:
    """Tell whether any string or name in *text* holds the secret, however it is spelled."""
    return any(KEY in string for string in strings_of(text))


def check_clean(text: str) -> None:
    """What goes on holds nothing that the scanner would find, were it asked string by string."""
    texts = [Text(Surface.RESULTS, "/x", string) for string in strings_of(text)]
    found = [one.rule for one in scanner().scan(texts) if one.detector == "secrets"]
    assert not found, (found, text[:1000])


def strings_of(text: str) -> Iterator[str]:
    """Yield the strings and names of a JSON *text*, the whole of any other."""
    try:
        todo = [parse_json(text)]
    except WireError:
        todo = [text]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, dict):
            yield from item
            todo += [value for key, value in item.items() if key != _OPAQUE]
