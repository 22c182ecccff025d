"""``mitmgate replay``: each sentence and its exit code, on really recorded traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mitmgate.cli.app import invoke
from mitmgate.judge.inputs import Input
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path, read_meta, write_meta

SAME, DIFFERENT, UNUSABLE, WEAKER = 0, 1, 2, 3
type Damage = Callable[[Path], object]
type Record = Callable[[Sequence[Input]], Path]

POLICIES: dict[str, tuple[str, str, int]] = {
    "the same policy gives the same": ("", "", SAME),
    "another reason is the same": ("then: deny}", "then: deny, reason: Other.}", SAME),
    "an allow that becomes a deny is different": ("[get, list], then: allow",
                                                  "[get, list], then: deny", DIFFERENT),
    "an ask that becomes a deny is different": ("otherwise: ask", "otherwise: deny", DIFFERENT),
    "another rule with the same verdict is different": ("id: reads", "id: readers", DIFFERENT),
    "a deny that becomes an ask is weaker": ("then: deny}", "then: ask}", WEAKER),
    "a deny that becomes an allow is weaker": ("then: deny}", "then: allow}", WEAKER),
    "an ask that becomes an allow is weaker": ("otherwise: ask", "otherwise: allow", WEAKER),
    "a server that needs no question while its call still does is different": (
        "unknown_servers: ask", "unknown_servers: allow", DIFFERENT),
    "egress that opens is weaker": ("otherwise: deny", "otherwise: allow", WEAKER),
    "a redaction that is lost is weaker": ("arguments: redact", "arguments: log", WEAKER),
    "a redaction that becomes a deny is different": ("arguments: redact", "arguments: deny",
                                                     DIFFERENT),
    "an injection that is only logged is weaker": ("{results: deny}", "{results: log}", WEAKER),
    "shadow is weaker": ("mode: enforce", "mode: shadow", WEAKER),
    "weaker wins over different": ("id: no-force, tool: push, where: {/arguments/force: "
                                   "{equals: true}}, then: deny}\n    - {id: reads, tool: [get, "
                                   "list], then: allow",
                                   "id: all, then: allow}\n    - {id: x, tool: y, then: deny",
                                   WEAKER),
}  # fmt: skip


def _replay(capture: Path, policy: Path, *more: str) -> int:
    return invoke(["replay", str(capture), "--policy", str(policy), *more])


@pytest.fixture
def policy(tmp_path: Path, policy_text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text)
    return path


@pytest.mark.parametrize(("old", "new", "code"), POLICIES.values(), ids=POLICIES)
def test_exit_codes(
    captured: Path, policy: Path, policy_text: str, old: str, new: str, code: int
) -> None:
    assert old in policy_text
    policy.write_text(policy_text.replace(old, new, 1) if old else policy_text)
    assert _replay(captured, policy) == code


def test_the_report_groups_and_names_rules_and_an_example(
    captured: Path, policy: Path, policy_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(policy_text.replace("then: deny}", "then: allow}"))
    _replay(captured, policy)
    out = capsys.readouterr().out
    assert "WEAKER deny → allow  rule no-force  x1  e.g. files push (" in out
    assert f"{captured.name}:" in out
    assert "--update alone does not accept them" in out


def test_json_gives_the_same_numbers(
    captured: Path, policy: Path, policy_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(policy_text.replace("[get, list], then: allow", "[get, list], then: deny"))
    assert _replay(captured, policy, "--json") == DIFFERENT
    report = json.loads(capsys.readouterr().out)
    assert (report["exit"], report["weaker"], report["different"]) == (1, 0, 1)
    assert report["groups"][0]["example"]["before"]["rule"] == "reads"


def test_update_accepts_what_is_only_different(
    captured: Path, policy: Path, policy_text: str
) -> None:
    policy.write_text(policy_text.replace("[get, list], then: allow", "[get, list], then: deny"))
    assert _replay(captured, policy, "--update") == SAME
    assert _replay(captured, policy) == SAME


def test_update_does_not_accept_what_is_weaker(
    captured: Path, policy: Path, policy_text: str
) -> None:
    before = golden_path(captured).read_bytes()
    policy.write_text(policy_text.replace("then: deny}", "then: allow}"))
    assert _replay(captured, policy, "--update") == WEAKER
    assert golden_path(captured).read_bytes() == before


def test_update_of_the_same_changes_no_byte(captured: Path, policy: Path) -> None:
    before = golden_path(captured).read_bytes()
    assert _replay(captured, policy, "--update") == SAME
    assert golden_path(captured).read_bytes() == before


def test_a_missing_golden_file_is_unusable_and_update_writes_it(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = golden_path(captured).read_bytes()
    golden_path(captured).unlink()
    assert _replay(captured, policy) == UNUSABLE
    assert "--update" in capsys.readouterr().err
    assert _replay(captured, policy, "--update") == SAME
    assert golden_path(captured).read_bytes() == before


def test_a_folder_is_all_its_captures(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = captured.with_name("other.jsonl")
    other.write_bytes(captured.read_bytes())
    golden_path(other).write_bytes(golden_path(captured).read_bytes())
    assert _replay(captured.parent, policy) == SAME
    assert "2 captures" in capsys.readouterr().out


def _cut(capture: Path) -> None:
    capture.write_bytes(capture.read_bytes()[:-30])


def _edit(capture: Path, old: bytes, new: bytes) -> None:
    data = capture.read_bytes()
    assert old in data
    capture.write_bytes(data.replace(old, new, 1))


def _edit_golden(capture: Path, old: bytes, new: bytes) -> None:
    _edit(golden_path(capture), old, new)


BAD: dict[str, tuple[Damage, str]] = {
    "a last line that is cut off": (_cut, ":20: the last line is cut off"),
    "an empty file": (lambda c: c.write_bytes(b""), ":1: the file is empty"),
    "bytes that are no text": (lambda c: c.write_bytes(b"\xff\xfe\n"), ":1: the line is not UTF-8"),
    "a file that is no capture": (lambda c: c.write_bytes(b"{}\n"), ":1: the first line is not"),
    "an unknown version": (lambda c: _edit(c, b'{"v":2', b'{"v":1'), ":1: capture version 1"),
    "an unknown key": (lambda c: _edit(c, b'"at":', b'"x":1,"at":'),
                       ":2: unknown or missing keys: x"),
    "an unknown type": (lambda c: _edit(c, b':"end"', b':"fin"'), "unknown type 'fin'"),
    "a duplicate key": (lambda c: _edit(c, b'"at":', b'"at":1,"at":'), ":2: "),
    "a line that is gone": (lambda c: _edit(c, c.read_bytes().splitlines(True)[4], b""),
                            "lines were written"),
    "a line after the end": (lambda c: c.write_bytes(c.read_bytes() + b"{}\n"), "after the end"),
    "a golden line with an unknown key": (lambda c: _edit_golden(c, b'"v":2', b'"v":2,"x":2'),
                                          "golden.jsonl:1: unknown or missing keys: x"),
    "a golden line of another version": (lambda c: _edit_golden(c, b'"v":2', b'"v":9'),
                                         "golden.jsonl:1: golden version 9"),
    "a golden line with a bad verdict": (lambda c: _edit_golden(c, b'"allow"', b'"maybe"'),
                                         "not a verdict"),
    "a golden line twice": (lambda c: golden_path(c).write_bytes(
        golden_path(c).read_bytes() + golden_path(c).read_bytes()), "occurs twice"),
    "a golden file that is cut off": (lambda c: _cut(golden_path(c)), "the last line is cut off"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), BAD.values(), ids=BAD)
def test_what_is_damaged_is_unusable_and_said(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str], damage: Damage, message: str
) -> None:
    damage(captured)
    assert _replay(captured, policy) == UNUSABLE
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.rstrip().endswith(")")


def test_a_capture_without_exchanges_is_unusable(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = captured.read_bytes().splitlines(keepends=True)[0]
    captured.with_name("a.jsonl").write_bytes(header)
    captured.with_name("a.golden.jsonl").touch()
    for path in (captured.with_name("a.jsonl"), captured.parent):
        assert _replay(path, policy) == UNUSABLE
        assert "a.jsonl: nothing was recorded here" in capsys.readouterr().err


def test_a_run_without_traffic_leaves_no_files(record: Record) -> None:
    path = record([])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("lost", ["golden", "meta"])
def test_what_lies_beside_a_capture_that_is_missing_is_unusable(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    beside = {"golden": golden_path, "meta": meta_path}[lost](captured.with_name("gone.jsonl"))
    beside.touch()
    assert _replay(captured.parent, policy) == UNUSABLE
    assert f"{beside.name}: its capture is missing" in capsys.readouterr().err


EDITED: dict[str, tuple[Damage, str]] = {
    "a golden verdict": (lambda c: _edit_golden(c, b'"verdict":"deny"', b'"verdict":"ask"'),
                         "golden.jsonl"),
    "a call": (lambda c: _edit(c, b'found [', b'there [', ), ".jsonl"),
    "a line that is taken out of the end": (
        lambda c: c.write_bytes(b"".join(c.read_bytes().splitlines(keepends=True)[:-1])), ".jsonl"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "name"), EDITED.values(), ids=EDITED)
def test_what_was_edited_by_hand_is_unusable_until_it_is_sealed(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str], edit: Damage, name: str
) -> None:
    edit(captured)
    assert _replay(captured, policy) == UNUSABLE
    assert f"{name}: is not what its meta file says: edited by hand" in capsys.readouterr().err
    assert _replay(captured, policy, "--update") == SAME
    assert _replay(captured, policy) == SAME


def test_a_capture_without_a_meta_file_is_compared_and_that_is_said(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta_path(captured).unlink()
    assert _replay(captured, policy) == SAME
    assert "1 capture without sums in a meta file" in capsys.readouterr().out


def test_a_damaged_meta_file_is_unusable(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta_path(captured).write_text("version: 2\n")
    assert _replay(captured, policy) == UNUSABLE
    assert ".meta.yaml:1: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing", ".", "x.golden.jsonl"])
def test_a_path_without_captures_is_unusable(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "x.golden.jsonl").touch()
    assert _replay(tmp_path / name, policy) == UNUSABLE
    assert capsys.readouterr().err.startswith("error: ")


def test_every_problem_is_reported_at_once(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captured.with_name("a.jsonl").write_bytes(b"{}\n")
    golden_path(captured).write_bytes(b"{}\n")
    assert _replay(captured.parent, policy) == UNUSABLE
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_capture_whose_proxy_was_killed_replays_as_far_as_it_goes(
    captured: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captured.write_bytes(b"".join(captured.read_bytes().splitlines(keepends=True)[:-1]))
    golden = golden_path(captured)
    golden.write_bytes(b"".join(golden.read_bytes().splitlines(keepends=True)[:-2]))
    meta = read_meta(captured)
    assert meta is not None
    write_meta(captured, meta.model_copy(update={"complete": False, "sha256": None}))
    assert _replay(captured, policy) == SAME
    out = capsys.readouterr().out
    assert "without an end" in out
    assert "2 outcomes not compared" in out
