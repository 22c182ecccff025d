"""The Python SDK with much to carry, ``URL MODE FILE``; one line of JSON tells what it got.

It reads the resource ``data://large``, and calls ``digest`` with the text in FILE.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from pathlib import Path

import mcp_types as types
from mcp.client import Client


async def main(url: str, mode: str, text: str) -> None:
    """Connect, fetch and send."""
    async with Client(url, mode=mode) as client:
        [content] = (await client.read_resource("data://large")).contents
        assert isinstance(content, types.BlobResourceContents)
        result = await client.call_tool("digest", {"text": text})
        [block] = result.content
        assert isinstance(block, types.TextContent)
        got = hashlib.sha256(base64.b64decode(content.blob)).hexdigest()
        sys.stdout.write(
            json.dumps({"got": got, "sent": block.text, "spoken": client.protocol_version})
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text()))
