"""Every MCP server that was seen."""

from __future__ import annotations

from textual.content import Content

from mitmgate.control.models import ServerList, ServerView
from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock
from mitmgate_tui.screens.pane import Pane, line_of
from mitmgate_tui.text import fit


class ServersPane(Pane):
    """Names, addresses, tools and users of each server; the unknown ones first."""

    name_shown = "Servers"
    path = "servers"

    def lines(self, board: Board, clock: Clock, width: int) -> list[Content]:
        """Return three lines for each server."""
        del board
        lines = self.trouble()
        if self._answer is None:
            return lines
        try:
            servers = ServerList.model_validate_json(self._answer).servers
        except ValueError:
            return [Content("The proxy's answer is not understood: is it a newer version?")]
        unknown = sum(server.server is None for server in servers)
        head = f"{len(servers)} servers, {unknown} of them without a name in the policy"
        lines += [Content.styled(head, "bold"), Content()]
        for server in sorted(servers, key=lambda server: server.server is not None):
            lines += [*_lines(server, clock, width), Content()]
        return lines


def _lines(server: ServerView, clock: Clock, width: int) -> list[Content]:
    style = "bold" if server.server else "bold $sign-hold"
    mark = server.server or "▲ unknown"
    title = server.title or server.name or ""
    facts = (
        f"  {title} {server.version or ''} · {', '.join(server.protocol_versions)}"
        f" · {', '.join(server.transports)}"
    )
    use = (
        f"  {server.calls} calls by {server.agents_total} agents, last"
        f" {clock.hms(server.last_seen)}"
        f" · {server.tools_total} tools: {', '.join(server.tools[:50])}"
    )
    name = fit(line_of(mark, 20).plain, 20)
    return [
        Content.assemble((name, style), " ", line_of(server.url, max(10, width - 21))),
        line_of(facts, width, "dim"),
        line_of(use, width),
    ]
