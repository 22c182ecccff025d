"""Meta files: what is written is read again, and every change of what they seal shows."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import (
    Meta,
    Profile,
    Sums,
    check_sums,
    meta_path,
    meta_text,
    read_meta,
    seal,
    sum_of,
    write_meta,
)
from mitmgate.strictyaml import load_model

META = Meta(
    version=1,
    tool="mitmgate 1.0",
    date="2026-05-04T09:30:00.000Z",
    profile=Profile(policy="sha256:1", mode="enforce"),
    flows=2,
    complete=True,
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(tool=TEXTS, notes=TEXTS, flows=st.none() | st.integers(0, 10**9), complete=st.booleans())
def test_it_reads_back(tool: str, notes: str, flows: int | None, *, complete: bool) -> None:
    meta = META.model_copy(
        update={"tool": tool, "notes": notes, "flows": flows, "complete": complete}
    )
    assert load_model(Meta, meta_text(meta), file="m.yaml") == meta


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a sealed capture with its golden file."""
    path = tmp_path / "x.jsonl"
    path.write_text("capture\n")
    golden_path(path).write_text("golden\n")
    write_meta(path, META)
    seal(path, golden_path(path))
    return path


def test_it_is_private_and_holds_the_sums(capture: Path) -> None:
    meta = read_meta(capture)
    sums = Sums(capture=sum_of(capture), golden=sum_of(golden_path(capture)))
    assert meta == META.model_copy(update={"sha256": sums})
    assert check_sums(meta, capture, golden_path(capture)) == []
    assert stat.S_IMODE(meta_path(capture).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["x.jsonl", "x.golden.jsonl"])
def test_a_changed_file_is_named(capture: Path, name: str) -> None:
    capture.with_name(name).write_text("other\n")
    meta = read_meta(capture)
    assert meta is not None
    (problem,) = check_sums(meta, capture, golden_path(capture))
    assert (problem.file, "edited by hand" in problem.message) == (
        str(capture.with_name(name)), True,
    )  # fmt: skip


def test_one_that_is_missing_is_none_and_is_not_made(tmp_path: Path) -> None:
    capture = tmp_path / "y.jsonl"
    assert read_meta(capture) is None
    seal(capture, golden_path(capture))
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_written_to_its_end_is_not_sealed(capture: Path) -> None:
    write_meta(capture, META.model_copy(update={"complete": False}))
    seal(capture, golden_path(capture))
    meta = read_meta(capture)
    assert meta is not None
    assert meta.sha256 is None


BAD = {
    "another version": ("version: 1", "version: 2", ":1: "),
    "an unknown key": ("notes: ", "note: ", "unknown key"),
    "a number for a word": ('tool: "mitmgate 1.0"', "tool: 1", ":2: "),
    "no profile": ("profile:", "profiles:", "unknown key"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=BAD)
def test_what_is_damaged_is_refused(capture: Path, old: str, new: str, message: str) -> None:
    text = meta_path(capture).read_text()
    assert old in text
    meta_path(capture).write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read_meta(capture)
    assert message in "\n".join(map(str, caught.value.problems))
