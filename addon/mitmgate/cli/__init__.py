"""The command line: the composition root, where errors become exit codes."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    import sys

    from mitmgate.cli.app import invoke

    sys.exit(invoke())
