"""A server over WebSocket, which only the first line of the Python SDK has: ``CERTIFICATE``."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sdk_client_tools import add_tools, ran, serve

# By name: type checkers see the SDK of the other line, which has none of these.
FastMCP: Any = import_module("mcp.server.fastmcp").FastMCP
websocket_server: Any = import_module("mcp.server.websocket").websocket_server
types: Any = import_module("mcp.types")


class Colour(BaseModel):
    """What the user is asked for."""

    colour: str


def build() -> Any:
    """Return the server with all that it offers."""
    server = FastMCP("notes", log_level="ERROR")
    add_tools(server)

    async def count_notes() -> str:
        ran("count_notes")
        await server.get_context().report_progress(1, 2, "half of them")
        return "There are 2 notes."

    async def paint() -> str:
        answer = await server.get_context().elicit("Which colour do you like?", Colour)
        ran("paint")
        return f"Painted it {answer.data.colour}."

    async def think() -> str:
        text = types.TextContent(type="text", text="Name an animal.")
        message = types.SamplingMessage(role="user", content=text)
        session = server.get_context().session
        idea = await session.create_message(messages=[message], max_tokens=10)
        ran("think")
        return f"It thought of a {idea.content.text}."

    for tool in (count_notes, paint, think):
        server.tool()(tool)
    return server


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Run one session on each socket."""
    if scope["type"] == "websocket":
        server = build()._mcp_server  # only the inner server runs on streams
        async with websocket_server(scope, receive, send) as (read, write):
            await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(app, Path(sys.argv[1]))
