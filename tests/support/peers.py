"""Where ``make test`` put the other side of the tests: Node, its packages and further Pythons."""

from __future__ import annotations

from pathlib import Path

import pytest

PEERS = Path(__file__).parents[2] / ".peers"
NODE = PEERS / "nodejs" / "bin" / "node"
NODE_MODULES = PEERS / "npm" / "node_modules"
CONFORMANCE = NODE_MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

# make writes the file last: a folder that was left half made is not taken for a whole one.
needs_peers = pytest.mark.skipif(
    not (PEERS / ".ready").is_file(), reason="peers are missing: run `make test`"
)


def python_of(name: str) -> Path:
    """Return the interpreter that has the peer *name*: ``mcp1`` or ``fastmcp``."""
    return PEERS / name / "bin" / "python"
