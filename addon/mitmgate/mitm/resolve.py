"""Names to addresses, once per connection and after the decision only."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

from mitmgate.net.addresses import unmap

RESOLVE_SECONDS = 10.0

type Pairs = tuple[tuple[str, int], ...]


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


def with_interfaces(own: Pairs, addresses: Iterable[str], port: int) -> Pairs:
    """Return *own*, where the proxy listens, with those of *addresses* that are this machine's.

    Only where it listens on all of them, at *port*: elsewhere they are other services.
    """
    if not any(port == listening and host in ("0.0.0.0", "::", "") for host, listening in own):
        return own
    return own + tuple((address, port) for address in addresses if is_interface(address))


def is_interface(address: str) -> bool:
    """Tell whether *address* is one of this machine: to no other a socket can be bound.

    No name is asked for and nothing is sent.
    """
    try:
        parsed = unmap(ipaddress.ip_address(address))
    except ValueError:
        return False
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(parsed), 0))
    except OSError:
        return False
    return True
