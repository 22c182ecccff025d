"""The streamable HTTP server that the SDK clients talk to: ``CERTIFICATE json|sse``.

The Python SDK's own server: sessions up to 2025-11-25 and 2026-07-28 on one endpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve, Sample
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CreateMessageResult, SamplingMessage, TextContent
from pydantic import BaseModel
from sdk_client_tools import add_tools, ran, serve

# The SDK's check of Host headers is for servers that browsers reach on localhost.
ANYBODY = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class Colour(BaseModel):
    """What the user is asked for."""

    colour: str


def ask_colour() -> Elicit[Colour]:
    """Ask the user, in the way of the revision that was agreed on."""
    return Elicit("Which colour do you like?", Colour)


def ask_model() -> Sample:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(text="Name an animal."))
    return Sample([message], max_tokens=10)


def build() -> MCPServer:
    """Return the server with all that it offers."""
    server = MCPServer("notes", version="1.0", log_level="ERROR")
    add_tools(server)

    @server.tool()
    async def count_notes(context: Context) -> str:
        ran("count_notes")
        await context.report_progress(1, 2, "half of them")
        return "There are 2 notes."

    @server.tool()
    def paint(colour: Annotated[Colour, Resolve(ask_colour)]) -> str:
        ran("paint")
        return f"Painted it {colour.colour}."

    @server.tool()
    def think(idea: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
        ran("think")
        return f"It thought of a {getattr(idea.content, 'text', '')}."

    return server


if __name__ == "__main__":
    in_json = sys.argv[2] == "json"
    app = build().streamable_http_app(json_response=in_json, transport_security=ANYBODY)
    serve(app, Path(sys.argv[1]))
