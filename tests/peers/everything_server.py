"""A server on the official SDK that offers what the conformance suite asks for, in both eras.

``python everything_server.py [--certfile PEM]`` serves ``/mcp`` on a free port of
loopback and prints one line of JSON once it listens: ``{"port": 12345}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import mcp_types as types
import uvicorn
from everything_server_asks import ask_user, needs
from everything_server_tools import TOOLS, Call, embedded, png
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

NAME = "everything"
LOOPBACK = ("127.0.0.1:*", "localhost:*", "[::1]:*")

type Context = ServerRequestContext[Any, Any]
type PromptAnswer = types.GetPromptResult | types.InputRequiredResult

BUS = InMemorySubscriptionBus()


class Events(EventStore):
    """Everything ever sent, so that a stream that broke can be resumed."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep *message* and return its id, which is its place in the list."""
        self._sent.append((stream_id, message))
        return str(len(self._sent) - 1)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what came on the same stream after *last_event_id*."""
        after = int(last_event_id)
        stream = self._sent[after][0]
        for number, (its_stream, message) in enumerate(self._sent):
            if number > after and its_stream == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


# ----- tools


async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[listed for listed, _ in TOOLS.values()])


def schema_of(name: str) -> dict[str, Any] | None:
    return TOOLS[name][0].input_schema if name in TOOLS else None


async def call_tool(
    context: Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    if params.name not in TOOLS:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    return await TOOLS[params.name][1](Call(context, params, BUS))


# ----- resources

DIRECT = (
    types.Resource(uri="test://static-text", name="static-text", mime_type="text/plain",
                   description="A text that never changes."),
    types.Resource(uri="test://static-binary", name="static-binary", mime_type="image/png",
                   description="An image that never changes."),
    types.Resource(uri="test://watched-resource", name="watched-resource", mime_type="text/plain",
                   description="A resource to subscribe to."),
)  # fmt: skip
TEMPLATE = types.ResourceTemplate(
    uri_template="test://template/{id}/data", name="template", mime_type="application/json",
    description="Data for an id.",
)  # fmt: skip


async def list_resources(
    _: Context, __: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=list(DIRECT))


async def list_templates(
    _: Context, __: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=[TEMPLATE])


async def read_resource(
    _: Context, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    uri = params.uri

    def text(value: str, mime: str = "text/plain") -> types.TextResourceContents:
        return types.TextResourceContents(uri=uri, mime_type=mime, text=value)

    contents: types.TextResourceContents | types.BlobResourceContents
    match uri.removeprefix("test://").split("/"):
        case ["static-text"]:
            contents = text("This is the content of the static text resource.")
        case ["watched-resource"]:
            contents = text("Watched.")
        case ["static-binary"]:
            contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=png())
        case ["template", number, "data"]:
            data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
            contents = text(json.dumps(data), "application/json")
        case _:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
    return types.ReadResourceResult(contents=[contents])


async def accept(_: Context, __: object) -> types.EmptyResult:
    return types.EmptyResult()


# ----- prompts


def prompt(name: str, description: str, *arguments: str) -> types.Prompt:
    return types.Prompt(
        name=name, description=description,
        arguments=[types.PromptArgument(name=one, description=one, required=True)
                   for one in arguments],
    )  # fmt: skip


PROMPTS = (
    prompt("test_simple_prompt", "One line."),
    prompt("test_prompt_with_arguments", "One line with two arguments.", "arg1", "arg2"),
    prompt("test_prompt_with_embedded_resource", "A resource and a question.", "resourceUri"),
    prompt("test_prompt_with_image", "An image and a question."),
    prompt("test_input_required_result_prompt", "A prompt that asks the user first."),
)


async def list_prompts(
    _: Context, __: types.PaginatedRequestParams | None
) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=list(PROMPTS))


def messages(*contents: str | types.ContentBlock) -> types.GetPromptResult:
    blocks = [types.TextContent(text=one) if isinstance(one, str) else one for one in contents]
    return types.GetPromptResult(
        messages=[types.PromptMessage(role="user", content=block) for block in blocks]
    )


async def get_prompt(_: Context, params: types.GetPromptRequestParams) -> PromptAnswer:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return messages("This is a simple prompt for testing.")
        case "test_prompt_with_arguments":
            first, second = given.get("arg1"), given.get("arg2")
            return messages(f"Prompt with arguments: arg1='{first}', arg2='{second}'")
        case "test_prompt_with_embedded_resource":
            resource = embedded(
                given.get("resourceUri", ""), "Embedded resource content for testing."
            )
            return messages(resource, "Please process the embedded resource above.")
        case "test_prompt_with_image":
            image = types.ImageContent(data=png(), mime_type="image/png")
            return messages(image, "Please analyze the image above.")
        case "test_input_required_result_prompt":
            return _asking_prompt(params)
        case _:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")


def _asking_prompt(params: types.GetPromptRequestParams) -> PromptAnswer:
    answer = (params.input_responses or {}).get("user_context")
    if not isinstance(answer, types.ElicitResult):
        question = "What context should the prompt use?"
        return needs(user_context=ask_user(question, context={"type": "string"}))
    return messages(f"Use this context: {(answer.content or {}).get('context')}")


async def complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    words = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return types.CompleteResult(
        completion=types.Completion(values=words, total=len(words), has_more=False)
    )


# ----- the server


def build_server() -> Server[Any]:
    """Return the server; its middleware seals the states that it gives to clients."""
    server: Server[Any] = Server(
        NAME, version="1.0", instructions="Made for tests.",
        get_tool_input_schema=schema_of, on_list_tools=list_tools, on_call_tool=call_tool,
        on_list_resources=list_resources, on_list_resource_templates=list_templates,
        on_read_resource=read_resource, on_subscribe_resource=accept,
        on_unsubscribe_resource=accept, on_list_prompts=list_prompts, on_get_prompt=get_prompt,
        on_completion=complete, on_subscriptions_listen=ListenHandler(BUS),
    )  # fmt: skip
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, accept)
    server.middleware.append(
        RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME)
    )
    return server


def build_app() -> Starlette:
    """Return the app at ``/mcp``; it refuses Host and Origin headers that are not loopback's."""
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in LOOPBACK]
    security = TransportSecuritySettings(allowed_hosts=list(LOOPBACK), allowed_origins=origins)
    return build_server().streamable_http_app(
        event_store=Events(), retry_interval=100, transport_security=security
    )


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--certfile", help="certificate and key, to serve TLS")
    arguments = parser.parse_args()
    config = uvicorn.Config(
        build_app(), host="127.0.0.1", port=0, ssl_certfile=arguments.certfile, log_level="error",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    listener = config.bind_socket()
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
