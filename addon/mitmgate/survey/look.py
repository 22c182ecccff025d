"""The two ways to a server, an address and a command, and what can go wrong there in words."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.survey.http import HttpLine
from mitmgate.survey.legacy import legacy_line
from mitmgate.survey.line import Limits, Line, Meter, Trouble
from mitmgate.survey.session import Answer, Gathered, Session
from mitmgate.survey.stdio import stdio_line

_NO_POST = frozenset({400, 404, 405, 406, 415, 422, 501})
_SHORTEST_SECRET = 6
_KEY_IN_PATH = 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server said of itself.

    ``place`` is its address without user, query and fragment, or its command's first word.
    ``version`` is the revision that was spoken. ``gaps`` say what was not seen: where there are
    some, silence about the server means nothing. ``private`` are texts that no report may show.
    """

    place: str
    version: str | None
    answers: tuple[Answer, ...]
    gaps: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Url:
    """A server at an address; *headers* go to its origin and nowhere else."""

    url: str
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    ca: Path | None = None

    @property
    def place(self) -> str:
        """The address for people: user, query, fragment and long words may be credentials."""
        parts = urlsplit(self.url)
        words = ["[private]" if _may_be_key(word) else word for word in parts.path.split("/")]
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{'/'.join(words)}"

    def private(self) -> Iterator[str]:
        """Yield what may be a credential in the address or a header."""
        parts = urlsplit(self.url)
        yield from (parts.password or "", parts.username or "")
        yield from (value for _, value in parse_qsl(parts.query))
        for _, value in self.headers:
            yield value
            yield value.rpartition(" ")[2]


def _may_be_key(word: str) -> bool:
    """Say whether a *word* of a path is what hosted servers put there to know who calls."""
    return len(word) >= _KEY_IN_PATH and any(c.isdigit() for c in word)


@dataclass(frozen=True, slots=True)
class Command:
    """A server to start; *show* is given what it writes to standard error."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    show: Callable[[str], None] | None = None

    @property
    def place(self) -> str:
        """The program alone: arguments may be credentials."""
        return self.words[0]

    def private(self) -> Iterator[str]:
        """Yield the values that the server finds in its environment."""
        yield from self.environment.values()


def look(target: Url | Command, limits: Limits, *, deep: bool = False) -> Survey:
    """Ask the server at *target* what it offers; *deep* also reads its prompts and resources.

    ConfigError where nothing was learned; what ends the look later becomes a gap.
    """
    return asyncio.run(_Look(target, limits, deep=deep).survey())


class _Look:
    def __init__(self, target: Url | Command, limits: Limits, *, deep: bool) -> None:
        self._target = target
        self._limits = limits
        self._deep = deep
        self._meter = Meter(limits.size)
        self._gathered = Gathered()

    async def survey(self) -> Survey:
        target, gathered = self._target, self._gathered
        try:
            if isinstance(target, Url):
                await self._over_http(target)
            else:
                await self._over_pipes(target)
        except (Trouble, TimeoutError, WireError, httpx.HTTPError, OSError) as error:
            message, hint = _in_words(error, self._limits.seconds)
            if not gathered.answers:
                raise ConfigError(Problem(message, file=target.place, hint=hint)) from None
            gathered.gaps.append(message)
        private = sorted({text for text in target.private() if len(text) >= _SHORTEST_SECRET})
        answers, gaps = tuple(gathered.answers), tuple(gathered.gaps)
        return Survey(target.place, gathered.version, answers, gaps, tuple(private))

    async def _over_pipes(self, target: Command) -> None:
        async with stdio_line(
            target.words, target.environment, self._meter, show=target.show
        ) as line:
            async with asyncio.timeout(self._limits.seconds):
                session = self._session(line)
                await session.greet()
                await session.look(deep=self._deep)

    async def _over_http(self, target: Url) -> None:
        async with _client(target) as client:
            line = HttpLine(client, target.url, self._meter)
            try:
                async with asyncio.timeout(self._limits.seconds):
                    await self._over_posts(client, target, line)
            finally:
                await line.goodbye()

    async def _over_posts(self, client: httpx.AsyncClient, target: Url, line: HttpLine) -> None:
        session = self._session(line)
        try:
            await session.greet()
        except Trouble as trouble:
            # What takes no POST may be a server of 2024-11-05, with a stream to GET.
            if trouble.status not in _NO_POST:
                raise
            await self._over_stream(client, target.url, trouble)
            return
        await session.look(deep=self._deep)

    async def _over_stream(self, client: httpx.AsyncClient, url: str, refused: Trouble) -> None:
        try:
            async with legacy_line(client, url, self._meter) as line:
                session = self._session(line)
                await session.greet()
                await session.look(deep=self._deep)
        except Trouble as trouble:
            if trouble.status is None:
                raise
            raise Trouble(f"{refused}, and it opens no stream: no MCP is there") from None

    def _session(self, line: Line) -> Session:
        return Session(line, self._gathered, self._limits)


@asynccontextmanager
async def _client(target: Url) -> AsyncIterator[httpx.AsyncClient]:
    trusted = httpx.create_ssl_context()
    if target.ca is not None:
        try:
            trusted.load_verify_locations(cafile=target.ca)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror if not isinstance(error, ssl.SSLError) else "no certificate"
            raise ConfigError(
                Problem(f"cannot be used: {reason}", file=str(target.ca), key="--ca")
            ) from None
    # No packing: few servers do it for short answers, and what is packed is only counted later.
    headers = [*target.headers, ("accept-encoding", "identity")]
    async with httpx.AsyncClient(verify=trusted, headers=headers, timeout=None) as client:  # noqa: S113 - one deadline holds for the whole look
        yield client


def _in_words(error: Exception, seconds: float) -> tuple[str, str | None]:
    """Return one sentence for *error*, and what to do; nothing of either side is quoted."""
    match error:
        case Trouble():
            return str(error), error.hint
        case TimeoutError():
            return f"it was not done within {seconds:g} seconds", "--timeout gives it longer"
        case WireError():
            return f"it sends what clients read in different ways: {error}", None
        case _:
            pass
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is no good: {cause.verify_message}", "see --ca"
            case ssl.SSLError():
                return "it does not speak TLS as we do", None
            case socket.gaierror():
                return "there is no such host", None
            case ConnectionRefusedError():
                return "nobody listens there", "is it running?"
            case _:
                pass
    if isinstance(error, httpx.ConnectError | OSError):
        return "it cannot be reached", None
    return "the connection broke", None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo and len(seen) < 20:
        one = todo.pop()
        if one not in seen:
            seen.append(one)
            yield one
            todo += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
            todo += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
