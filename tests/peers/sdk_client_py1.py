"""The client of the Python SDK, first line: ``URL http|sse|websocket``."""

from __future__ import annotations

import asyncio
import sys
import warnings
from importlib import import_module
from typing import Any

from sdk_client_steps import COLOUR, IDEA, called, run_steps, text_of

# By name: type checkers see the SDK of the other line, in which much of this is gone.
mcp: Any = import_module("mcp")
types: Any = import_module("mcp.types")
McpError: type[Exception] = import_module("mcp.shared.exceptions").McpError

TRANSPORTS = {
    "http": ("mcp.client.streamable_http", "streamable_http_client"),
    "sse": ("mcp.client.sse", "sse_client"),
    "websocket": ("mcp.client.websocket", "websocket_client"),
}


async def fill_in(_context: Any, _params: Any) -> Any:
    """Be the user."""
    return types.ElicitResult(action="accept", content={"colour": COLOUR})


async def sample(_context: Any, _params: Any) -> Any:
    """Be the model."""
    text = types.TextContent(type="text", text=IDEA)
    return types.CreateMessageResult(role="assistant", content=text, model="none")


class Session:
    """The steps, on this SDK."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, name: str, arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
        result = await self._client.call_tool(name, arguments, progress_callback=progress)
        text = text_of(result.content)
        return called(text, failed=bool(result.isError), structured=result.structuredContent)

    async def prompt(self, name: str, arguments: dict[str, Any]) -> str:
        result = await self._client.get_prompt(name, arguments)
        return text_of(message.content for message in result.messages)

    async def resource(self, uri: str) -> str:
        return text_of((await self._client.read_resource(uri)).contents)


async def main(url: str, mode: str) -> None:
    """Connect and do what is asked."""
    module, name = TRANSPORTS[mode]
    async with (
        getattr(import_module(module), name)(url) as (read, write, *_),
        mcp.ClientSession(
            read, write, elicitation_callback=fill_in, sampling_callback=sample
        ) as client,
    ):
        agreed = await client.initialize()
        await run_steps(Session(client), McpError, agreed.protocolVersion)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(sys.argv[1], sys.argv[2]))
