"""A row becomes a capture of its own that is judged as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from captures import BEARER, KEY, POLICY, call, record, result

from mitmgate.cli.app import invoke
from mitmgate.judge.inputs import EndInput, Input
from mitmgate.record.capture import golden_path
from mitmgate.record.excerpt import find_excerpt
from mitmgate.record.meta import read_meta
from mitmgate.scan.engine import Scanner


@pytest.fixture
def folder(tmp_path: Path, scanner: Scanner) -> Path:
    new: dict[str, Any] = {"host": "new.example"}
    traffic: list[Input] = [
        call("a-1", "get", {}, **new), EndInput("a-1"),
        call("a-2", "get", {}), result("a-2", "other"), EndInput("a-2"),
        call("a-3", "get", {"q": KEY}, **new), result("a-3", "done"), EndInput("a-3"),
    ]  # fmt: skip
    record(tmp_path / "captures", traffic, scanner=scanner)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Callable[..., int]:
    def run(audit_id: str) -> int:
        source, out = str(folder / "captures"), str(folder / "made.jsonl")
        return invoke(["capture", "--from-audit", audit_id, "--captures", source, "--out", out])

    return run


@pytest.mark.parametrize("audit_id", ["a-3", "a-3.0"], ids=["an exchange", "a decision"])
def test_an_exchange_with_the_answer_it_rests_on(
    folder: Path, make: Callable[..., int], audit_id: str
) -> None:
    assert make(audit_id) == 0
    made = folder / "made.jsonl"
    text = made.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    carried = {line["exchange"] for line in lines if line.get("carried")}
    plain = {line["exchange"] for line in lines if "at" in line and not line.get("carried")}
    assert carried == {1}
    assert plain == {1, 3}  # the answer to the question about the server, and the row
    golden = [json.loads(line) for line in golden_path(made).read_text().splitlines()]
    assert {line["exchange"] for line in golden} == {3}
    assert KEY not in text
    assert BEARER not in text
    policy = ["--policy", str(folder / "policy.yaml")]
    assert invoke(["replay", str(made), *policy]) == 0
    assert invoke(["capture", "verify", str(made), *policy]) == 0


def test_without_what_it_rests_on_the_same_row_is_judged_otherwise(
    folder: Path, make: Callable[..., int]
) -> None:
    assert make("a-3") == 0
    made, bare = folder / "made.jsonl", folder / "bare.jsonl"
    lines = [json.loads(line) for line in made.read_text().splitlines()]
    kept = [line for line in lines[:-1] if line.get("exchange") in (None, 3)]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    bare.write_text(text)
    golden_path(bare).write_text(golden_path(made).read_text())
    assert invoke(["replay", str(bare), "--policy", str(folder / "policy.yaml")]) == 3


MISSING = {"an id that no capture has": "b-9", "a part of an id": "a-", "no id": "", "quotes": '"'}


@pytest.mark.parametrize("audit_id", MISSING.values(), ids=MISSING)
def test_what_was_not_captured_is_said(
    folder: Path, make: Callable[..., int], audit_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(audit_id) == 2
    assert "bodies are kept by `mitmgate run --capture DIR`" in capsys.readouterr().err
    assert not (folder / "made.jsonl").exists()


def test_a_file_that_is_there_is_kept(folder: Path, make: Callable[..., int]) -> None:
    assert make("a-2") == 0
    before = (folder / "made.jsonl").read_bytes()
    assert make("a-3") == 2
    assert (folder / "made.jsonl").read_bytes() == before


def test_the_exchange_that_is_being_written_is_whole_lines(
    folder: Path, make: Callable[..., int]
) -> None:
    [path] = [p for p in (folder / "captures").glob("*.jsonl") if ".golden." not in p.name]
    path.write_bytes(path.read_bytes()[:-10])
    assert make("a-3") == 0
    assert invoke(["replay", str(folder / "made.jsonl"), "--policy",
                   str(folder / "policy.yaml")]) == 0  # fmt: skip


def _stream(scanner: Scanner, folder: Path, *, ends: bool) -> Path:
    """Write a capture of a call whose answer comes late, and cut the file where it does."""
    traffic: list[Input] = [call("b-1", "get", {}), result("b-1", "late"), EndInput("b-1")]
    path = record(folder / "captures", traffic, scanner=scanner)
    lines = path.read_text().splitlines(keepends=True)
    close = '{"type":"close","lines":2}\n' if ends else lines[2][:40]
    path.write_text("".join([*lines[:2], close]))
    return path


@pytest.mark.parametrize("ends", [True, False], ids=["in the next segment", "still to come"])
def test_an_exchange_whose_end_is_elsewhere_is_cut_there(
    tmp_path: Path, scanner: Scanner, ends: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    _stream(scanner, tmp_path, ends=ends)
    out, policy = tmp_path / "made.jsonl", tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    source = str(tmp_path / "captures")
    assert invoke(["capture", "--from-audit", "b-1", "--captures", source, "--out", str(out)]) == 0
    assert "its end is in another segment, or still to come" in capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["capture", "request", "cut", "close"]
    meta = read_meta(out)
    assert meta is not None
    assert (meta.complete, meta.sha256) == (False, None)
    golden = [json.loads(line) for line in golden_path(out).read_text().splitlines()]
    assert [line["message"] for line in golden] == ["0"], "of what is missing nothing is expected"
    assert invoke(["replay", str(out), "--policy", str(policy)]) == 0
    weaker = POLICY.replace("id: reads, tool: [get, list]", "id: reads, tool: list")
    policy.write_text(weaker)
    assert invoke(["replay", str(out), "--policy", str(policy)]) == 1


def test_inputs_whose_golden_lines_are_still_being_written_are_left_out(
    tmp_path: Path, scanner: Scanner
) -> None:
    traffic: list[Input] = [call("b-1", "get", {}), result("b-1", f"found {KEY}")]
    path = record(tmp_path / "captures", traffic, scanner=scanner)
    path.write_text(path.read_text().rpartition('{"type":"close"')[0])
    golden = golden_path(path).read_text().splitlines(keepends=True)
    assert len(golden) == 2
    golden_path(path).write_text(golden[0])
    found = find_excerpt([path], "b-1")
    assert found is not None
    assert [line["type"] for line in found.lines] == ["capture", "request", "cut"]
    assert not found.complete
