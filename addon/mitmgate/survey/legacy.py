"""HTTP+SSE of 2024-11-05: one stream that everything comes back on, and POSTs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urljoin

import httpx

from mitmgate.survey.http import EVENTS, JSON, blocks, media_type, same_origin
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
from mitmgate.wire.jsonrpc import Failure, Request, Result
from mitmgate.wire.sse import SseBlock

_PATIENCE = 1.0  # seconds for the end of a POST whose answer is there


class LegacyLine(Line):
    """Requests POSTed to *target*, whose answers come in *events*."""

    def __init__(
        self, client: httpx.AsyncClient, target: str, events: AsyncIterator[SseBlock]
    ) -> None:
        self._client = client
        self._target = target
        self._events = events

    def settle(self, version: str) -> None:
        """Do nothing: no header of that transport says a revision."""

    async def ask(self, request: Request) -> Result | Failure:
        """POST *request* and read the stream meanwhile: a server may wait until it is read."""
        posting = asyncio.create_task(self._post(encoded(request)))
        posting.add_done_callback(_seen)
        try:
            answer = await self._answer(request, posting)
            await asyncio.wait({posting}, timeout=_PATIENCE)
            return answer
        finally:
            posting.cancel()

    async def tell(self, method: str) -> None:
        """POST a notification."""
        await self._post(notification(method))

    async def _answer(self, request: Request, posting: asyncio.Task[None]) -> Result | Failure:
        while True:
            reading = asyncio.ensure_future(anext(self._events, None))
            try:
                await asyncio.wait({reading, posting}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    posting.result()  # a refusal ends the waiting
                block = await reading
            finally:
                reading.cancel()
            if block is None:
                raise Trouble("it ended its stream before the answer")
            for message in messages_in(block.data) if _is_message(block) and block.data else ():
                if isinstance(message, Request):
                    await self._post(reply_to(message))
                elif isinstance(message, Result | Failure) and answers(message, request):
                    return message

    async def _post(self, data: bytes) -> None:
        headers = {"content-type": JSON}
        async with self._client.stream(
            "POST", self._target, content=data, headers=headers
        ) as response:
            if not response.is_success:
                raise Trouble(f"it answers with the status {response.status_code}")


@asynccontextmanager
async def legacy_line(
    client: httpx.AsyncClient, url: str, meter: Meter
) -> AsyncIterator[LegacyLine]:
    """Open the stream at *url* and learn from it where to POST; Trouble where it is none."""
    async with client.stream("GET", url, headers={"accept": EVENTS}) as response:
        if response.status_code in LOCKED:
            raise locked_out(response.status_code)
        if not response.is_success or media_type(response) != EVENTS:
            raise Trouble("it opens no stream of events", status=response.status_code)
        async with aclosing(blocks(response, meter)) as events:
            yield LegacyLine(client, await _endpoint(url, events), events)


async def _endpoint(url: str, events: AsyncIterator[SseBlock]) -> str:
    async for block in events:
        if block.event == "endpoint" and block.data:
            target = urljoin(url, block.data.strip())
            if not same_origin(url, target):
                raise Trouble("it wants its messages sent to another server")
            return target
    raise Trouble("its stream never says where to send messages")


def _is_message(block: SseBlock) -> bool:
    return block.event == "message"


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
