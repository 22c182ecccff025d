"""Names to addresses, once per connection and after the decision only."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

RESOLVE_SECONDS = 10.0


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of *host* in the system's order of preference; empty when none."""
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
