"""``mitmgate replay`` with its options: what is accepted, chosen, reported and counted."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.cli.app import invoke
from mitmgate.control.words import parse_words
from mitmgate.errors import ConfigError
from mitmgate.policy.verdict import Verdict
from mitmgate.record.capture import golden_path
from mitmgate.replay.golden import Golden
from mitmgate.replay.words import only

SAME, DIFFERENT, UNUSABLE, WEAKER = 0, 1, 2, 3
LAX = ("then: deny}", "then: allow}")
STRICT = ("[get, list], then: allow", "[get, list], then: deny")


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.fixture
def policy(tmp_path: Path, policy_text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text)
    return path


def _change(policy: Path, *changes: tuple[str, str]) -> None:
    text = policy.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    policy.write_text(text)


def _replay(capture: Path, policy: Path, *more: str) -> int:
    return invoke(["replay", str(capture), "--policy", str(policy), *more])


ACCEPTED: dict[str, tuple[tuple[str, ...], int, int]] = {
    "nothing is accepted without a word": ((), WEAKER, WEAKER),
    "update alone does not accept what is weaker": (("--update",), WEAKER, WEAKER),
    "update accepts it when that is said": (("--update", "--accept-weaker"), SAME, SAME),
    "the word alone is no order": (("--accept-weaker",), UNUSABLE, WEAKER),
}


@pytest.mark.parametrize(("options", "code", "then"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_weaker_is_accepted_by_two_words_only(
    captured: Path, policy: Path, options: tuple[str, ...], code: int, then: int
) -> None:
    before = golden_path(captured).read_bytes()
    _change(policy, LAX)
    assert _replay(captured, policy, *options) == code
    assert (golden_path(captured).read_bytes() != before) is (then == SAME)
    assert _replay(captured, policy) == then


CHOSEN: dict[str, tuple[str, int]] = {
    "a tool that is not changed": ("tool:get", SAME),
    "the tool that is weaker": ("tool:push", WEAKER),
    "a part of a name": ("pus", WEAKER),
    "a pattern": ("tool:p*h v:deny", WEAKER),
    "a pattern that ends too early": ("tool:p*s v:deny | t:connect | tool:get", SAME),
    "not the tool": ("!tool:push server:files", SAME),
    "not a tool, with the sign behind the name": ("tool:!push server:files", SAME),
    "one of two": ("(tool:get | tool:push) rule:no-force", WEAKER),
    "the method in the words of mitmproxy": ("method:tools/call v:allow ex:2", WEAKER),
    "what is edited": ("v:edit f:aws", SAME),
    "egress": ("t:egress", SAME),
    "a quoted word": ("tool:'push'", WEAKER),
    "a rule that decides only now": ("ex:2 & !v:ask", WEAKER),
    "nothing": ("tool:nowhere", UNUSABLE),
    "a word that is none": ("host:evil.example", UNUSABLE),
    "a verdict that is none": ("v:maybe", UNUSABLE),
    "an exchange that is no number": ("ex:two", UNUSABLE),
    "an open bracket": ("(tool:get", UNUSABLE),
    "a closing bracket": ("tool:get)", UNUSABLE),
    "half of an or": ("tool:get |", UNUSABLE),
    "half of a not": ("!", UNUSABLE),
    "no value": ("tool:", UNUSABLE),
    "an open quote": ("'get", UNUSABLE),
    "no word at all": ("", UNUSABLE),
    "too much": ("x " * 300, UNUSABLE),
    "too deep": ("(" * 40 + "x" + ")" * 40, UNUSABLE),
}


@pytest.mark.parametrize(("words", "code"), CHOSEN.values(), ids=CHOSEN)
def test_only_what_fits_the_words_is_compared(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str], words: str, code: int
) -> None:
    _change(policy, LAX)
    assert _replay(captured, policy, "--only", words) == code
    error = capsys.readouterr().err
    assert error.startswith("error: the filter") is (code == UNUSABLE)


def test_an_update_of_some_leaves_the_others_as_they_are(captured: Path, policy: Path) -> None:
    before = golden_path(captured).read_text().splitlines()
    _change(policy, LAX, ("id: reads", "id: readers"))
    assert _replay(captured, policy, "--update", "--only", "rule:reads | rule:readers") == SAME
    after = golden_path(captured).read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed
    assert all('"rule":"readers"' in line for line in changed)
    assert _replay(captured, policy) == WEAKER


@given(st.text(alphabet="ab:!()|&'\"* ~vex1", max_size=30))
def test_every_text_is_a_filter_or_refused(text: str) -> None:
    golden = Golden(1, "0", "request", "mcp", "a", "b", None, Verdict.DENY, "x", "y")
    try:
        assert only(text)(golden) in (True, False)
    except ConfigError as error:
        assert "the filter cannot be read" in str(error)


def test_words_know_no_names_by_themselves() -> None:
    seen: list[tuple[str, str]] = []

    def make(name: str, value: str) -> object:
        seen.append((name, value))
        return lambda _: True

    parse_words("a b:c 'd:e' f:'g h'", make)  # type: ignore[arg-type]
    assert seen == [("", "a"), ("b", "c"), ("", "d:e"), ("f", "g h")]


def test_junit_has_a_case_for_each_outcome(captured: Path, policy: Path, tmp_path: Path) -> None:
    _change(policy, LAX, ("id: reads", "id: readers"))
    report = tmp_path / "report.xml"
    assert _replay(captured, policy, "--junit", str(report)) == WEAKER
    suite = ET.parse(report).getroot()  # noqa: S314  our own
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert len(suite) == len(golden_path(captured).read_text().splitlines())
    assert cases["exchange 2 message 0: files push request"] == ["error"]
    assert cases["exchange 1 message 0: files get request"] == ["failure"]
    assert [] in cases.values()
    assert suite.findtext(".//error") == f"{captured}:5"


def test_junit_survives_names_that_are_markup(captured: Path, policy: Path, tmp_path: Path) -> None:
    golden = golden_path(captured)
    evil = '"tool":"</testcase><error>\\u0007\\u202e&\\""'
    golden.write_text(golden.read_text().replace('"tool":"push"', evil))
    captured.with_name(captured.stem + ".meta.yaml").unlink()
    report = tmp_path / "report.xml"
    assert _replay(captured, policy, "--junit", str(report)) == DIFFERENT
    names = [case.get("name", "") for case in ET.parse(report).getroot()]  # noqa: S314  our own
    assert any('</testcase><error>\\x07\\u202e&"' in name for name in names)


def test_junit_leaves_no_file_where_the_input_is_unusable(
    captured: Path, policy: Path, tmp_path: Path
) -> None:
    captured.write_bytes(captured.read_bytes()[:-30])
    assert _replay(captured, policy, "--junit", str(tmp_path / "report.xml")) == UNUSABLE
    assert list(tmp_path.glob("report*")) == []
    assert _replay(captured, policy, "--junit", str(tmp_path / "no" / "report.xml")) == UNUSABLE


@pytest.mark.parametrize("by", ["option", "environment"])
def test_annotations_say_where_and_what(
    captured: Path, policy: Path, by: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _change(policy, LAX, ("id: reads", "id: readers"))
    monkeypatch.chdir(captured.parent.parent)
    if by == "environment":
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    options = ["--github"] if by == "option" else []
    assert _replay(captured, policy, "--json", *options) == WEAKER
    shown = capsys.readouterr()
    first, *others = shown.err.splitlines()
    place = f"file=captures/{captured.name},line=5,title=mitmgate replay%3A weaker (no-force)"
    assert first == f"::error {place}::deny → allow  rule no-force  x1"
    assert any(line.startswith("::warning file=captures/") for line in others)
    assert json.loads(shown.out)["exit"] == WEAKER


def test_annotations_are_not_broken_by_names(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(policy, LAX)
    other = captured.with_name("a,b%::c.jsonl")
    other.write_bytes(captured.read_bytes())
    golden_path(other).write_bytes(golden_path(captured).read_bytes())
    assert _replay(other, policy, "--github") == WEAKER
    (line,) = capsys.readouterr().err.splitlines()
    assert "a%2Cb%25%3A%3Ac.jsonl,line=5" in line


def test_coverage_tells_what_decided_what_did_not_and_what_came_too_late(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "    - {id: reads-again, tool: get, then: allow}\n  otherwise: ask\negress"
    unused = "methods: [GET, PUT], then: allow}\n    - {id: unused, host: no.example, then: deny}"
    _change(
        policy, ("  otherwise: ask\negress", late), ("methods: [GET, PUT], then: allow}", unused)
    )
    assert _replay(captured, policy, "--coverage") == SAME
    out = capsys.readouterr().out
    assert "coverage: 3 of 5 rules decided something (60 %)" in out
    assert "  shadowed by reads, 1 times: mcp rule reads-again" in out
    assert "  never hit: egress rule unused" in out
    assert _replay(captured, policy, "--coverage", "--json") == SAME
    told = json.loads(capsys.readouterr().out)["coverage"]
    assert told["percent"] == 60
    assert [rule["state"] for rule in told["rules"]] == [
        "hit", "hit", "shadowed", "hit", "never hit",
    ]  # fmt: skip


def test_a_rule_in_shadow_mode_is_hit_where_it_would_decide(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(policy, ("{id: no-force,", "{id: no-force, mode: shadow,"))
    assert _replay(captured, policy, "--coverage") == WEAKER
    assert "3 of 3 rules" in capsys.readouterr().out


UNDER: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...], int]] = {
    "enough": (("--coverage", "--fail-under", "100"), (), SAME),
    "too little": (
        ("--coverage", "--fail-under", "90.5"), (("tool: [get, list]", "tool: got"),), DIFFERENT),
    "weaker wins": (
        ("--coverage", "--fail-under", "100"), (LAX, ("host: [docs", "host: [dogs")), WEAKER),
    "no coverage asked for": (("--fail-under", "50"), (), UNUSABLE),
    "more than all": (("--coverage", "--fail-under", "101"), (), UNUSABLE),
}  # fmt: skip


@pytest.mark.parametrize(("options", "changes", "code"), UNDER.values(), ids=UNDER)
def test_fail_under(
    captured: Path, policy: Path, options: tuple[str, ...],
    changes: tuple[tuple[str, str], ...], code: int,
) -> None:  # fmt: skip
    _change(policy, *changes)
    assert _replay(captured, policy, *options) == code


def test_too_little_coverage_fails_an_update_too(captured: Path, policy: Path) -> None:
    _change(policy, ("host: [docs", "host: [docs.example, dogs"), STRICT)
    unused = "    - {id: unused, host: no.example, then: deny}\n  otherwise: deny"
    _change(policy, ("  otherwise: deny", unused))
    given = ("--update", "--coverage", "--fail-under", "100")
    assert _replay(captured, policy, *given) == DIFFERENT
    assert _replay(captured, policy) == SAME
