"""``python -m mitmgate`` is ``mitmgate``."""

from __future__ import annotations

from mitmgate.cli import main

if __name__ == "__main__":
    main()
