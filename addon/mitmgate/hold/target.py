"""What a call is, as far as rows, tickets and remembered answers tell calls apart."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

MOST_PREFIXES = 16

type On = Literal["call", "values", "tool", "server", "url", "prefix", "host"]
"""How much an answer covers. For MCP from narrow to broad: the exact ``call``, calls of the tool
with the same ``values`` of chosen arguments, the ``tool``, the ``server``. For the rest: the exact
``call``, the ``url`` with its method, a path ``prefix`` with its method, the ``host`` with its
port."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request of an agent. Hashes are SHA-256; they are compared here and never shown.

    ``call`` is the hash of everything that makes the request this one: agent, server, method, tool,
    canonical params; or method, URL, body. It is None where nobody computed it. ``session`` is the
    conversation, None where there is none. ``server`` is the name in the policy or the endpoint's
    URL. ``arguments`` are the hashes of the values of a tool's arguments, None where there are too
    many. ``origin`` is scheme, host and port, ``path`` the plain path of egress, None where servers
    may read it in several ways; ``url`` is the hash of the URL with its query.
    """

    agent: str
    channel: Literal["mcp", "egress"]
    method: str
    call: str | None
    session: Hashable | None = None
    server: str = ""
    tool: str | None = None
    arguments: Mapping[str, str] | None = None
    origin: str = ""
    path: str | None = None
    url: str = ""

    @property
    def scopes(self) -> tuple[On, ...]:
        """What an answer to this request can cover, the narrowest first."""
        if self.channel == "mcp":
            return tuple(self._mcp_scopes())
        return tuple(self._egress_scopes())

    def _mcp_scopes(self) -> Iterator[On]:
        if self.call is not None:
            yield "call"
        if self.tool is not None:
            if self.arguments:
                yield "values"
            yield "tool"
        yield "server"

    def _egress_scopes(self) -> Iterator[On]:
        if self.call is not None:
            yield "call"
        yield "url"
        if self.prefixes:
            yield "prefix"
        yield "host"

    def lies_in(self, folder: str) -> bool:
        """Tell whether the path lies in *folder*, which has no last slash; the root is none."""
        return self.path is not None and bool(folder) and self.path.startswith(f"{folder}/")

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The folders to choose from: the deepest 16 that the path lies in, the deepest first.

        They are without their last slash.
        """
        if self.path is None:
            return ()
        parts = self.path.split("/")
        folders = ("/".join(parts[:end]) for end in range(len(parts) - 1, 1, -1))
        return tuple(folder for folder, _ in zip(folders, range(MOST_PREFIXES), strict=False))
