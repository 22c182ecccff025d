"""Replays every capture below a folder, and tells in a line of JSON what it would write as golden.

``replayed_again.py FOLDER``: each folder in it holds captures, and in ``policy/`` their policy and
what that names. ``hash`` tells two processes with the same hash seed apart from others.
"""

import hashlib
import json
import sys
from pathlib import Path

from mitmgate.policy.source import PolicySource
from mitmgate.serve.replaying import run_files


def main() -> None:
    """Replay, write the golden files, and tell their sums."""
    sums: dict[str, str] = {}
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        locked = folder / "policy" / "locked.yaml"
        source = PolicySource(
            folder / "policy" / "policy.yaml", locked if locked.exists() else None
        )
        compared = run_files([folder], source.read()[0].policy, accept="different")
        assert compared.exit_code == 0, [found.what for found in compared.differences]
        for golden in sorted(folder.glob("*.golden.jsonl")):
            name = f"{folder.name}/{golden.name}"
            sums[name] = hashlib.sha256(golden.read_bytes()).hexdigest()
    sys.stdout.write(json.dumps({"hash": hash("mitmgate"), "sums": sums}) + "\n")


if __name__ == "__main__":
    main()
