"""Other readings of a text: what it says once it is decoded, joined or cleaned up."""

from __future__ import annotations

from mitmgate.scan.views.derive import derive
from mitmgate.scan.views.view import Origin, View

__all__ = ["Origin", "View", "derive"]
