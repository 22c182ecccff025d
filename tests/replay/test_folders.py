"""Captures in folders below the one that is named: all are found, in order, and told apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from captures import call, record

from mitmgate.cli.app import invoke
from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import EndInput, Input
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.replay.files import capture_files
from mitmgate.scan.engine import Scanner

SAME, UNUSABLE, WEAKER = 0, 2, 3
TREE = ("b/two.jsonl", "a/one.jsonl", "top.jsonl", "a/deep/down/one.jsonl", "a/one.golden.jsonl",
        "a.jsonl/odd.jsonl")  # fmt: skip
LEFT_OUT = (".git/x.jsonl", "a/.venv/x.jsonl", "node_modules/x.jsonl", "env/lib/x.jsonl")
GET: list[Input] = [call("a", "get", {}), EndInput("a")]
FORCE: list[Input] = [call("a", "push", {"force": True}), EndInput("a")]
type Put = Callable[[str, Sequence[Input]], Path]


def _tree(folder: Path) -> Path:
    for name in (*TREE, *LEFT_OUT, "env/pyvenv.cfg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "b" / "round").symlink_to(folder, target_is_directory=True)
    (folder / "b" / "linked.jsonl").symlink_to(folder / "top.jsonl")
    return folder


def test_all_captures_below_a_folder_are_found_in_order(tmp_path: Path) -> None:
    found = [str(file.relative_to(tmp_path)) for file in capture_files(_tree(tmp_path))]
    assert found == [
        "a/deep/down/one.jsonl", "a/one.jsonl", "a.jsonl/odd.jsonl", "b/linked.jsonl",
        "b/two.jsonl", "top.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_folder_that_is_named_itself_is_looked_into(tmp_path: Path, name: str) -> None:
    file = _tree(tmp_path) / name
    assert capture_files(file.parent) == [file]


@pytest.mark.parametrize("beside", ["lost.golden.jsonl", "lost.meta.yaml"])
def test_what_lost_its_capture_in_a_folder_below_is_an_error(tmp_path: Path, beside: str) -> None:
    lost = _tree(tmp_path) / "a" / "deep" / beside
    lost.touch()
    with pytest.raises(ConfigError, match=f"{lost}: its capture is missing"):
        capture_files(tmp_path)
    capture_files(tmp_path / "b")  # the control


def test_the_golden_file_of_an_imported_file_says_how_to_replay_it(tmp_path: Path) -> None:
    for name in ("web.har", "web.golden.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"is missing .replay web\.har by its name, or"):
        capture_files(tmp_path)


def test_a_folder_of_empty_folders_holds_no_captures(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no captures in this folder"):
        capture_files(tmp_path)


@pytest.fixture
def put(tmp_path: Path, scanner: Scanner) -> Put:
    """Return a function that puts a capture of inputs at a path below the folder."""

    def at(name: str, inputs: Sequence[Input]) -> Path:
        file = tmp_path / name
        made = record(tmp_path / "made", inputs, scanner=scanner)
        file.parent.mkdir(parents=True)
        for here, there in ((made, file), (golden_path(made), golden_path(file)),
                            (meta_path(made), meta_path(file))):  # fmt: skip
            here.rename(there)
        return file

    return at


def test_two_captures_of_one_name_are_told_apart_in_every_report(
    put: Put, tmp_path: Path, policy_text: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    one, other = put("captures/a/notes.jsonl", GET), put("captures/b/notes.jsonl", FORCE)
    (tmp_path / "policy.yaml").write_text(policy_text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    words = ["replay", "captures", "--policy", "policy.yaml", "--junit", "report.xml", "--github"]
    assert invoke(words) == SAME
    assert "2 outcomes of 2 exchanges in 2 captures: 2 same" in capsys.readouterr().out
    changed = policy_text.replace("list], then: allow", "list], then: deny")
    Path("policy.yaml").write_text(changed.replace("then: deny}", "then: ask}", 1))
    assert invoke(words) == WEAKER
    text = capsys.readouterr()
    assert "files get (captures/a/notes.jsonl:2)" in text.out
    assert "files push (captures/b/notes.jsonl:2)" in text.out
    assert "::warning file=captures/a/notes.jsonl,line=2" in text.err
    assert "::error file=captures/b/notes.jsonl,line=2" in text.err
    cases = {case.get("classname"): case[0].tag for case in ET.parse("report.xml").getroot()}  # noqa: S314  our own
    assert cases == {"captures/a/notes.jsonl": "failure", "captures/b/notes.jsonl": "error"}
    assert invoke([*words, "--json"]) == WEAKER
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [Path(tmp_path, group["example"]["file"]) for group in groups] == [other, one]


def test_two_captures_of_one_name_are_updated_each_for_itself(
    put: Put, tmp_path: Path, policy_text: str
) -> None:
    one, other = put("captures/a/notes.jsonl", GET), put("captures/b/notes.jsonl", FORCE)
    before = golden_path(other).read_bytes()
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text.replace("list], then: allow", "list], then: deny"))
    words = ["replay", str(tmp_path / "captures"), "--policy", str(policy)]
    assert invoke([*words, "--update"]) == SAME
    assert '"verdict":"deny"' in golden_path(one).read_text()
    assert golden_path(other).read_bytes() == before
    assert invoke(words) == SAME


def test_a_capture_that_is_named_twice_counts_once(
    put: Put, tmp_path: Path, policy_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = put("captures/a/notes.jsonl", GET)
    (tmp_path / "policy.yaml").write_text(policy_text)
    words = ["replay", str(file), str(tmp_path / "captures"), str(file.parent)]
    assert invoke([*words, "--policy", str(tmp_path / "policy.yaml"), "--update"]) == SAME
    assert "in 1 capture: 1 same" in capsys.readouterr().out
