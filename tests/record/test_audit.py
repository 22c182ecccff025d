"""The audit file: whole records only, whatever happens to the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.record.audit import AuditLog, note_record, start_record


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, time=0)
    log.append(start_record(time=1, tool="t", policy="p", mode="enforce", listen="l"))
    log.append(note_record("hello", time=2))
    log.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["v"], r["type"]) for r in records] == [(1, "start"), (1, "note")]
    assert records[0]["time"] == "1970-01-01T00:00:01.000Z"


def test_a_line_cut_by_a_power_failure_is_ended_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"v":1,"type":"sta')
    AuditLog(path, time=0).close()
    first, note = path.read_text().splitlines()
    assert first == '{"v":1,"type":"sta'
    assert json.loads(note)["type"] == "note"


def test_opening_a_whole_file_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"{}\n")
    AuditLog(path, time=0).close()
    assert path.read_bytes() == b"{}\n"


def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        AuditLog(tmp_path / "missing" / "audit.jsonl", time=0)
    assert "--state-dir" in str(caught.value)


def test_a_closed_log_raises_rather_than_losing_a_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", time=0)
    log.close()
    log.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.append(note_record("lost", time=0))


WRITER = """
import sys
from itertools import count
from pathlib import Path
from mitmgate.record.audit import AuditLog, note_record
log = AuditLog(Path(sys.argv[1]), time=0)
for number in count():
    log.append(note_record("x" * (number % 5000), time=number))
    print(number, flush=True)
"""


def test_kill_9_leaves_every_record_that_was_acknowledged_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 300:
            pass
        process.send_signal(signal.SIGKILL)
        acknowledged = 300 + len([line for line in process.stdout if line.endswith("\n")])
    data = path.read_bytes()
    assert data.endswith(b"\n")
    records = [json.loads(line) for line in data.splitlines()]
    assert len(records) > acknowledged
    assert [len(r["note"]) for r in records] == [n % 5000 for n in range(len(records))]
