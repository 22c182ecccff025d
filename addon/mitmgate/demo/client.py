"""A real MCP client (official SDK) that knows nothing of the proxy but its environment.

Reads one JSON step per line on standard input, answers one JSON line each on standard output:
``{"list": true}``, ``{"call": TOOL, "arguments": {...}}`` and ``{"get": URL}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from typing import Any

import httpx2
from mcp import MCPError
from mcp.client import Client


async def run(url: str, mode: str) -> None:
    """Do every step of standard input on the server at *url*; *mode* as in the SDK's Client."""
    loop = asyncio.get_running_loop()
    async with Client(url, mode=mode) as client, httpx2.AsyncClient() as web:
        _say({"connected": client.protocol_version})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _say(await _step(client, web, json.loads(line)))


async def _step(client: Client, web: httpx2.AsyncClient, step: dict[str, Any]) -> dict[str, Any]:
    try:
        if "get" in step:
            answer = await web.get(step["get"])
            return {"status": answer.status_code, "text": answer.text}
        if "call" in step:
            result = await client.call_tool(step["call"], step.get("arguments", {}))
            text = "".join(getattr(block, "text", "") for block in result.content)
            return {"error": bool(result.is_error), "text": text}
        return {"tools": [tool.name for tool in (await client.list_tools()).tools]}
    except (MCPError, httpx2.HTTPError) as error:
        return {"failed": type(error).__name__, "text": str(error)}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> int:
    """Run on the URL and mode of the command line; 1 when the server cannot be used."""
    try:
        asyncio.run(run(sys.argv[1], sys.argv[2]))
    except Exception as error:  # noqa: BLE001 - the parent reads what went wrong
        leaf: BaseException = error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        _say({"failed": type(leaf).__name__, "text": str(leaf)})
        traceback.print_exc(file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
