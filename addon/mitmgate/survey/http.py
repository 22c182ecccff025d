"""Streamable HTTP as a client speaks it, of both eras: POST, answered by JSON or a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from urllib.parse import urljoin, urlsplit

import httpx

from mitmgate.errors import WireError
from mitmgate.survey.line import (
    LOCKED,
    Line,
    Meter,
    Trouble,
    answers,
    encoded,
    locked_out,
    messages_in,
    notification,
    reply_to,
)
from mitmgate.wire.body import BodyDecoder, decode_text
from mitmgate.wire.jsonrpc import Failure, Request, Result
from mitmgate.wire.mirror import encode_value
from mitmgate.wire.recognise import MODERN_VERSIONS, target_name
from mitmgate.wire.sse import SseBlock, SseDecoder

EVENTS = "text/event-stream"
JSON = "application/json"
_POST = {"accept": f"{JSON}, {EVENTS}", "content-type": JSON}
_REDIRECTS = 3
_GOODBYE = 2.0  # seconds that the end of a session may take


class HttpLine(Line):
    """Requests to the endpoint *url*, each a POST of its own."""

    def __init__(self, client: httpx.AsyncClient, url: str, meter: Meter) -> None:
        self._client = client
        self._url = url
        self._meter = meter
        self._version: str | None = None
        self._session: str | None = None

    def settle(self, version: str) -> None:
        """Say the revision in every further header."""
        self._version = version

    async def ask(self, request: Request) -> Result | Failure:
        """POST *request*; a redirect within the same origin is followed, as clients do."""
        for _ in range(_REDIRECTS + 1):
            headers = self._headers(request)
            async with self._client.stream(
                "POST", self._url, content=encoded(request), headers=headers
            ) as response:
                if response.status_code not in {307, 308}:
                    return await self._answer(response, request)
                self._url = _moved(self._url, response)
        raise Trouble("it redirects again and again")

    async def tell(self, method: str) -> None:
        """POST a notification; what is answered does not count."""
        await self._send(notification(method))

    async def goodbye(self) -> None:
        """End the session, if there is one and the server cares."""
        if self._session is not None:
            with suppress(httpx.HTTPError, TimeoutError):
                async with (
                    asyncio.timeout(_GOODBYE),
                    self._client.stream("DELETE", self._url, headers=self._headers(None)),
                ):
                    pass

    async def _send(self, data: bytes) -> None:
        async with self._client.stream(
            "POST", self._url, content=data, headers=_POST | self._headers(None)
        ):
            pass

    def _headers(self, request: Request | None) -> dict[str, str]:
        headers = dict(_POST) if request is not None else {}
        if self._version is not None:
            headers["mcp-protocol-version"] = self._version
        if self._session is not None:
            headers["mcp-session-id"] = self._session
        if request is not None and self._version in MODERN_VERSIONS:
            headers["mcp-method"] = request.method
            name = target_name(request.method, request.params)
            if name is not None:
                headers["mcp-name"] = encode_value(name)
        return headers

    async def _answer(self, response: httpx.Response, request: Request) -> Result | Failure:
        kind = media_type(response)
        if response.is_success and kind == EVENTS:
            self._learn(response, request)
            return await self._streamed(response, request)
        if not response.is_success:
            return await self._refused(response, request)
        if kind != JSON:
            shown = f"{kind!r}" if kind else "nothing"
            raise Trouble(f"it answers with {shown}, not with MCP", "is that the endpoint?")
        self._learn(response, request)
        for message in messages_in(await self._text(response)):
            if answers(message, request) and isinstance(message, Result | Failure):
                return message
        raise Trouble("its answer has another id than the request")

    def _learn(self, response: httpx.Response, request: Request) -> None:
        if request.method == "initialize":
            self._session = response.headers.get("mcp-session-id")

    async def _streamed(self, response: httpx.Response, request: Request) -> Result | Failure:
        async with aclosing(blocks(response, self._meter)) as events:
            async for block in events:
                if block.event != "message" or not block.data:
                    continue
                for message in messages_in(block.data):
                    if isinstance(message, Request):
                        await self._send(reply_to(message))
                    elif isinstance(message, Result | Failure) and answers(message, request):
                        return message
        raise Trouble("it ended its stream before the answer")

    async def _refused(self, response: httpx.Response, request: Request) -> Failure:
        status = response.status_code
        if status in LOCKED:
            raise locked_out(status)
        if media_type(response) == JSON:
            try:
                found = messages_in(await self._text(response))
            except WireError:
                found = ()
            for message in found:
                if isinstance(message, Failure) and answers(message, request):
                    return message
        raise Trouble(f"it answers with the status {status}", status=status)

    async def _text(self, response: httpx.Response) -> str:
        async with aclosing(pieces(response, self._meter)) as parts:
            body = b"".join([piece async for piece in parts])
        return decode_text(body, response.headers.get("content-type"))


def media_type(response: httpx.Response) -> str:
    """Return the media type of *response* in lower case, without its parameters."""
    kind = str(response.headers.get("content-type", ""))
    return kind.partition(";")[0].strip().lower()[:60]


async def pieces(response: httpx.Response, meter: Meter) -> AsyncGenerator[bytes]:
    """Yield the body of *response*, decoded and counted in pieces of bounded size."""
    # The coded bytes count as well, so that a server cannot send them without end.
    decoder = BodyDecoder(response.headers.get("content-encoding"), limit=meter.left)
    try:
        async for chunk in response.aiter_raw():
            for piece in decoder.pieces(chunk):
                meter.spend(len(piece))
                yield piece
    except WireError as error:
        raise (meter.overdrawn() if error.code == "body_too_large" else error) from None


async def blocks(response: httpx.Response, meter: Meter) -> AsyncGenerator[SseBlock]:
    """Yield the events of the stream that *response* is."""
    decoder = SseDecoder(limit=meter.left)
    async with aclosing(pieces(response, meter)) as parts:
        async for piece in parts:
            for block in decoder.feed(piece):
                yield block


def same_origin(one: str, other: str) -> bool:
    """Say whether two URLs have scheme, host and port in common."""
    left, right = httpx.URL(one), httpx.URL(other)
    return (left.scheme, left.host, left.port) == (right.scheme, right.host, right.port)


def _moved(url: str, response: httpx.Response) -> str:
    """Return where *response* sends us, or raise Trouble where that is another server."""
    target = urljoin(url, str(response.headers.get("location", "")))
    if urlsplit(target).scheme in {"http", "https"} and same_origin(url, target):
        return target
    # The headers hold credentials, and nobody meant them for that other server.
    raise Trouble("it redirects to another server", "give the address of that one if you trust it")
