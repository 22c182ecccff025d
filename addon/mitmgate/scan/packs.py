"""Rule packs: those that are shipped, and those of files."""

from __future__ import annotations

from mitmgate.scan.loading import Pack, hits, load_pack, load_pack_file
from mitmgate.scan.models import PackModel, RuleModel
from mitmgate.scan.shipped import installed_packs

__all__ = [
    "Pack",
    "PackModel",
    "RuleModel",
    "hits",
    "installed_packs",
    "load_pack",
    "load_pack_file",
]
