"""``python -m mitmgate_tui`` is ``mitmgate-tui``."""

from __future__ import annotations

import sys

from mitmgate_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
