"""``mitmgate demo``: a guided minute for somebody who has no agent at hand."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from mitmgate.errors import ConfigError, Problem


def demo() -> None:
    """Show every kind of decision on a real MCP server and a real client, then replay it.

    \b
    Example: mitmgate demo
    """
    if find_spec("mcp") is None:
        raise ConfigError(
            Problem("the demo needs the MCP SDK", hint="pip install 'mitmgate[demo]'")
        )
    from mitmgate.demo.tour import tour

    raise typer.Exit(tour())
