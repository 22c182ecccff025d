"""Audit file and captures together: what was captured is told with its bodies, and counted once."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from audit_rows import (
    NOW,
    READS,
    READS_ASK,
    changed_policy,
    changed_text,
    fetched,
    reads,
    recorded,
    write_audit,
    write_capture,
)
from hypothesis import given
from hypothesis import strategies as st
from judging import call

from mitmgate.cli import whatif as command
from mitmgate.errors import ConfigError
from mitmgate.policy.compiled import Policy
from mitmgate.query.changes import Tally
from mitmgate.query.records import Damage
from mitmgate.query.seeking import records_since
from mitmgate.query.whatif import WhatIf, tally_records
from mitmgate.record.audit import TORN_NOTE
from mitmgate.record.lines import encode_line, timestamp
from mitmgate.replay.entries import CaptureLine
from mitmgate.serve.replaying import read_lines_for
from mitmgate.serve.whatif import Pace, Traffic, whatif

WEEK = 7 * 86_400
WHERE = "{/arguments/n: {gt: 1}}"
BIG = (READS, f"- {{id: big, tool: get_2, where: {WHERE}, then: deny}}\n    {READS}")
type Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command with its state folder; the time is the records'."""
    app = typer.Typer()
    app.command()(command.whatif)
    monkeypatch.setattr("mitmgate.cli.whatif.time.time", lambda: NOW)
    (tmp_path / "policy.yaml").write_text(changed_text())

    def invoked(text: str, *more: str) -> int:
        new = tmp_path / "new.yaml"
        new.write_text(text)
        arguments = ["--policy", str(new), "--state-dir", str(tmp_path), *more]
        return int(app(args=arguments, standalone_mode=False) or 0)

    return invoked


