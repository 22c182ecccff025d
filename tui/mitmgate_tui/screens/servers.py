"""Every MCP server that was seen; for those without a name, how to name or to block them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from textual.content import Content

from mitmgate.control.models import ServerList, ServerView
from mitmgate_tui.board import Board
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.pane import Pane, Sight
from mitmgate_tui.text import clean, fit
from mitmgate_tui.widgets.page import Block, line_of

MAX_TOOLS = 50
_NAME = 80
_MARK = 20


class ServersPane(Pane):
    """Names, addresses, tools and users of each server; the unknown ones first."""

    name_shown = "Servers"
    paths = ("servers",)

    def blocks(self, sight: Sight) -> list[Block]:
        """Return a block for each server."""
        answer = sight.answers.get("servers")
        if answer is None:
            return []
        servers = ServerList.model_validate_json(answer).servers
        unknown = sum(server.server is None for server in servers)
        seen = "1 server" if len(servers) == 1 else f"{len(servers)} servers"
        head = f"{seen}, {unknown} of them without a name in the policy"
        taken = {server.server for server in servers if server.server is not None}
        return [
            Block((Content.styled(head, "bold"), Content())),
            *(
                _block(server, sight, taken)
                for server in sorted(servers, key=lambda server: server.server is not None)
            ),
        ]


def entry_for(server: ServerView, taken: set[str]) -> str | None:
    """Return the lines of the policy that give the endpoint a name; None where none can be written.

    The name comes from the host, never from what the server says of itself; *taken* are the names
    that others have.
    """
    url = server.url
    if not (url.isascii() and url.isprintable()) or "[redacted]" in url:
        return None
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return None
    plain = "".join(c if c.isalnum() or c in "_.-" else "-" for c in host)[:_NAME]
    if not plain:
        return None
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return f"servers:\n  {json.dumps(name)}: {{url: {json.dumps(url)}}}\n"


def _block(server: ServerView, sight: Sight, taken: set[str]) -> Block:
    width = sight.width
    unknown = server.server is None
    name = fit(clean(server.server or "▲ unknown"), _MARK)
    title = server.title or server.name or "says nothing of itself"
    named = f"{title} {server.version}" if server.version else title
    says = f"  {named} · {', '.join(server.protocol_versions)}"
    use = (
        f"  {_counted(server.calls, 'call')} by {_counted(server.agents_total, 'agent')}, last"
        f" {sight.clock.hms(server.last_seen)} · {_counted(server.tools_total, 'tool')}"
    )
    waiting = list(_waiting(sight.board, server.url)) if unknown else []
    lines = (
        Content.assemble(
            (name, "bold $sign-hold" if unknown else "bold"), " ",
            line_of(server.url, max(10, width - _MARK - 1)),
        ),
        line_of(f"{says} · {', '.join(server.transports)}", width, "dim"),
        line_of(use, width),
    )  # fmt: skip
    entry = entry_for(server, taken) if unknown else None
    more = [line_of(f"  tools: {', '.join(server.tools[:MAX_TOOLS])}", width)]
    more.append(line_of(f"  agents: {', '.join(server.agents[:MAX_TOOLS])}", width))
    if unknown:
        more += _offers(entry, len(waiting), width)
    first = waiting[0].pending if waiting else None
    return Block(
        lines, server.url, (*more, Content()), first.id if first is not None else None, entry
    )


def _offers(entry: str | None, waiting: int, width: int) -> Iterator[Content]:
    if waiting:
        calls = "a call waits" if waiting == 1 else f"{waiting} calls wait"
        text = f"  ⏸ {calls} because nobody knows it: enter goes there, to approve or deny"
        yield line_of(text, width, "$sign-hold")
    if entry is None:
        return
    copies = "" if waiting else " (enter copies it)"
    yield line_of(f"  to name it, write into the policy{copies}:", width)
    for line in entry.strip().split("\n"):
        yield line_of(f"    {line}", width)
    name = entry.partition('"')[2].partition('"')[0]
    yield line_of("  to block it, name it and put this first among the rules of mcp:", width)
    for line in (f'- id: "no-{name}"', f'  server: "{name}"', "  then: deny"):
        yield line_of(f"    {line}", width)


def _waiting(board: Board, url: str) -> Iterator[Entry]:
    for entry in board.waiting.values():
        if entry.get("server") is None and entry.get("endpoint").partition("?")[0] == url:
            yield entry


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
