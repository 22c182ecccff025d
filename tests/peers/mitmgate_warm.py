"""Imported before ``mitmgate run`` is forked: everything that is the same in each of them."""

from __future__ import annotations

import uvloop

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve import launch

__all__ = ["launch", "uvloop"]

Scanner(installed_packs(), hash_key=b"any").warm()
