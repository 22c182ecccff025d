"""The conversation of a look: greet in the era that the server knows, then ask for everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mitmgate.survey.line import Limits, Line, Trouble
from mitmgate.wire.jsonrpc import Failure, Request, Result
from mitmgate.wire.recognise import KNOWN_REVISIONS, VERSION_KEY

LEGACY_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
_META = "io.modelcontextprotocol"

# Not our name: a server that wants to look harmless to scanners would look for it.
_CLIENT = {"name": "mcp-client", "version": "1.0"}

LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""The requests that say what a server offers, and the member that holds it."""

_CAPABILITY = {"resources/templates/list": "resources"}
_TEXTUAL = ("text/", "json", "xml", "yaml", "html", "javascript")


@dataclass(frozen=True, slots=True)
class Answer:
    """The *result* of one request; *target* is the prompt or resource that it was about.

    ``page`` counts from 1. ``failed``: *result* is the error object of JSON-RPC.
    """

    method: str
    result: Any
    target: str | None = None
    page: int = 1
    failed: bool = False


@dataclass(slots=True)
class Gathered:
    """What a server has said so far, and in ``gaps``, sentence by sentence, what was not seen."""

    version: str | None = None
    answers: list[Answer] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


class Session:
    """One look at one server. Whatever ends it early, *gathered* holds what was seen till then."""

    def __init__(self, line: Line, gathered: Gathered, limits: Limits) -> None:
        self._line = line
        self._gathered = gathered
        self._limits = limits
        self._number = 0
        self._modern = False

    async def greet(self) -> None:
        """Agree on a revision: the sessions of 2025-11-25, else 2026-07-28, which has none.

        Trouble where the server takes neither.
        """
        client = {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
        first: Trouble | None = None
        try:
            answer = await self._ask("initialize", client)
        except Trouble as trouble:
            if trouble.status is None or trouble.status >= 500:
                raise
            first = trouble
        else:
            if isinstance(answer, Result):
                await self._begin(answer.result)
                return
            first = Trouble(f"it answers initialize with the error {_code(answer)}")
        await self._discover(first)

    async def _begin(self, result: Any) -> None:
        version = result.get("protocolVersion") if isinstance(result, Mapping) else None
        if not isinstance(version, str):
            raise Trouble("it answers initialize without a protocol version: that is not MCP")
        self._gathered.version = version if version in KNOWN_REVISIONS else "an unknown revision"
        self._gathered.answers.append(Answer("initialize", result))
        # Whatever it named goes back into a header: one that we know, or the one we asked for.
        self._line.settle(version if version in KNOWN_REVISIONS else LEGACY_VERSION)
        await self._line.tell("notifications/initialized")

    async def _discover(self, first: Trouble) -> None:
        self._modern = True
        self._line.settle(MODERN_VERSION)
        try:
            answer = await self._ask("server/discover")
        except Trouble:
            raise first from None
        if isinstance(answer, Failure):
            raise first
        if not isinstance(answer.result, Mapping) or "capabilities" not in answer.result:
            raise Trouble("it answers server/discover without capabilities: that is not MCP")
        self._gathered.version = MODERN_VERSION
        self._gathered.answers.append(Answer("server/discover", answer.result))

    async def look(self, *, deep: bool) -> None:
        """Ask for every list to its end; with *deep* also for prompts and texts in them."""
        for method in LISTS:
            await self._list(method)
        if deep:
            for method, params in self._readable():
                answer = await self._ask(method, params)
                target = str(next(iter(params.values())))
                self._keep(method, answer, target=target)

    async def _list(self, method: str) -> None:
        cursor: str | None = None
        seen: set[str] = set()
        for page in range(1, self._limits.pages + 1):
            try:
                answer = await self._ask(method, {"cursor": cursor} if cursor is not None else None)
            except Trouble as trouble:
                # Some answer with a bare status where they have nothing of the kind.
                if trouble.status is None or page > 1 or self._offers(method):
                    raise
                return
            if not self._keep(method, answer, page=page):
                return
            cursor = _next_cursor(answer)
            if cursor is None:
                return
            if cursor in seen:
                self._gathered.gaps.append(f"{method} repeats itself from page {page} on")
                return
            seen.add(cursor)
        self._gathered.gaps.append(f"{method} has more than {self._limits.pages} pages")

    def _keep(
        self, method: str, answer: Result | Failure, *, target: str | None = None, page: int = 1
    ) -> bool:
        """Note *answer*; say whether it is a result."""
        if isinstance(answer, Result):
            self._gathered.answers.append(Answer(method, answer.result, target, page))
            return True
        self._gathered.answers.append(Answer(method, answer.error, target, page, failed=True))
        if method in LISTS and (page > 1 or self._offers(method)):
            self._gathered.gaps.append(f"{method} is answered with the error {_code(answer)}")
        return False

    def _offers(self, method: str) -> bool:
        capabilities = self._gathered.answers[0].result.get("capabilities")
        name = _CAPABILITY.get(method, LISTS[method])
        # Few servers have templates, and many that have none answer with an error.
        known = isinstance(capabilities, Mapping) and name in capabilities
        return known and method != "resources/templates/list"

    def _readable(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield requests for the content of what was listed, up to the limit of each kind."""
        listed = [(one.method, one.result) for one in self._gathered.answers if not one.failed]
        left = dict.fromkeys(("prompts/get", "resources/read"), self._limits.read)
        for method, result in listed:
            for item in items_of(method, result):
                asked = _reading(method, item)
                if asked is not None and left[asked[0]] > 0:
                    left[asked[0]] -= 1
                    yield asked

    async def _ask(self, method: str, params: dict[str, Any] | None = None) -> Result | Failure:
        self._number += 1
        if self._modern:
            meta = {
                VERSION_KEY: MODERN_VERSION,
                f"{_META}/clientInfo": _CLIENT,
                f"{_META}/clientCapabilities": {},
            }
            params = (params or {}) | {"_meta": meta}
        return await self._line.ask(Request(self._number, method, params))


def items_of(method: str, result: Any) -> list[Any]:
    """Return what the *result* of the list *method* lists."""
    items = result.get(LISTS[method]) if method in LISTS and isinstance(result, Mapping) else None
    return items if isinstance(items, list) else []


def _reading(method: str, item: Any) -> tuple[str, dict[str, Any]] | None:
    if not isinstance(item, Mapping):
        return None
    if method == "prompts/list" and isinstance(name := item.get("name"), str):
        given = item.get("arguments")
        wanted = given if isinstance(given, list) else []
        needed = any(isinstance(one, Mapping) and one.get("required") is True for one in wanted)
        return None if needed else ("prompts/get", {"name": name})
    if method == "resources/list" and isinstance(uri := item.get("uri"), str):
        kind = item.get("mimeType")
        textual = not isinstance(kind, str) or any(part in kind.lower() for part in _TEXTUAL)
        return ("resources/read", {"uri": uri}) if textual else None
    return None


def _next_cursor(answer: Result | Failure) -> str | None:
    result = answer.result if isinstance(answer, Result) else None
    cursor = result.get("nextCursor") if isinstance(result, Mapping) else None
    return cursor if isinstance(cursor, str) and cursor else None


def _code(failure: Failure) -> str:
    code = failure.error.get("code")
    return str(code) if isinstance(code, int) and abs(code) < 1_000_000 else "without a code"
