"""The steps that a test asks of an SDK's client: JSON lines in, JSON lines out.

``{"do": "tools"}``, ``{"do": "call", "name", "arguments", "progress"?}``,
``{"do": "prompt", "name", "arguments"}`` and ``{"do": "resource", "uri"}`` are answered by
``{"ok": ..., ...}`` or ``{"error": TEXT, "code": N}``; end of input ends the session.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import anyio

COLOUR = "green"
IDEA = "hedgehog"


class Session(Protocol):
    """One SDK's client."""

    def tools(self) -> Awaitable[list[str]]:
        """Return the names of the server's tools."""

    def call(self, name: str, arguments: dict[str, Any], progress: Any) -> Awaitable[Any]:
        """Call a tool; *progress* is the SDK's callback or None."""

    def prompt(self, name: str, arguments: dict[str, Any]) -> Awaitable[str]:
        """Return the text of a prompt."""

    def resource(self, uri: str) -> Awaitable[str]:
        """Return the text of a resource."""


def say(**answer: object) -> None:
    """Answer the test."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def called(text: str, *, failed: bool, structured: Any) -> dict[str, Any]:
    """Return the answer to a call."""
    return {"ok": text, "isError": failed, "structured": structured}


def text_of(blocks: Any) -> str:
    """Return what a model would read."""
    return "".join(block.text for block in blocks)


async def run_steps(session: Session, refused: type[Exception], version: str | None) -> None:
    """Answer every step of standard input; *refused* is how the SDK tells of an error."""
    loop = asyncio.get_running_loop()
    say(ok="connected", version=version)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            say(**await _answer(session, json.loads(line)))
        except refused as error:
            say(error=str(error), code=getattr(getattr(error, "error", None), "code", None))


async def _answer(session: Session, step: Mapping[str, Any]) -> dict[str, Any]:
    match step["do"]:
        case "tools":
            return {"ok": await session.tools()}
        case "call":
            return await _call(session, step)
        case "prompt":
            return {"ok": await session.prompt(step["name"], step["arguments"])}
        case "resource":
            return {"ok": await session.resource(step["uri"])}
        case other:
            raise ValueError(other)


async def _call(session: Session, step: Mapping[str, Any]) -> dict[str, Any]:
    if not step.get("progress"):
        answer: dict[str, Any] = await session.call(step["name"], step["arguments"], None)
        return answer
    told = asyncio.Event()

    async def progress(_done: float, _of: float | None, _message: str | None) -> None:
        told.set()

    answer = await session.call(step["name"], step["arguments"], progress)
    with anyio.fail_after(10):
        await told.wait()
    return answer
