"""The tools that the conformance suite calls by name, as the suite describes each of them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import wave
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import PromptsListChanged, SubscriptionBus, ToolsListChanged

STEP = 0.05
"""Seconds between two notifications of one call: the suite wants to see them arrive one by one."""

type Result = types.CallToolResult | types.InputRequiredResult


@dataclass(frozen=True, slots=True)
class Call:
    """A ``tools/call`` on its way, with what a tool may do to the client meanwhile."""

    context: ServerRequestContext[Any, Any]
    params: types.CallToolRequestParams
    bus: SubscriptionBus

    def text(self, name: str) -> str:
        """Return the argument *name*."""
        return str((self.params.arguments or {}).get(name, ""))

    def declared(self, capability: str) -> bool:
        """Tell whether the client said that it has *capability*."""
        had = self.context.session.client_capabilities
        return had is not None and getattr(had, capability) is not None

    def answer(self, key: str) -> types.ElicitResult | None:
        """Return what the client answered to the elicitation *key*, if it did."""
        answer = (self.params.input_responses or {}).get(key)
        return answer if isinstance(answer, types.ElicitResult) else None


type Handler = Callable[[Call], Awaitable[Result]]

TOOLS: dict[str, tuple[types.Tool, Handler]] = {}


def tool(
    name: str, description: str, schema: Mapping[str, Any] | None = None, /, **properties: Any
) -> Callable[[Handler], Handler]:
    """Put a function into the table; its arguments are all required."""
    simple = {"type": "object", "properties": properties, "required": list(properties)}
    listed = types.Tool(name=name, description=description, input_schema=dict(schema or simple))

    def add(handler: Handler) -> Handler:
        TOOLS[name] = (listed, handler)
        return handler

    return add


def said(*blocks: str | types.ContentBlock) -> types.CallToolResult:
    """Return a result made of *blocks*, where a string is a text block."""
    content = [types.TextContent(text=one) if isinstance(one, str) else one for one in blocks]
    return types.CallToolResult(content=content)


def png() -> str:
    """Return one red pixel, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head, pixel = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), zlib.compress(b"\0\xff\0\0")
    image = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )
    return base64.b64encode(image).decode()


def wav() -> str:
    """Return a moment of silence, base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 1, 8000, 8, "NONE", ""))
        sound.writeframes(b"\x80" * 8)
    return base64.b64encode(file.getvalue()).decode()


def embedded(uri: str, text: str, mime: str = "text/plain") -> types.EmbeddedResource:
    """Return *text* as a resource inside a result."""
    return types.EmbeddedResource(
        resource=types.TextResourceContents(uri=uri, mime_type=mime, text=text)
    )


# ----- content


@tool("test_simple_text", "Answer with one line of text.")
async def simple_text(_: Call) -> Result:
    return said("This is a simple text response for testing.")


@tool("greet", "Greet by name, never as a task.", name={"type": "string"})
async def greet(call: Call) -> Result:
    return said(f"Hello, {call.text('name')}!")


@tool("test_image_content", "Answer with an image.")
async def image_content(_: Call) -> Result:
    return said(types.ImageContent(data=png(), mime_type="image/png"))


@tool("test_audio_content", "Answer with a sound.")
async def audio_content(_: Call) -> Result:
    return said(types.AudioContent(data=wav(), mime_type="audio/wav"))


@tool("test_embedded_resource", "Answer with a resource.")
async def embedded_resource(_: Call) -> Result:
    return said(embedded("test://embedded-resource", "This is an embedded resource content."))


@tool("test_multiple_content_types", "Answer with text, an image and a resource.")
async def multiple_content_types(_: Call) -> Result:
    data = json.dumps({"test": "data", "value": 123})
    return said(
        "Multiple content types test:",
        types.ImageContent(data=png(), mime_type="image/png"),
        embedded("test://mixed-content-resource", data, "application/json"),
    )


@tool("test_error_handling", "Always fail.")
async def error_handling(_: Call) -> Result:
    failed = said("This tool intentionally returns an error for testing")
    return failed.model_copy(update={"is_error": True})


@tool("test_x_mcp_header", "Mirror its argument in a header.",
      region={"type": "string", "x-mcp-header": "Region"})  # fmt: skip
async def x_mcp_header(call: Call) -> Result:
    return said(f"region: {call.text('region')}")


@tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {
        "street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {
        "name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"}, "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
})  # fmt: skip
async def json_schema(_: Call) -> Result:
    return said("The schema held.")


# ----- what a call sends while it runs


@tool("test_tool_with_logging", "Log three times.")
async def tool_with_logging(call: Call) -> Result:
    lines = ("Tool execution started", "Tool processing data", "Tool execution completed")
    for number, line in enumerate(lines):
        await asyncio.sleep(STEP if number else 0)
        await call.context.session.send_log_message(
            "info", line, "tests", related_request_id=call.context.request_id
        )
    return said("Tool with logging executed successfully")


@tool("test_logging_tool", "Log once, for clients that asked for logs.")
async def logging_tool(call: Call) -> Result:
    await call.context.session.send_log_message(
        "info", "Only who asked sees this", related_request_id=call.context.request_id
    )
    return said("Logged.")


@tool("test_tool_with_progress", "Report progress three times.")
async def tool_with_progress(call: Call) -> Result:
    for done in (0, 50, 100):
        await asyncio.sleep(STEP if done else 0)
        await call.context.session.report_progress(done, 100)
    return said("Progress was reported.")


@tool("test_reconnection", "Close the stream before the result is there.")
async def reconnection(call: Call) -> Result:
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await asyncio.sleep(2 * STEP)
    return said("The result came on the resumed stream.")


@tool("test_trigger_tool_change", "Say that the list of tools changed.")
async def trigger_tool_change(call: Call) -> Result:
    await call.bus.publish(ToolsListChanged())
    return said("Told.")


@tool("test_trigger_prompt_change", "Say that the list of prompts changed.")
async def trigger_prompt_change(call: Call) -> Result:
    await call.bus.publish(PromptsListChanged())
    return said("Told.")
