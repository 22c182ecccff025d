"""``mitmgate servers``: which MCP servers were seen, what they say they are, and who uses them."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.cli.state import SOCKET_FILE, state_dir
from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.control.models import ServerView

_SHOWN_TOOLS = 8
_SHOWN_AGENTS = 4
_SHOWN_ENTRIES = 10
_TRANSPORTS = {
    "streamable_http": "streamable HTTP",
    "sse": "HTTP+SSE",
    "websocket": "WebSocket",
    "delegated": "a model API",
}


def servers(
    state: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its files."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the MCP servers that were seen, the one last seen first.

    What a server says of itself is unverified. One that no entry of the policy names is unknown,
    and `mcp.unknown_servers` decides about it. Where no proxy runs, it lists what the last one saw.

    \b
    Example: mitmgate servers --json
    """
    from mitmgate.control.models import ServerList

    seen = _seen(state_dir(state))
    if as_json:
        typer.echo(ServerList(servers=seen).model_dump_json())
        return
    typer.echo("\n".join(listing(seen, now=time.time())))


def listing(seen: tuple[ServerView, ...], *, now: float) -> Iterator[str]:
    """Yield the lines that tell a person of *seen*; *now* in seconds since the epoch."""
    from mitmgate.record.lines import printable

    if not seen:
        yield "No MCP server was seen yet."
    for server in seen:
        for line in _block(server, now):
            yield printable(line)
    entries = _entries(seen)
    if entries:
        yield ""
        yield "To give an unknown server a name, for rules to use, write into the policy:"
        yield "servers:"
        yield from entries


def _seen(folder: Path) -> tuple[ServerView, ...]:
    """Return what the proxy running in *folder* saw, else what the last one wrote down."""
    answer = _asked(folder / SOCKET_FILE)
    if answer is not None:
        return answer
    from mitmgate.serve.inventory import FILE, read_servers

    print("note: no proxy runs here; this is what the last one saw", file=sys.stderr)
    return read_servers(folder / FILE)


def _asked(path: Path) -> tuple[ServerView, ...] | None:
    """Return what the proxy at the socket *path* saw, None where no proxy answers."""
    import httpx
    from pydantic import ValidationError

    from mitmgate.control.models import ServerList

    if not _listens(path):
        return None
    transport = httpx.HTTPTransport(uds=str(path))
    try:
        with httpx.Client(transport=transport, base_url="http://mitmgate", timeout=10) as client:
            answer = client.get("/v1/servers")
        return ServerList.model_validate_json(answer.content).servers
    except (httpx.HTTPError, ValidationError) as error:
        raise ConfigError(
            Problem(
                "the running proxy does not tell which servers it saw",
                file=str(path),
                hint="one of another version cannot: start it again",
            )
        ) from error


def _listens(path: Path) -> bool:
    """Tell whether somebody listens at the socket *path*: a killed proxy leaves its file."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # also where the path is too long for a socket
            return False
    return True


def _block(server: ServerView, now: float) -> Iterator[str]:
    from mitmgate.record.lines import timestamp

    yield f"{server.server or 'unknown'}  {server.url}"
    words = [server.title or server.name, server.version]
    says = " ".join(word for word in words if word) or "nothing yet"
    ways = ", ".join(_TRANSPORTS.get(word, word) for word in server.transports)
    yield f"    says it is  {says}"
    revisions = ", ".join(server.protocol_versions) or "no known revision"
    yield f"    speaks      {revisions} over {ways}"
    yield f"    tools       {_some(server.tools, server.tools_total, _SHOWN_TOOLS)}"
    yield f"    agents      {_some(server.agents, server.agents_total, _SHOWN_AGENTS)}"
    last = timestamp(server.last_seen).replace("T", " ")[:19]
    first = timestamp(server.first_seen).replace("T", " ")[:19]
    calls = "1 call" if server.calls == 1 else f"{server.calls} calls"
    ago = _ago(now - server.last_seen)
    yield f"    last seen   {ago} ({last} UTC), first {first} UTC; {calls}"


def _some(names: tuple[str, ...], total: int, most: int) -> str:
    """Return how many there are, and the first of their names."""
    shown = ", ".join(names[:most])
    more = total - min(most, len(names))
    return f"{total}{': ' if shown else ''}{shown}{f' and {more} more' if shown and more else ''}"


def _ago(seconds: float) -> str:
    for length, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {word}{'' if count == 1 else 's'} ago"
    return "just now"


def _entries(seen: tuple[ServerView, ...]) -> list[str]:
    """Return lines for ``servers`` in the policy, for the latest unknown URLs that it can name."""
    from mitmgate.policy.syntax import parse_server_url

    taken = {server.server for server in seen}
    lines: list[str] = []
    for server in seen:
        url = server.url
        if server.server is not None or not (url.isascii() and url.isprintable()):
            continue
        try:
            host = parse_server_url(url).host
        except ValueError:
            continue
        if "[redacted]" in url or len(lines) == _SHOWN_ENTRIES:
            continue
        # Not by the name that it reports: any server can say that it is the one you trust.
        name = _free(_plain(host), taken)
        taken.add(name)
        lines.append(f"  {json.dumps(name)}: {{url: {json.dumps(url)}}}")
    return lines


def _plain(host: str) -> str:
    """Return *host* as the name of a server may be written."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in host)
    return kept[:80]


def _free(name: str, taken: set[str | None]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
