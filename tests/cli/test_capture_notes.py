"""What people wrote into the meta file of a capture goes with it into a flow file, and back."""

from __future__ import annotations

import shutil
from pathlib import Path

from captures import POLICY, record

from mitmgate.cli.app import invoke
from mitmgate.mitm.flows import index_flows
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import read_meta, write_meta

NOTES = "why: “force” was pushed\nonce"


def test_the_notes_of_a_capture_come_back(tmp_path: Path) -> None:
    made, copy = record(tmp_path / "captures"), tmp_path / "a.jsonl"
    meta = read_meta(made)
    assert meta is not None
    shutil.copy(made, copy)
    shutil.copy(golden_path(made), golden_path(copy))
    write_meta(copy, meta.model_copy(update={"notes": NOTES}))
    flows, back = tmp_path / "a.mitm", tmp_path / "b.jsonl"
    (tmp_path / "policy.yaml").write_text(POLICY)
    assert invoke(["capture", "export", str(copy), "--out", str(flows)]) == 0
    assert index_flows(flows, lambda _: None).notes == NOTES
    where = ["--policy", str(tmp_path / "policy.yaml"), "--state-dir", str(tmp_path / "state")]
    assert invoke(["capture", "import", str(flows), "--out", str(back), *where]) == 0
    again = read_meta(back)
    assert again is not None
    assert again.notes == NOTES