def test_the_command_says_what_changes_and_by_which_rule(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audit(tmp_path, [recorded(one) for one in reads(3)])
    assert run(changed_text((READS, READS_ASK))) == 1
    shown = capsys.readouterr().out
    assert "In 1 day this would have asked for 3 more (3.0 a day) of 3 decisions." in shown
    assert "NEWLY ASKED        reads: allow (reads) → ask (reads)  x3  e.g. r-0.0, r-1.0" in shown


# sentence: the edits, the exit code
CODES: dict[str, tuple[tuple[tuple[str, str], ...], int]] = {
    "nothing changes": ((), 0),
    "a call is denied": (((READS, ""),), 1),
    "something cannot be told": ((BIG,), 1),
    "a host is opened": ((("host: docs.example", "host: [docs.example, evil.example]"),), 3),
    "one call is denied, a host is opened": (
        ((READS, ""), ("host: docs.example", "host: [docs.example, evil.example]")), 3),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CODES)
def test_the_exit_code(sentence: str, run: Run, tmp_path: Path) -> None:
    edits, code = CODES[sentence]
    write_audit(tmp_path, [*map(recorded, reads(3)), recorded(fetched("e-1", "evil.example"))])
    assert run(changed_text(*edits)) == code


def test_json_holds_the_same_and_no_more(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audit(tmp_path, [recorded(one) for one in reads(3)])
    assert run(changed_text((READS, READS_ASK)), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["exit"], told["asked"], told["decisions"], told["days"]) == (1, 3, 3, 1.0)
    assert told["groups"] == [{
        "kind": "asked", "rule": "reads", "before": "allow (reads)", "after": "ask (reads)",
        "why": "", "count": 3, "examples": ["r-0.0", "r-1.0", "r-2.0"]}]  # fmt: skip


def test_against_names_the_other_policy(run: Run, tmp_path: Path) -> None:
    write_audit(tmp_path, [recorded(one) for one in reads(1)])
    other = tmp_path / "other.yaml"
    other.write_text(changed_text((READS, READS_ASK)))
    assert run(changed_text((READS, READS_ASK)), "--against", str(other)) == 0
    assert run(changed_text(), "--against", str(other)) == 3


def no_audit(_: Path) -> None:
    pass


def nothing_since(folder: Path) -> None:
    write_audit(folder, [recorded(one, now=NOW - 2 * WEEK) for one in reads(1)])


def torn_capture(folder: Path) -> None:
    path = write_capture(folder / "captures", reads(2))
    path.write_bytes(path.read_bytes()[:-9])


UNUSABLE: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "there is no audit file": (no_audit, ()),
    "no decisions since 7d": (nothing_since, ()),
    "not a time: 'soon'": (nothing_since, ("--since", "soon")),
    "no such file": (nothing_since, ("--captures", "/nowhere/at/all")),
    "cut off": (torn_capture, ()),
    "/nowhere/at/all.yaml: no such file": (nothing_since, ("--against", "/nowhere/at/all.yaml")),
}


@pytest.mark.parametrize("words", UNUSABLE)
def test_what_cannot_be_used_says_why(words: str, run: Run, tmp_path: Path) -> None:
    make, options = UNUSABLE[words]
    make(tmp_path)
    with pytest.raises(ConfigError) as caught:
        run(changed_text((READS, READS_ASK)), *options)
    assert words in str(caught.value.problems[0])


def test_a_damaged_line_is_left_out_and_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_audit(tmp_path, [recorded(one) for one in reads(2)])
    with path.open("ab") as file:
        file.write(b"{nonsense\n")
        file.write(encode_line(recorded(reads(3)[2])))
    assert run(changed_text((READS, READS_ASK))) == 2
    shown = capsys.readouterr()
    assert "3 decisions" in shown.out
    assert "1 lines of the audit file are damaged" in shown.err


def told(folder: Path, *edits: tuple[str, str]) -> Tally:
    audit, captures = folder / "audit" / "audit.jsonl", (folder / "captures",)
    return whatif(changed_policy(), changed_policy(*edits),
                  Traffic(audit, captures, NOW - WEEK, NOW))  # fmt: skip


def test_a_body_tells_what_the_record_cannot_and_is_counted_once(tmp_path: Path) -> None:
    calls = reads(4)
    write_audit(tmp_path, [recorded(one) for one in calls])
    write_capture(tmp_path / "captures", calls[1:])
    found = told(tmp_path, BIG)
    kinds = {(g.change.kind, g.change.rule): (g.count, g.examples) for g in found.groups()}
    assert kinds == {("denied", "big"): (1, ["r-2"])}
    assert (found.decisions, found.with_bodies) == (4, 3)
    write_capture(tmp_path / "captures", [])
    alone = whatif(changed_policy(), changed_policy(BIG),
                   Traffic(tmp_path / "audit" / "audit.jsonl", (), NOW - WEEK, NOW))  # fmt: skip
    assert (alone.counts["undecidable"], alone.counts["denied"]) == (1, 0)


def test_where_a_capture_has_not_the_body_the_record_tells(tmp_path: Path) -> None:
    large = call("get_2", {"n": 2, "text": "x" * 1_200_000}, exchange="l-1")
    write_capture(tmp_path / "captures", [large])
    found = whatif(changed_policy(), changed_policy((READS, READS_ASK)),
                   Traffic(None, (tmp_path / "captures",), NOW - WEEK, NOW))  # fmt: skip
    assert dict(found.counts) == {"undecidable": 1}
    write_audit(tmp_path, [recorded(large)])
    found = told(tmp_path, (READS, READS_ASK))
    assert (dict(found.counts), found.decisions) == ({"asked": 1}, 1)
    assert dict(told(tmp_path, BIG).counts) == {"undecidable": 1}


def test_what_was_captured_before_the_time_is_judged_and_not_counted(tmp_path: Path) -> None:
    write_capture(tmp_path / "captures", reads(3), now=NOW - 2 * WEEK)
    found = whatif(changed_policy(), changed_policy((READS, "")),
                   Traffic(None, (tmp_path / "captures",), NOW - WEEK, NOW))  # fmt: skip
    assert (found.decisions, found.counts.total()) == (0, 0)


def test_a_lost_redaction_lets_more_through(tmp_path: Path) -> None:
    secret = call("get_x", {"path": "AKIA" + "QYLPMN5HHHFPZAM2"}, exchange="s-1")
    write_capture(tmp_path / "captures", [secret])
    logged = ("hold:", "scan: {secrets: {arguments: log}}\nhold:")
    redacted = ("hold:", "scan: {secrets: {arguments: redact}}\nhold:")
    traffic = Traffic(None, (tmp_path / "captures",), NOW - WEEK, NOW)
    found = whatif(changed_policy(redacted), changed_policy(logged), traffic)
    assert (found.counts["unredacted"], found.exit_code) == (1, 3)
    found = whatif(changed_policy(logged), changed_policy(redacted), traffic)
    assert (found.counts["redacted"], found.exit_code) == (1, 1)


def test_when_the_time_is_over_what_is_there_is_partial(tmp_path: Path) -> None:
    write_audit(tmp_path, [recorded(one) for one in reads(5)])
    ticks = iter(range(100))
    pace = Pace(3.0, clock=lambda: float(next(ticks)))
    traffic = Traffic(tmp_path / "audit" / "audit.jsonl", (), NOW - WEEK, NOW)
    found = whatif(changed_policy(), changed_policy((READS, "")), traffic, pace)
    assert (found.partial, found.decisions) == (True, 2)


def copies(count: int) -> Iterator[dict[str, Any]]:
    one = recorded(reads(1)[0])
    for number in range(count):
        yield one | {"id": f"r-{number:x}.0", "exchange": f"r-{number:x}",
                     "tool": f"get_{number % 4_300}",
                     "time": timestamp(NOW - number / 1000)}  # fmt: skip


def test_memory_does_not_grow_with_the_records() -> None:
    asked, found = WhatIf(changed_policy(), changed_policy((READS, READS_ASK))), Tally(0, NOW)
    tally_records(asked, copies(4_500), found, since="")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally_records(asked, copies(9_000), found, since="")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 8 * 1024 * 1024
    assert found.counts["asked"] == 13_500
    assert len(asked._kept) <= 4_096


@given(st.integers(0, 400), st.integers(0, 420))
def test_reading_from_a_time_on_misses_nothing(count: int, since: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("mitmgate.query.seeking._SLACK", 2_000)
        lines = [{"v": 1, "type": "note", "time": timestamp(n), "note": "x" * (n % 90)}
                 for n in range(count)]  # fmt: skip
        path = write_audit(Path(folder), lines)
        with path.open("ab") as file:
            file.write(b'{"v":1,"ty')
        found = [one for one in records_since(path, timestamp(since))
                 if not isinstance(one, Damage)]  # fmt: skip
        times = [one["time"] for one in found]
        assert [t for t in times if t >= timestamp(since)] == [
            timestamp(n) for n in range(since, count)]  # fmt: skip
        assert len(found) - max(0, count - since) < 120


def hole(path: Path, kind: str) -> None:
    """Let the only exchange of a capture have no end, or a cut before it, or leave it whole."""
    header, request, end, _ = (json.loads(line) for line in path.read_text().splitlines())
    cut = {**end, "type": "cut", "bytes": 9}
    lines = {
        "whole": [header, request, end],
        "cut": [header, request, cut, end],
        "begun": [header, request],
        "carried": [header, request | {"carried": True}, end],
    }[kind]
    lines.append({"type": "close", "lines": len(lines)})
    path.write_bytes(b"".join(map(encode_line, lines)))


# sentence: what the capture holds, how many decisions come from it, how many from records
HOLES: dict[str, tuple[str, int, int]] = {
    "all of an exchange is known": ("whole", 1, 0),
    "what came behind a cut is judged from its record": ("cut", 1, 1),
    "what has not ended is judged from its record": ("begun", 1, 1),
    "what began in a segment that is gone is judged from its records": ("carried", 0, 2),
}


@pytest.mark.parametrize("sentence", HOLES)
def test_records_of_what_a_capture_does_not_hold_count(sentence: str, tmp_path: Path) -> None:
    kind, with_bodies, from_records = HOLES[sentence]
    [one] = reads(1)
    hole(write_capture(tmp_path / "captures", [one]), kind)
    row = recorded(one)
    came = {"id": "r-0.1", "kind": "answer", "rule": "answer", "code": "answer"}
    write_audit(tmp_path, [row, row | came | {"time": timestamp(NOW + 5)}])
    out = f"{READS}\n    - {{id: out, phase: result, tool: get*, then: deny}}"
    found = told(tmp_path, (READS, out))
    assert (found.with_bodies, found.decisions) == (with_bodies, with_bodies + from_records)
    assert found.counts["denied"] == (from_records > 0), "the answer is denied now"


def test_a_question_is_one_whether_a_capture_or_a_record_tells_of_it(tmp_path: Path) -> None:
    asked = [call("get_x", {}, host="new.example", exchange=f"q-{n}") for n in range(4)]
    write_audit(tmp_path, [recorded(one) for one in asked])
    write_capture(tmp_path / "captures", asked[:2])
    before = ("unknown_servers: ask", "unknown_servers: deny")
    traffic = Traffic(tmp_path / "audit" / "audit.jsonl", (tmp_path / "captures",),
                      NOW - WEEK, NOW)  # fmt: skip
    found = whatif(changed_policy(before), changed_policy(), traffic)
    assert (found.decisions, found.with_bodies) == (4, 2)
    assert found.counts["asked"] == 1


LONG: dict[str, tuple[bytes, int, int]] = {
    "a line that is longer than any record": (b"x" * 3_000_000 + b"\n", 2, 1),
    "a line that was torn, and the note of it": (
        b'{"v":1,"ty\n' + encode_line({"v": 1, "type": "note", "time": timestamp(NOW),
                                       "note": TORN_NOTE}), 2, 0),
    "a line that is being written": (b"", 2, 0),
}  # fmt: skip


@pytest.mark.parametrize("seek", [True, False])
@pytest.mark.parametrize("sentence", LONG)
def test_damaged_lines_hide_none_that_follow(sentence: str, seek: bool, tmp_path: Path) -> None:
    damage, decisions, damaged = LONG[sentence]
    first, second = (encode_line(recorded(one)) for one in reads(2))
    path = write_audit(tmp_path, [])
    path.write_bytes(first + damage + second + b'{"v":1,"type":"deci')
    found = whatif(changed_policy(), changed_policy((READS, "")),
                   Traffic(path, (), NOW - WEEK, NOW), seek=seek)  # fmt: skip
    assert (found.decisions, found.damaged, found.counts["denied"]) == (
        decisions, damaged, decisions)  # fmt: skip


def test_a_segment_that_is_gone_or_has_no_line_yet_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = reads(3)
    write_audit(tmp_path, [recorded(one) for one in calls])
    gone = write_capture(tmp_path / "oldest", calls[:1])
    write_capture(tmp_path / "captures", calls[1:2])
    (tmp_path / "captures" / "capture-z.jsonl").touch()

    def vanishing(file: Path, policy: Policy) -> Iterator[CaptureLine]:
        if file == gone:
            gone.unlink()
        return read_lines_for(file, policy)

    monkeypatch.setattr("mitmgate.serve.whatif.read_lines_for", vanishing)
    captures = tmp_path / "oldest", tmp_path / "captures"
    traffic = Traffic(tmp_path / "audit" / "audit.jsonl", captures, NOW - WEEK, NOW)
    found = whatif(changed_policy(), changed_policy((READS, "")), traffic)
    assert (found.with_bodies, found.decisions, found.counts["denied"]) == (1, 3, 3)
