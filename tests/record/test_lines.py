"""Lines on disk stay whole: after a crash, on a full disk, and beside another writer."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.record.lines import LineFile, encode_line, printable, timestamp

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None))
RECORDS = st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=5)


@given(RECORDS)
def test_any_record_is_one_line_that_reads_back(record: dict[str, Any]) -> None:
    line = encode_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == record


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        LineFile(tmp_path / "a").close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_an_old_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o644)
    LineFile(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_last_line_ends_before_the_next_begins(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"a":1}\n{"b"')
    file = LineFile(path)
    assert file.was_torn
    file.append(b'{"c":3}\n')
    file.append(b'{"d":4}\n')
    file.close()
    assert path.read_bytes() == b'{"a":1}\n{"b"\n{"c":3}\n{"d":4}\n'


def test_each_line_is_one_write_of_all_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    real = os.write

    def counting(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return real(fd, data)

    file = LineFile(tmp_path / "a")
    monkeypatch.setattr(os, "write", counting)
    file.append(b"x" * 100_000 + b"\n")
    file.close()
    assert writes == [100_001]


def test_a_short_write_is_an_error_and_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    real = os.write
    file = LineFile(path)
    file.append(b"first\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
        with pytest.raises(OSError, match="only 3 of 7"):
            file.append(b"second\n")
    assert path.read_bytes() == b"first\n"
    file.append(b"third\n")
    file.close()
    assert path.read_bytes() == b"first\nthird\n"


def test_a_short_write_beside_another_writer_takes_nothing_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    real = os.write
    mine, theirs = LineFile(path), LineFile(path)

    def short(fd: int, data: bytes) -> int:
        written = real(fd, data[:3])
        monkeypatch.setattr(os, "write", real)
        theirs.append(b"other\n")
        return written

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="only 3"):
        mine.append(b"second\n")
    mine.append(b"third\n")
    mine.close()
    theirs.close()
    assert path.read_bytes() == b"secother\n\nthird\n"


FULL_DISK = """
import resource, sys
from pathlib import Path
from mitmgate.record.lines import LineFile
file = LineFile(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
written = 0
for _ in range(100):
    try:
        file.append(b"x" * 63 + b"\\n")
        written += 1
    except OSError:
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append(b"y" * 63 + b"\\n")
print(written)
"""


def test_a_full_disk_is_an_error_and_lines_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    lines = path.read_bytes().splitlines()
    assert int(done.stdout) == 15
    assert lines == [b"x" * 63] * 15 + [b"y" * 63]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        LineFile(tmp_path / "pipe")


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_763_712_000.0426) == "2025-11-21T08:00:00.042Z"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202eevil", "\x00", "\ud800", "\x9b"])
def test_nothing_that_moves_the_cursor_reaches_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_ordinary_text_is_shown_as_it_is() -> None:
    assert printable("grüße 世界") == "grüße 世界"
