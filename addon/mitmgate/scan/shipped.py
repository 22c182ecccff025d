"""The packs that are shipped, read fast: from one file that was made from them and proven then.

``python -m mitmgate.scan.shipped`` makes that file. Where a pack is another than it was made
from, as in a checkout where somebody works on one, the packs themselves are read and proven.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from mitmgate.scan.loading import Pack, load_pack, rule_of
from mitmgate.scan.models import RuleModel
from mitmgate.strictyaml import load

MADE = "packs.json"
"""The file in ``mitmgate_rules`` that is made from the packs."""


@cache
def installed_packs() -> tuple[Pack, ...]:
    """Return the packs that ship with mitmgate, in order of their file names."""
    texts = _texts()
    made = files("mitmgate_rules") / MADE
    if made.is_file():
        value = json.loads(made.read_bytes())
        if value["digest"] == _digest(texts):
            return tuple(map(_unproven, value["packs"]))
    return tuple(load_pack(text.decode(), file=name) for name, text in texts.items())


def made_text() -> str:
    """Return what the made file should hold; ConfigError where a pack is no good."""
    texts = _texts()
    packs = []
    for name, text in texts.items():
        load_pack(text.decode(), file=name)
        value = load(text.decode(), file=name).value
        packs.append({key: value[key] for key in ("pack", "kind", "rules")})
    made = {"digest": _digest(texts), "packs": packs}
    return json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n"


def _unproven(value: Mapping[str, Any]) -> Pack:
    kind = value["kind"]
    rules = (rule_of(RuleModel.model_validate(entry), kind) for entry in value["rules"])
    return Pack(value["pack"], kind, tuple(rules))


def _texts() -> dict[str, bytes]:
    folder = files("mitmgate_rules") / "packs"
    entries = sorted((e for e in folder.iterdir() if e.name.endswith(".yaml")), key=_name)
    return {entry.name: entry.read_bytes() for entry in entries}


def _name(entry: Traversable) -> str:
    return entry.name


def _digest(texts: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, text in texts.items():
        whole.update(hashlib.sha256(name.encode()).digest())
        whole.update(hashlib.sha256(text).digest())
    return whole.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(made_text())
