"""What nobody can compare neither passed nor failed, and every report says so, with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from captures import call

from mitmgate.cli.app import invoke
from mitmgate.judge.inputs import EndInput, Input, MessageInput, RequestInput, Tunnel
from mitmgate.policy.verdict import Verdict
from mitmgate.record.capture import golden_path
from mitmgate.replay.compare import Comparison, Difference, NotCompared
from mitmgate.replay.entries import InputLine
from mitmgate.replay.golden import Golden
from mitmgate.replay.merge import Chosen, Merge, Window
from mitmgate.replay.run import Judged
from mitmgate.wire.http import RequestHead

type Record = Callable[[Sequence[Input]], Path]

ALLOW = Golden(1, "0", "request", "mcp", "tools/call", "files", "get", Verdict.ALLOW, "reads",
               "rule")  # fmt: skip
DENY = replace(ALLOW, verdict=Verdict.DENY, rule="no")
BODY = "the body that it rests on was not stored"
LINE = InputLine(2, 1, 0, 0.0, MessageInput("1", 0, from_client=True, data=""))

MISSING: dict[str, tuple[Judged, list[Golden], bool, str]] = {
    "the body": (Judged(LINE, (ALLOW,), uncertain=True), [DENY], True, BODY),
    "the body, though it came out the same": (
        Judged(LINE, (DENY,), uncertain=True), [DENY], True, BODY),
    "more than the body": (
        Judged(LINE, (ALLOW,), lost=True), [DENY], True, "what it rests on was not stored"),
    "the list of tools": (
        Judged(LINE, (DENY,), blurred=True), [ALLOW], True,
        "what its server said of itself and its tools was not stored"),
    "the golden line of a killed proxy": (
        Judged(LINE, (ALLOW,)), [], False,
        "its golden line was not written before the proxy was killed"),
    "all, and a denial comes before it now": (
        Judged(LINE, superseded=True, uncertain=True), [ALLOW], True,
        "a denial before it prevents it, and what that rests on was not stored"),
}  # fmt: skip


@pytest.mark.parametrize(("judged", "golden", "closed", "why"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_told_as_the_reason(
    judged: Judged, golden: list[Golden], *, closed: bool, why: str
) -> None:
    told: list[object] = []
    compared, file = Comparison(), Path("c")
    chosen = Chosen(hear=lambda *given: told.append(given[3]))
    merge = Merge(file, Window(file, iter(golden)), compared, closed=closed, chosen=chosen)
    merge.take(LINE, judged)
    merge.finish()
    assert told == [NotCompared(file, 2, why)]
    assert (compared.outcomes, compared.not_compared, compared.same) == (1, 1, 0)
    assert (compared.exit_code, dict(compared.missing)) == (0, {why: 1})


def test_what_comes_out_weaker_without_resting_on_the_list_is_compared() -> None:
    told: list[object] = []
    merge = Merge(Path("c"), Window(Path("c"), iter([DENY])), Comparison(), closed=True,
                  chosen=Chosen(hear=lambda *given: told.append(given[3])))  # fmt: skip
    merge.take(LINE, Judged(LINE, (ALLOW,), blurred=True))
    merge.finish()
    (found,) = told
    assert isinstance(found, Difference)
    assert found.weaker


def test_a_filter_counts_and_tells_only_what_it_fits_and_keeps_the_rest() -> None:
    kept: list[Golden] = []
    other = replace(ALLOW, message="0.1", tool="put")
    compared = Comparison()
    chosen = Chosen(only=lambda one: one.tool == "put", keep=kept.append)
    merge = Merge(Path("c"), Window(Path("c"), iter([ALLOW, other])), compared, closed=True,
                  chosen=chosen)  # fmt: skip
    merge.take(LINE, Judged(LINE, superseded=True, uncertain=True))
    merge.finish()
    assert (compared.outcomes, compared.not_compared) == (1, 1)
    assert kept == [ALLOW, other]


@pytest.fixture
def unsure(record: Record) -> Path:
    """A capture of one call that is judged again, and of one whose body was not stored."""
    head = RequestHead("POST", "https", "files.example", 443, "/mcp/x",
                       (("content-type", "image/png"),))  # fmt: skip
    unstored = RequestInput("b", "agent", head, "files.example", b'{"jsonrpc"\xff', Tunnel())
    return record([call("a", "get", {}), EndInput("a"), unstored, EndInput("b")])


def test_every_report_counts_it(
    unsure: Path, tmp_path: Path, policy_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, report = tmp_path / "policy.yaml", tmp_path / "report.xml"
    policy.write_text(policy_text)
    words = ["replay", str(unsure), "--policy", str(policy), "--junit", str(report)]
    assert invoke([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outcomes"], told["same"], told["not_compared"]) == (2, 1, 1)
    suite = ET.parse(report).getroot()  # noqa: S314  our own
    counts = {name: suite.get(name) for name in ("tests", "errors", "failures", "skipped")}
    assert counts == {"tests": "2", "errors": "0", "failures": "0", "skipped": "1"}
    (case,) = (case for case in suite if case.find("skipped") is not None)
    assert case.find("skipped").attrib == {"message": BODY}  # type: ignore[union-attr]
    assert case.findtext("system-out") == f"{unsure}:4"
    assert invoke([*words, "--github"]) == 0
    shown = capsys.readouterr()
    assert "1 outcome not compared" in shown.out
    assert shown.err == f"::notice title=mitmgate replay%3A not compared::{BODY}  x1\n"


def test_a_report_counts_what_failed(unsure: Path, tmp_path: Path, policy_text: str) -> None:
    policy, report = tmp_path / "policy.yaml", tmp_path / "report.xml"
    policy.write_text(policy_text.replace("list], then: allow", "list], then: deny"))
    words = ["replay", str(unsure), "--policy", str(policy), "--junit", str(report)]
    assert invoke(words) == 1
    head = report.read_text().splitlines()[1]
    assert head.split(">")[0].split() == [
        "<testsuite", 'name="mitmgate', 'replay"', 'tests="2"', 'errors="0"', 'failures="1"',
        'skipped="1"',
    ]  # fmt: skip
    assert golden_path(unsure).exists()
