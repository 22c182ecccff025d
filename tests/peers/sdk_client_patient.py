"""A client of the Python SDK, either line, that gives up after 3 seconds: ``URL 1|legacy|auto``."""

from __future__ import annotations

import asyncio
import sys
import warnings
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from sdk_client_steps import called, run_steps, text_of

SECONDS = 3.0

# By name: the SDK's two lines have different ones, and each its own HTTP client.
streamable: Any = import_module("mcp.client.streamable_http")


class Session:
    """The one step that is asked for."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def call(self, name: str, arguments: dict[str, Any], _: Any) -> dict[str, Any]:
        result = await self._client.call_tool(name, arguments)
        failed = result.isError if hasattr(result, "isError") else result.is_error
        return called(text_of(result.content), failed=bool(failed), structured=None)


@asynccontextmanager
async def connected(url: str, mode: str) -> Any:
    """Connect with a client of HTTP that waits for a byte no longer than that."""
    library: Any = import_module("httpx" if mode == "1" else "httpx2")
    async with library.AsyncClient(timeout=SECONDS, follow_redirects=True) as http:
        transport = streamable.streamable_http_client(url, http_client=http)
        if mode != "1":
            async with import_module("mcp.client").Client(transport, mode=mode) as client:
                yield client, client.protocol_version
            return
        mcp: Any = import_module("mcp")
        async with transport as (read, write, *_), mcp.ClientSession(read, write) as client:
            yield client, (await client.initialize()).protocolVersion


async def main(url: str, mode: str) -> None:
    """Connect and do what is asked."""
    async with connected(url, mode) as (client, version):
        await run_steps(Session(client), Exception, version)  # type: ignore[arg-type]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main(sys.argv[1], sys.argv[2]))
