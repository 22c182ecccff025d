"""What consoles and shells see: escaped, shortened, and without secrets."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from judging import KEY, call, make_judge, post, request, scanner, with_scan

from mitmgate.judge.inputs import ConnectInput, Input
from mitmgate.judge.judge import Prepared
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.verdict import Verdict
from mitmgate.serve.views import (
    arguments_of,
    log_line,
    pending_of,
    printable,
    row_of,
    without_arguments,
)


def judged(given: Input, effect: str = "log") -> tuple[Outcome, Prepared]:
    judge = make_judge(with_scan(f"{{secrets: {{arguments: {effect}, egress_request: {effect}}}}}"))
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    return outcome, prepared


LINES: dict[str, tuple[Input, dict[str, Any], str]] = {
    "a call": (call("get_x"), {}, "allow    x.0 agent files tools/call get_x [reads] "
                                  "rule reads says allow"),
    "a denied call": (call("rm"), {}, "deny     x.0 agent files tools/call rm [otherwise] "),
    "what shadow let pass": (call("rm"), {"enforced": False}, "shadow:deny x.0 agent files"),
    "egress": (request("GET", "docs.example", "/a?b"), {},
               "allow    x.0 agent https://docs.example/a GET [docs] "),
    "control characters": (call("a\x1b[2Jb\n\rc"), {}, "tools/call a\\u001b[2Jb\\u000a\\u000dc ["),
    "letters that turn the line around": (call("a\u202eb"), {}, "tools/call a\\u202eb ["),
    "C1 controls": (call("a\x9bb"), {}, "tools/call a\\u009bb ["),
}  # fmt: skip


@pytest.mark.parametrize(("given", "changes", "text"), LINES.values(), ids=LINES)
def test_a_line_of_the_log(given: Input, changes: dict[str, Any], text: str) -> None:
    outcome = dataclasses.replace(judged(given)[0], **changes)
    line = log_line(row_of(outcome, time=0.0, scanner=scanner()))
    assert text in line
    assert line.isprintable()


def test_a_line_says_that_something_was_taken_out() -> None:
    outcome, _ = judged(call("get_x", {"q": KEY}), "redact")
    assert outcome.verdict is Verdict.ALLOW
    assert log_line(row_of(outcome, time=0.0, scanner=scanner())).startswith("redacted x.0 ")


def test_letters_of_all_people_are_printable() -> None:
    assert printable("grüße 世界 🎉") == "grüße 世界 🎉"


# What waits, and the arguments that an operator sees.
ARGUMENTS: dict[str, tuple[Input, Any]] = {
    "a call": (call("push", {"a": 1}), {"name": "push", "arguments": {"a": 1}}),
    "a credential in a value": (
        call("push", {"a": f"x {KEY} y"}),
        {"name": "push", "arguments": {"a": "x [aws-access-key:1] y"}}),
    "a credential in the name of a member": (
        call("push", {KEY: 1}), "(not shown: a credential stands in the name of a member)"),
    "a body of egress": (post({"a": KEY}, "paste.example"), {"a": "[aws-access-key:1]"}),
    "a text of egress": (
        request("POST", "paste.example", body=f"k={KEY}".encode()), "k=[aws-access-key:1]"),
    "a body that is no text": (request("POST", "paste.example", body=b"\xff"), None),
    "no body": (request("GET", "paste.example"), None),
    "a tunnel": (ConnectInput("x", "agent", "a.example:22"), None),
    "a key twice": (request("POST", "paste.example", body=b'{"a":1,"a":2}'), '{"a":1,"a":2}'),
}  # fmt: skip


@pytest.mark.parametrize(("given", "shown"), ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("effect", ["log", "redact"])
def test_what_the_operator_sees(given: Input, shown: Any, effect: str) -> None:
    outcome, prepared = judged(given, effect)
    assert arguments_of(outcome, prepared) == shown


def test_a_very_long_text_is_cut() -> None:
    outcome, prepared = judged(request("POST", "paste.example", body=b"x" * 100_000))
    shown = arguments_of(outcome, prepared)
    assert isinstance(shown, str)
    assert len(shown) < 70_000
    assert shown.endswith("characters in all)")


def test_of_very_long_arguments_each_stands_in_its_place() -> None:
    long = {"note": "x" * 5_000_000, "list": list(range(100_000)), "n" * 100_000: 1, "amount": 9}
    outcome, prepared = judged(call("push", long))
    shown = arguments_of(outcome, prepared)
    arguments = shown["arguments"]
    assert (shown["name"], arguments["amount"]) == ("push", 9)
    assert arguments["note"].endswith("… (5000000 characters in all)")
    assert arguments["list"][-1].endswith("items more)")
    assert len(arguments) == 4
    assert len(json.dumps(shown)) < 80_000


def test_a_credential_on_the_cut_is_not_shown_in_half() -> None:
    for padding in range(65_400, 65_480, 7):
        outcome, prepared = judged(call("push", {"a": "x" * padding + " " + KEY}))
        assert KEY[:8] not in str(arguments_of(outcome, prepared))


def test_without_the_key_there_are_no_arguments() -> None:
    outcome, prepared = judged(call("push", {"a": 1}))
    entry = pending_of(outcome, arguments_of(outcome, prepared), scanner=scanner())
    assert entry.arguments is not None
    assert entry.row.held
    assert without_arguments(entry) == entry.model_copy(update={"arguments": None})


def test_a_row_holds_places_and_no_texts() -> None:
    outcome, _ = judged(call("get_x", {"q": KEY}))
    row = row_of(outcome, time=0.0, scanner=scanner())
    assert [f.pointer for f in row.findings] == ["/params/arguments/q"]
    assert KEY not in row.model_dump_json()


def test_a_row_of_nothing_but_secrets_is_still_a_row() -> None:
    outcome, _ = judged(call("get_x", {KEY: {KEY: KEY}}))
    subject = dataclasses.replace(
        outcome.subject, agent=KEY, host=KEY, endpoint=KEY, method=KEY, tool=KEY, server=KEY
    )
    hidden = dataclasses.replace(outcome, subject=subject, reason=KEY)
    row = row_of(hidden, time=0.0, scanner=scanner())
    text = json.dumps(row.model_dump(mode="json"))
    assert KEY not in text
    assert (row.id, row.channel, row.verdict) == ("x.0", "mcp", "allow")
    assert KEY not in log_line(row)
