"""The control socket's client: the event stream with its reconnects, and the answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
from pydantic import TypeAdapter, ValidationError

from mitmgate.control.models import Decided, DecideRequest, Event, Model
from mitmgate_tui.text import clean

# A state line comes every second; this long without one means that the proxy is gone.
SILENCE = 5.0
BACKOFF = (0.25, 0.5, 1.0, 2.0)
MAX_LINE = 64 * 1024 * 1024
MAX_ANSWER = 16 * 1024 * 1024
TOO_LATE = "Too late: the call already left the queue. The live view tells how."
UNKNOWN = "The proxy did not answer: it is unknown whether it counted."

# Nothing here is TLS: loading the authorities that httpx would trust takes 20 ms each time.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True, slots=True)
class Gone:
    """The stream broke; the client tries again by itself."""

    why: str


@dataclass(frozen=True, slots=True)
class Strange:
    """A line that this version cannot read; it was left out."""


type Heard = Event | Gone | Strange


class Refused(Exception):
    """The proxy did not do what was asked; the text is for the operator."""


class Absent(Refused):
    """The proxy does not have that endpoint."""


class Gate(Protocol):
    """What the console needs from a proxy."""

    @property
    def has_key(self) -> bool:
        """Whether an operator key is at hand."""

    def follow(self) -> AsyncGenerator[Heard]:
        """Yield what the proxy says, for ever."""

    @property
    def operator(self) -> str | None:
        """Under which name answers are given."""
        return None

    async def decide(self, entry: str, asked: DecideRequest) -> Decided:
        """Answer a pending entry, or raise :class:`Refused`."""
        answer = await self.post(f"pending/{segment(entry)}", asked)
        try:
            return Decided.model_validate_json(answer)
        except ValidationError:  # it was taken: the status says so
            return Decided(id=entry, answer=asked.decision)

    async def post(self, path: str, body: Model, /) -> bytes:
        """Send *body* to ``/v1/`` *path* and return the answer, or raise :class:`Refused`."""

    async def get(self, path: str) -> bytes:
        """Return what stands at ``/v1/`` *path*, or raise :class:`Refused` (:class:`Absent`)."""


class Client(Gate):
    """A gate behind a Unix socket."""

    def __init__(
        self,
        socket: Path,
        key: str | None,
        *,
        operator: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._socket, self._key, self._operator, self._sleep = socket, key, operator, sleep

    @property
    def has_key(self) -> bool:
        """Whether an operator key is at hand."""
        return self._key is not None

    @property
    def operator(self) -> str | None:
        """Under which name answers are given."""
        return self._operator

    async def follow(self) -> AsyncGenerator[Heard]:
        """Yield events; when the stream breaks, say so and try again, slower each time."""
        failures = 0
        while True:
            why = "the proxy closed the stream"
            try:
                async with contextlib.aclosing(self._stream()) as stream:
                    async for heard in stream:
                        failures = 0
                        yield heard
            except (httpx.HTTPError, OSError, Refused) as problem:
                why = str(problem) or type(problem).__name__
            yield Gone(why)
            await self._sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1

    async def post(self, path: str, body: Model) -> bytes:
        """Send *body* under the operator's name; where the answer is lost nobody knows."""
        own = {"operator": self._operator, "via": "console"}
        known = {name: value for name, value in own.items() if name in type(body).model_fields}
        try:
            async with self._http() as http:
                reply = await http.post(
                    f"http://mitmgate/v1/{path}",
                    content=body.model_copy(update=known).model_dump_json(),
                    headers={"content-type": "application/json"},
                )
        except (httpx.ConnectError, httpx.ConnectTimeout) as problem:
            raise Refused("The proxy is out of reach: nothing was decided.") from problem
        except (httpx.HTTPError, OSError) as problem:
            raise Refused(UNKNOWN) from problem
        if not reply.is_success:
            raise Refused(_refusal(reply))
        return reply.content

    async def get(self, path: str) -> bytes:
        """Return what stands at ``/v1/`` *path*, or raise :class:`Refused` (:class:`Absent`)."""
        try:
            async with (
                self._http() as http,
                http.stream("GET", f"http://mitmgate/v1/{path}") as reply,
            ):
                if reply.status_code == 404:
                    raise Absent("The proxy does not offer this.")
                if not reply.is_success:
                    raise Refused(_untold(reply.status_code))
                body = bytearray()
                async for chunk in reply.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise Refused("The proxy's answer is too long to be shown.")
                return bytes(body)
        except (httpx.HTTPError, OSError) as problem:
            raise Refused("The proxy did not answer.") from problem

    def _http(self) -> httpx.AsyncClient:
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self._socket), verify=_NO_TLS),
            headers=headers,
            timeout=SILENCE,
            # An agent's host sets HTTPS_PROXY to the gate itself: the key must not go there,
            # whatever a later httpx makes of a transport and a proxy together.
            trust_env=False,
        )

    async def _stream(self) -> AsyncGenerator[Heard]:
        async with self._http() as http, http.stream("GET", "http://mitmgate/v1/events") as reply:
            if not reply.is_success:
                raise Refused(f"the proxy answered {reply.status_code}")
            async for line in _lines(reply.aiter_bytes()):
                yield _event(line)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # httpx splits lines like str.splitlines: a tool named with U+2028 would cut its own row out.
    rest = bytearray()
    async for chunk in chunks:
        *whole, tail = chunk.split(b"\n")
        for line in whole:
            yield bytes(rest) + line
            rest.clear()
        rest += tail
        if len(rest) > MAX_LINE:
            raise Refused("the proxy sent a line without an end")


def _event(line: bytes) -> Heard:
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return Strange()


def segment(entry: str) -> str:
    """Return *entry* as one segment of a path."""
    # An id is the proxy's, but it becomes a path: nothing in it may climb out of the folder.
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"%{byte:02X}"
        for byte in entry.encode("utf-8", "replace")
    )


def _refusal(reply: httpx.Response) -> str:
    match reply.status_code:
        case 403 | 401:
            return "The proxy did not accept the operator key. Nothing was decided."
        case 404 | 409 | 507:
            return _problem(reply) or TOO_LATE
        case status:
            return f"The proxy refused the answer ({status}): {_detail(reply)}"


def _untold(status: int) -> str:
    if status in (401, 403):
        return "The proxy tells this to operators only: the operator key is missing."
    return f"The proxy did not tell this ({status})."


def _detail(reply: httpx.Response) -> str:
    return _problem(reply) or _problem(reply, "title") or "no reason given"


def _problem(reply: httpx.Response, member: str = "detail") -> str | None:
    """Return the sentence of a problem document (RFC 9457)."""
    try:
        problem = json.loads(reply.content)
    except ValueError:
        return None
    detail = problem.get(member) if isinstance(problem, dict) else None
    return clean(str(detail))[:300] if detail else None
