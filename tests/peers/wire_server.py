"""The Python SDK's server over all its transports: ``CERTIFICATE``, ``/mcp`` and ``/sse``.

It prints JSON lines: ``{"port": N}``, then ``{"arrived": {...}}`` for each HTTP request before it
is answered, ``{"ran": ...}`` for what a tool did, ``{"gone": METHOD}`` where the other side left
before its answer was complete, and ``{"mark": N}`` for ``GET /mark/N``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from sdk_client_tools import tell
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send
from wire_tools import BUS, PAGES, RESUMED, TOOLS, Call, Result

ANYBODY = TransportSecuritySettings(enable_dns_rebinding_protection=False)
SKILL = "---\nname: packing\ndescription: How to pack.\n---\nRoll the shirts."

type Context = ServerRequestContext[Any, Any]


class Events(EventStore):
    """Every event of every stream, by its place in the list."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep *message*; return its place."""
        self._sent.append((stream_id, message))
        return str(len(self._sent) - 1)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what came later on the stream of *last_event_id*."""
        after = int(last_event_id)
        stream = self._sent[after][0]
        for number, (its_stream, message) in enumerate(self._sent):
            if number > after and its_stream == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Observed:
    """The app, with a line for each request that comes and for each client that leaves early."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/mark/"):
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        target = f"{scope['path']}?{scope['query_string'].decode()}".removesuffix("?")
        tell(arrived={"method": scope["method"], "target": target, "headers": headers,
                      "body": body.decode("utf-8", "replace")})  # fmt: skip
        if "last-event-id" in headers:
            RESUMED.set()
        given, complete = iter([{"type": "http.request", "body": body}]), asyncio.Event()

        async def read() -> Message:
            message = next(given, None) or await receive()
            if message["type"] == "http.disconnect" and not complete.is_set():
                tell(gone=headers.get("mcp-method", scope["method"]))
            return message

        async def write(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                complete.set()

        await self._app(scope, read, write)


async def list_tools(
    _: Context, params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """Answer with a page that any cache may keep."""
    names, following = PAGES[params.cursor if params is not None else None]
    return types.ListToolsResult(
        tools=[TOOLS[name][0] for name in names], next_cursor=following,
        ttl_ms=60_000, cache_scope="public",
    )  # fmt: skip


def schema_of(name: str) -> dict[str, Any] | None:
    return TOOLS[name][0].input_schema if name in TOOLS else None


async def call_tool(context: Context, params: types.CallToolRequestParams) -> Result:
    return await TOOLS[params.name][1](Call(context, params))


async def read_resource(
    _: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    """Answer with the text that the URI names; one skill holds a credential."""
    tell(ran=params.uri)
    text = f"The text of {params.uri}."
    if params.uri.startswith("skill://"):
        text = SKILL
    if params.uri.startswith("skill://leaky/"):
        text += "\nThe key is " + "AKIA" + "QYLPMN5HHHFPZAM2."
    content = types.TextResourceContents(uri=params.uri, mime_type="text/markdown", text=text)
    return types.ReadResourceResult(contents=[content])


def build_server() -> Server[Any]:
    return Server(
        "wire", version="1.0", get_tool_input_schema=schema_of, on_list_tools=list_tools,
        on_call_tool=call_tool, on_read_resource=read_resource,
        on_subscriptions_listen=ListenHandler(BUS),
    )  # fmt: skip


def build_app() -> Starlette:
    """Return the app: both transports and the marks."""
    server = build_server()
    posts = SseServerTransport("/messages/", security_settings=ANYBODY)

    async def events(request: Request) -> Response:
        async with posts.connect_sse(request.scope, request.receive, request._send) as (
            read,
            write,
        ):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    async def mark(request: Request) -> Response:
        tell(mark=int(request.path_params["number"]))
        return Response()

    return server.streamable_http_app(
        event_store=Events(), retry_interval=50, transport_security=ANYBODY,
        custom_starlette_routes=[
            Route("/sse", events), Route("/mark/{number}", mark),
            Mount("/messages/", app=posts.handle_post_message),  # type: ignore[list-item]
        ],
    )  # fmt: skip


def main(certificate: Path) -> None:
    """Serve with TLS on a free port of loopback until killed."""
    config = uvicorn.Config(
        Observed(build_app()), host="127.0.0.1", port=0, ssl_certfile=str(certificate),
        log_level="error",
    )  # fmt: skip
    listener = config.bind_socket()
    tell(port=listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
