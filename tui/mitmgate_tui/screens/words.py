"""Words that several screens use."""

from __future__ import annotations

from typing import Final

SCOPES: Final = {
    "call": "this call", "values": "same values", "tool": "tool", "server": "server",
    "url": "URL", "prefix": "folder", "host": "host",
}  # fmt: skip
"""By ``on`` of a scope."""
