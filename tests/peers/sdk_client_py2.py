"""The client of the Python SDK, second line: ``URL legacy|auto|sse``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.client import Client
from mcp.client.sse import sse_client
from sdk_client_steps import COLOUR, IDEA, called, run_steps, text_of


async def fill_in(*_: Any, **__: Any) -> types.ElicitResult:
    """Be the user."""
    return types.ElicitResult(action="accept", content={"colour": COLOUR})


async def sample(*_: Any, **__: Any) -> types.CreateMessageResult:
    """Be the model."""
    text = types.TextContent(text=IDEA)
    return types.CreateMessageResult(role="assistant", content=text, model="none")


class Session:
    """The steps, on this SDK."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, name: str, arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
        result = await self._client.call_tool(name, arguments, progress_callback=progress)
        text = text_of(result.content)
        return called(text, failed=bool(result.is_error), structured=result.structured_content)

    async def prompt(self, name: str, arguments: dict[str, Any]) -> str:
        result = await self._client.get_prompt(name, arguments)
        return text_of(message.content for message in result.messages)

    async def resource(self, uri: str) -> str:
        return text_of((await self._client.read_resource(uri)).contents)


async def main(url: str, mode: str) -> None:
    """Connect and do what is asked."""
    legacy_sse = mode == "sse"
    client = Client(
        sse_client(url) if legacy_sse else url, mode="legacy" if legacy_sse else mode,
        elicitation_callback=fill_in, sampling_callback=sample,
    )  # fmt: skip
    async with client:
        await run_steps(Session(client), MCPError, client.protocol_version)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
