"""The client of FastMCP: ``URL legacy|auto|sse``."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import Any

from sdk_client_steps import COLOUR, IDEA, called, run_steps, text_of

# By name: type checkers do not see this package.
Client = import_module("fastmcp").Client
SSETransport = import_module("fastmcp.client.transports").SSETransport
ToolError: type[Exception] = import_module("fastmcp.exceptions").ToolError
MCPError: type[Exception] = import_module("mcp").MCPError


async def fill_in(_message: str, _type: Any, _params: Any, _context: Any) -> dict[str, str]:
    """Be the user."""
    return {"colour": COLOUR}


async def sample(_messages: Any, _params: Any, _context: Any) -> str:
    """Be the model."""
    return IDEA


class Session:
    """The steps, on this client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self._client.list_tools()]

    async def call(self, name: str, arguments: dict[str, Any], progress: Any) -> dict[str, Any]:
        try:
            result = await self._client.call_tool(name, arguments, progress_handler=progress)
        except ToolError as error:
            return called(str(error), failed=True, structured=None)
        text = text_of(result.content)
        return called(text, failed=result.is_error, structured=result.structured_content)

    async def prompt(self, name: str, arguments: dict[str, Any]) -> str:
        result = await self._client.get_prompt(name, arguments)
        return text_of(message.content for message in result.messages)

    async def resource(self, uri: str) -> str:
        return text_of(await self._client.read_resource(uri))


async def main(url: str, mode: str) -> None:
    """Connect and do what is asked."""
    legacy_sse = mode == "sse"
    client = Client(
        SSETransport(url) if legacy_sse else url, mode="legacy" if legacy_sse else mode,
        elicitation_handler=fill_in, sampling_handler=sample,
    )  # fmt: skip
    async with client:
        await run_steps(Session(client), MCPError, client.protocol_version)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
