"""A row whose exchange goes over segments is taken from where it began, not from carried lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from captures import POLICY, call, record, result

from mitmgate.cli.app import invoke
from mitmgate.judge.choosing import Keep
from mitmgate.judge.inputs import EndInput, Input
from mitmgate.record.capture import golden_path
from mitmgate.record.ring import Ring
from mitmgate.scan.engine import Scanner

LONG = "word " * 200


@pytest.fixture
def ring(tmp_path: Path, scanner: Scanner) -> Path:
    """Segments over which one exchange stays open; its request is carried into the later ones."""
    traffic: list[Input] = [call("a-1", "get", {"text": LONG})]
    for number in range(2, 30):
        traffic += [call(f"a-{number}", "get", {"text": LONG}), EndInput(f"a-{number}")]
    traffic += [result("a-1", "late"), EndInput("a-1")]
    record(tmp_path / "ring", traffic, scanner=scanner, keep=Keep(ring=Ring(size=200_000)))
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path / "ring"


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if ".golden." not in path.name)


def _make(ring: Path) -> int:
    out = str(ring.parent / "made.jsonl")
    return invoke(["capture", "--from-audit", "a-1", "--captures", str(ring), "--out", out])


def test_the_row_is_taken_from_where_it_began(ring: Path) -> None:
    assert len(_segments(ring)) > 1
    carried = [path for path in _segments(ring) if '"id":"a-1","carried":true' in path.read_text()]
    assert carried == _segments(ring)[1:]
    assert _make(ring) == 0
    made = ring.parent / "made.jsonl"
    lines = [json.loads(line) for line in made.read_text().splitlines()]
    requests = [line for line in lines if line.get("id") == "a-1"]
    assert [line["type"] for line in requests] == ["request"]
    assert not requests[0].get("carried")
    assert golden_path(made).read_text().count('"kind":"request"') == 1
    policy = str(ring.parent / "policy.yaml")
    assert invoke(["replay", str(made), "--policy", policy]) == 0


def test_carried_lines_alone_are_no_capture_of_the_row(
    ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _segments(ring)[0]
    for path in ring.glob(f"{first.stem}.*"):
        path.unlink()
    assert _make(ring) == 2
    assert "a-1" in capsys.readouterr().err
