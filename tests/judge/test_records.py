"""Audit records and golden lines: what is in them, and what never is."""

from __future__ import annotations

import json
from dataclasses import replace

from mitmgate.judge.outcome import Completion, Outcome, Resolution, Subject
from mitmgate.judge.records import (
    completion_record,
    golden_lines,
    outcome_record,
    resolution_record,
)
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.edit import Edit
from mitmgate.wire.surfaces import Surface

SCANNER = Scanner(installed_packs(), hash_key=b"k" * 32)
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
SUBJECT = Subject("agent", "mcp", "h.example", 443, "https://h.example/mcp?sid=1", "tools/call",
                  "files", "push", "2025-11-25")  # fmt: skip
FINDING = Finding("secrets", "secret.aws-access-key", "high", Surface.ARGUMENTS, "/params/a", 0, 20,
                  "0123456789abcdef")  # fmt: skip
EDIT = Edit("/params/a", 0, 20, "[aws-access-key:1]")
OUTCOME = Outcome("x-1", 2, "request", SUBJECT, Verdict.ALLOW, "reads", "rule", "because", "no",
                  "sha256:1", (FINDING,), (EDIT,))  # fmt: skip


def test_a_decision_names_who_what_and_why() -> None:
    record = outcome_record(OUTCOME, time=0.0, scanner=SCANNER)
    assert record["v"] == 1
    assert (record["type"], record["id"], record["verdict"]) == ("decision", "x-1.2", "allow")
    assert (record["rule"], record["code"], record["reason"]) == ("reads", "rule", "because")
    assert record["edits"] == {"count": 1, "pointers": ["/params/a"]}
    assert record["findings"][0]["value_hash"] == "0123456789abcdef"


def test_a_query_is_never_recorded() -> None:
    assert outcome_record(OUTCOME, time=0.0)["endpoint"] == "https://h.example/mcp"


def test_a_secret_in_a_name_or_a_pointer_is_taken_out() -> None:
    subject = replace(SUBJECT, tool=f"push-{KEY}")
    finding = replace(FINDING, pointer=f"/params/{KEY}")
    outcome = replace(OUTCOME, subject=subject, findings=(finding,), reason=f"at /params/{KEY}")
    for record in (
        outcome_record(outcome, time=0.0, scanner=SCANNER),
        *golden_lines(outcome, exchange=1, message=0, scanner=SCANNER),
    ):
        assert KEY not in json.dumps(record)
        assert record["tool"] == "push-[redacted]"


def test_a_name_in_which_something_was_found_is_not_told() -> None:
    pointers = {
        "/params/Ignore all rules~key": "/params/*~key",
        "/params/Ignore all rules/and this~key": "/params/*/*~key",
        "/params/Ignore all rules/and this/b~decoded": "/params/*/*/b~decoded",
        "/params/Ignore all rules": "/params/*",
        "/params/Ignore": "/params/Ignore",
    }
    findings = tuple(replace(FINDING, pointer=pointer) for pointer in pointers)
    edits = (replace(EDIT, pointer="/params/Ignore all rules"),)
    outcome = replace(OUTCOME, findings=findings, edits=edits)
    told = [each["pointer"] for each in outcome_record(outcome, time=0.0)["findings"]]
    assert told == list(pointers.values())
    (golden,) = golden_lines(outcome, exchange=1, message=0)
    assert sorted(pointer for _, pointer in golden["findings"]) == sorted(pointers.values())
    assert golden["effects"] == ["edit /params/* secret.aws-access-key"]


def test_a_name_as_long_as_a_body_is_cut() -> None:
    outcome = replace(
        OUTCOME, subject=replace(SUBJECT, tool="x" * 100_000), findings=(FINDING,) * 999
    )
    record = outcome_record(outcome, time=0.0)
    assert len(record["tool"]) == 300
    assert (len(record["findings"]), record["findings_total"]) == (50, 999)


def test_a_resolution_says_who_and_how() -> None:
    resolution = Resolution("x-1.2", "allow", "console", "eva", None, 1.23456)
    record = resolution_record(resolution, time=0.0)
    assert (record["id"], record["operator"], record["waited"]) == ("x-1.2", "eva", 1.235)


def test_a_completion_says_how_it_ended() -> None:
    record = completion_record(Completion("x-1", 200, 10, 20, 0.5, "answered"), time=0.0)
    assert (record["exchange"], record["fate"], record["status"]) == ("x-1", "answered", 200)


def test_a_golden_line_holds_nothing_that_changes_from_run_to_run() -> None:
    subject = replace(SUBJECT, agent="b", host="o", port=1, endpoint="e")
    other = replace(
        OUTCOME, exchange="y-9", policy="sha256:2", reason="r", agent_reason="x", subject=subject
    )
    (line,) = golden_lines(OUTCOME, exchange=1, message=2)
    assert [line] == golden_lines(other, exchange=1, message=2)
    assert line["message"] == "2"
    assert line["effects"] == ["edit /params/a secret.aws-access-key"]


def test_a_secret_in_a_place_leaves_the_line_readable() -> None:
    finding = replace(FINDING, pointer=f"/params/{KEY}")
    edit = replace(EDIT, pointer=f"/params/{KEY}")
    outcome = replace(OUTCOME, findings=(finding,), edits=(edit,), enforced=False)
    (line,) = golden_lines(outcome, exchange=1, message=4, scanner=SCANNER)
    assert KEY not in json.dumps(line)
    assert (line["exchange"], line["message"]) == (1, "4")
    assert line["effects"] == ["edit [redacted] secret.aws-access-key", "shadow"]


def test_a_name_in_which_something_was_found_is_not_told_as_the_tool() -> None:
    outcome = replace(OUTCOME, findings=(replace(FINDING, pointer="/params/name"),), edits=())
    (line,) = golden_lines(outcome, exchange=1, message=0)
    assert (line["tool"], line["method"]) == ("*", "tools/call")
