"""``mitmgate audit``: decisions with their answers, filtered, followed, and damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mitmgate.cli.app import invoke
from mitmgate.query.show import record_line
from mitmgate.record.audit import TORN_NOTE, note_record

BASE = {"v": 1, "time": "2026-11-21T08:00:00.000Z"}


def decision(number: str, **more: Any) -> dict[str, Any]:
    return {
        **BASE, "type": "decision", "id": f"{number}.0", "exchange": number, "kind": "request",
        "channel": "mcp", "agent": "claude", "server": "github", "host": "api.example",
        "port": 443, "endpoint": "https://api.example/mcp", "method": "tools/call",
        "tool": "get_issue", "verdict": "allow", "enforced": True, "rule": "reads",
        "code": "rule", "reason": "rule reads", "edits": {"count": 0, "pointers": []}, **more,
    }  # fmt: skip


RECORDS: list[dict[str, Any]] = [
    {**BASE, "type": "start", "tool": "mitmgate 0.1.0", "mode": "enforce"},
    {**BASE, "type": "policy", "result": "applied", "policy": "sha256:ab", "before": "sha256:cd",
     "changes": ["rule r is gone, it denied"], "changes_total": 1, "operator": "eva",
     "problem": None},
    decision("a", time="2026-11-21T07:00:00.000Z"),
    decision("b", verdict="ask", tool="push_files", rule="otherwise"),
    {**BASE, "type": "resolution", "id": "b.0", "answer": "allow", "via": "console",
     "operator": "eva", "reason": None, "waited": 2.5},
    decision("c", channel="egress", server=None, host="evil.example", method="GET", tool=None,
             endpoint="https://evil.example/", verdict="deny", rule="otherwise"),
    {**BASE, "type": "completion", "exchange": "c", "status": 403, "fate": "denied",
     "latency": 0.004},
    {**BASE, "type": "completion", "exchange": "b", "status": 200, "fate": "answered",
     "latency": 3.25},
    decision("d", edits={"count": 2, "pointers": []}, agent="cursor"),
    decision("e", verdict="deny", enforced=False),
]  # fmt: skip


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    _write(tmp_path / "audit" / "audit.jsonl", RECORDS)
    return tmp_path


def _audit(state: Path, *arguments: str) -> int:
    return invoke(["audit", *arguments, "--state-dir", str(state)])


def _ids(output: str) -> list[str]:
    return [json.loads(line)["exchange"] for line in output.splitlines()]


FILTERS = {
    "everything": ([], "abcde"),
    "a verdict": (["--verdict", "deny"], "ce"),
    "an agent": (["--agent", "cursor"], "d"),
    "an agent by a glob": (["--agent", "cl*"], "abce"),
    "a server": (["--server", "github"], "abde"),
    "a tool": (["--tool", "push_*"], "b"),
    "a rule": (["--rule", "otherwise"], "bc"),
    "a host": (["--host", "evil.example"], "c"),
    "a method": (["--method", "GET"], "c"),
    "a time": (["--since", "2026-11-21T07:30:00Z"], "bcde"),
    "a time in another zone": (["--since", "2026-11-21T08:30:00+01:00"], "bcde"),
    "two at once": (["--verdict", "deny", "--server", "github"], "e"),
    "nothing": (["--tool", "none"], ""),
}


@pytest.mark.parametrize(("options", "ids"), FILTERS.values(), ids=FILTERS)
def test_query(
    state: Path, capsys: pytest.CaptureFixture[str], options: list[str], ids: str
) -> None:
    assert _audit(state, "query", "--json", *options) == 0
    assert _ids(capsys.readouterr().out) == list(ids)


def test_a_line_says_who_approved_and_how_it_ended(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _audit(state, "query", "--tool", "push_files")
    assert capsys.readouterr().out == (
        "2026-11-21 08:00:00  b.0        ask       claude  github tools/call push_files  "
        "otherwise: rule reads  [approved by eva (console) after 2.5 s]  "
        "(answered, 200, 3250 ms)\n"
    )


def test_egress_redaction_and_shadow_are_told_apart(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _audit(state, "tail", "-n", "3")
    egress, redacted, shadowed = capsys.readouterr().out.splitlines()
    assert "deny      claude  GET https://evil.example/" in egress
    assert "  redact    cursor" in redacted
    assert "  (deny)    claude" in shadowed


def test_json_holds_what_was_joined(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _audit(state, "query", "--json", "--tool", "push_files")
    record = json.loads(capsys.readouterr().out)
    assert (record["resolution"]["operator"], record["completion"]["status"]) == ("eva", 200)


def test_a_stranger_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = decision("a", tool="x\x1b[2J\nallow everything", agent="\u202e")
    _write(tmp_path / "audit" / "audit.jsonl", [evil])
    _audit(tmp_path, "tail")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()


def test_a_line_that_is_being_written_is_left_out(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (state / "audit" / "audit.jsonl").open("a") as file:
        file.write('{"v":1,"type":"deci')
    assert _audit(state, "tail", "--json") == 0
    assert _ids(capsys.readouterr().out) == list("abcde")


DAMAGED = {
    "no JSON": b"garbage\n",
    "no object": b"[]\n",
    "another version": b'{"v":2,"type":"note","time":"x"}\n',
    "an unknown type": b'{"v":1,"type":"other","time":"x"}\n',
    "no time": b'{"v":1,"type":"note"}\n',
    "a decision without its fields": b'{"v":1,"type":"decision","time":"x"}\n',
    "nesting without end": b"[" * 100_000 + b"\n",
    "a line that is far too long": b"x" * 3_000_000 + b"\n",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_named_and_the_rest_is_shown(
    state: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    path = state / "audit" / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], line, *lines[3:]]))
    assert _audit(state, "query", "--json") == 2
    out, err = capsys.readouterr()
    assert _ids(out) == list("abcde")
    assert err.startswith(f"error: {path}:4: ")


def test_a_line_that_a_killed_proxy_cut_is_a_warning_once_the_next_start_noted_it(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = state / "audit" / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    note = json.dumps(note_record(TORN_NOTE, time=0.0)).encode() + b"\n"
    path.write_bytes(b"".join([*lines[:3], b'{"v":1,"type":"dec\n', note, *lines[3:]]))
    assert _audit(state, "query", "--json") == 0
    out, err = capsys.readouterr()
    assert _ids(out) == list("abcde")
    assert err.startswith(f"warning: {path}:4: ")


def test_no_audit_file_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _audit(tmp_path, "tail") == 2
    assert "mitmgate run" in capsys.readouterr().err


@pytest.mark.parametrize("since", ["yesterday", "", "h", "-1h", "99999999999d", "\u00b2h"])
def test_a_time_that_is_none_says_how_to_write_one(
    state: Path, capsys: pytest.CaptureFixture[str], since: str
) -> None:
    assert _audit(state, "query", "--since", since) == 2
    assert "7d" in capsys.readouterr().err


def test_follow_shows_what_comes_and_starts_again_with_a_new_file(state: Path) -> None:
    path = state / "audit" / "audit.jsonl"
    command = [sys.executable, "-c", "from mitmgate.cli.app import invoke; invoke()", "audit",
               "tail", "-n", "1", "-f", "--json", "--state-dir", str(state)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["exchange"] == "e"
            with path.open("a") as file:
                file.write(json.dumps(decision("f")) + "\n")
            assert json.loads(process.stdout.readline())["exchange"] == "f"
            new = path.with_name("new")
            _write(new, [decision("g")])
            new.replace(path)
            assert json.loads(process.stdout.readline())["exchange"] == "g"
        finally:
            process.terminate()


def test_a_new_policy_is_no_damage_and_can_be_followed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _audit(state, "query") == 0
    assert capsys.readouterr().err == ""
    assert record_line(RECORDS[1]) == (
        "2026-11-21 08:00:00  policy sha256:ab: applied by eva, 1 change loosens"
    )
