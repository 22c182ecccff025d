"""The pytest plugin: captures are tests, and what differs fails with its words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from captures import POLICY, TRAFFIC, record
from warm import WarmPopen

from mitmgate.judge.inputs import EndInput, Input, RequestInput, Tunnel
from mitmgate.record.capture import golden_path
from mitmgate.wire.http import RequestHead

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-rules"
PLUGIN = ("-p", "mitmgate.testing.plugin", "-p", "no:cacheprovider")
ASKS, ALLOWS, DENIES = ("otherwise: ask", "otherwise: allow", "otherwise: deny")


@dataclass(frozen=True)
class Report:
    """What a run of pytest gave: its exit code, and by id why a test failed or was skipped."""

    code: int
    passed: frozenset[str]
    failed: dict[str, str]
    skipped: dict[str, str]
    output: str


def run_pytest(folder: Path, *arguments: str) -> Report:
    """Run pytest with nothing but our plugin in *folder*."""
    command = [sys.executable, "-m", "pytest", *PLUGIN, "--junitxml=report.xml", "-o",
               "junit_family=xunit1", *arguments]  # fmt: skip
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with WarmPopen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=environment, cwd=folder,
    ) as process:  # fmt: skip
        output = process.communicate(timeout=60)[0]
    passed, failed, skipped = set[str](), dict[str, str](), dict[str, str]()
    for case in ET.parse(folder / "report.xml").iter("testcase"):  # noqa: S314 - our own
        name = f"{case.get('file', '')}::{case.get('name')}"
        if len(case) == 0:
            passed.add(name)
        for told in case:
            if told.tag == "skipped":
                skipped[name] = told.get("message", "")
            else:
                failed[name] = told.text or ""
    return Report(process.returncode, frozenset(passed), failed, skipped, output)


def repository(folder: Path, old: str = "", new: str = "", *, nested: bool = True) -> Path:
    """Make a copy of the example in *folder* whose policy has *new* in the place of *old*."""
    folder.mkdir(parents=True)
    shutil.copytree(EXAMPLE / "captures", folder / "captures" if nested else folder,
                    dirs_exist_ok=True)  # fmt: skip
    text = (EXAMPLE / "policy.yaml").read_text()
    assert old in text
    (folder / "policy.yaml").write_text(text.replace(old, new) if old else text)
    return folder


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """One run over many small repositories, each with a policy of its own."""
    root = tmp_path_factory.mktemp("rules")
    (root / "pytest.ini").write_text("[pytest]\n")
    repository(root / "same")
    repository(root / "weaker", ASKS, ALLOWS)
    repository(root / "stricter", ASKS, DENIES)
    missing = repository(root / "missing")
    (missing / "captures" / "notes.jsonl").unlink()
    damaged = repository(root / "damaged")
    edited(damaged / "captures" / "notes.jsonl", '"type":"close"', '"type":"closed"')
    by_hand = repository(root / "by-hand")
    edited(by_hand / "captures" / "notes.golden.jsonl", '"verdict":"ask"', '"verdict":"allow"')
    for name, suffixes in LEFT.items():
        left = repository(root / name) / "captures"
        for suffix in {".jsonl", ".golden.jsonl", ".meta.yaml"} - suffixes:
            (left / f"notes{suffix}").unlink()
    unsure = root / "unsure"
    (unsure / "policy.yaml").parent.mkdir()
    (unsure / "policy.yaml").write_text(POLICY)
    record(unsure / "captures", [*TRAFFIC, *unstored("a-4")])
    homeless = repository(root / "homeless")
    (homeless / "policy.yaml").unlink()
    foreign = root / "foreign"
    foreign.mkdir()
    (foreign / "answers.golden.jsonl").write_text('{"prompt": "x", "completion": "y"}\n')
    (foreign / "answers.jsonl").write_text('{"prompt": "x"}\n')
    return root, run_pytest(root, "--continue-on-collection-errors")


LEFT = {
    "capture-and-meta": {".jsonl", ".meta.yaml"},
    "capture-alone": {".jsonl"},
    "meta-alone": {".meta.yaml"},
}
"""Repositories in which only these files of the capture are left."""


def unstored(exchange: str) -> list[Input]:
    """Return a call whose body no capture can hold."""
    headers = (("host", "files.example"), ("content-type", "image/png"))
    head = RequestHead("POST", "https", "files.example", 443, "/mcp/x", headers)
    body = b'{"jsonrpc"\xff'
    asked = RequestInput(exchange, "192.0.2.7", head, "files.example", body, Tunnel())
    return [asked, EndInput(exchange)]


def of(report: Report, name: str) -> dict[str, str]:
    return {test: told for test, told in report.failed.items() if test.startswith(f"{name}/")}


def test_each_exchange_of_a_capture_is_a_test(collected: tuple[Path, Report]) -> None:
    report = collected[1]
    same = {name for name in report.passed if name.startswith("same/")}
    file = "same/captures/notes.golden.jsonl"
    assert same == {f"{file}::exchange-{number}" for number in range(1, 10)}
    assert of(report, "same") == {}


def test_what_lets_more_through_fails_as_weaker_and_nothing_else_fails(
    collected: tuple[Path, Report],
) -> None:
    failed = of(collected[1], "weaker")
    assert list(failed) == ["weaker/captures/notes.golden.jsonl::exchange-6"]
    (told,) = failed.values()
    assert told.startswith("WEAKER: ask → allow  rule otherwise  notes save_note (notes.jsonl:")
    assert "--policy-update --policy-accept-weaker" in told
    assert "Traceback" not in told


def test_what_is_stricter_fails_as_different(collected: tuple[Path, Report]) -> None:
    (told,) = of(collected[1], "stricter").values()
    assert told.startswith("different: ask → deny  rule otherwise")
    assert "--policy-accept-weaker" not in told


UNUSABLE = {
    "missing": "its capture is missing",
    "capture-and-meta": "its golden file is missing",
    "capture-alone": "its golden file is missing",
    "meta-alone": "notes.meta.yaml: its capture is missing",
    "damaged": "unknown type 'closed'",
    "by-hand": "is not what its meta file says",
    "homeless": "name the policy with --policy-file",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_an_error_and_never_a_skip(
    collected: tuple[Path, Report], name: str
) -> None:
    report = collected[1]
    # Where it is the file that names the test, the folder stands in its place.
    (told,) = (told for test, told in report.failed.items() if f"{name}/" in test.replace(".", "/"))
    assert UNUSABLE[name] in told.lower()
    assert "Traceback" not in told
    assert not [test for test in report.passed if test.startswith(f"{name}/")]
    assert report.code == 1


def test_what_was_not_compared_is_skipped_and_says_why(collected: tuple[Path, Report]) -> None:
    report = collected[1]
    ((test, why),) = report.skipped.items()
    assert test.endswith("::exchange-4")
    assert test.startswith("unsure/captures/capture-")
    assert why == "1 of 1 outcomes not compared: the body that it rests on was not stored"
    same = {name.rpartition("-")[2] for name in report.passed if name.startswith("unsure/")}
    assert same == {"1", "2", "3"}


def test_golden_files_of_others_are_left_alone(collected: tuple[Path, Report]) -> None:
    report = collected[1]
    assert not [name for name in (*report.passed, *report.failed) if "foreign" in name]


def test_an_update_writes_what_is_stricter_and_refuses_what_is_weaker(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    stricter = repository(tmp_path / "stricter", ASKS, DENIES)
    weaker = repository(tmp_path / "weaker", ASKS, ALLOWS)
    by_hand = repository(tmp_path / "by-hand")
    edited(by_hand / "captures" / "notes.golden.jsonl", '"verdict":"ask"', '"verdict":"deny"')
    before = (weaker / "captures" / "notes.golden.jsonl").read_bytes()
    report = run_pytest(tmp_path, "--policy-update")
    assert report.passed == {"stricter/captures/notes.golden.jsonl::update"}
    assert [told.splitlines()[-2] for told in report.failed.values()] == [
        "Nothing was written."
    ] * 2
    assert (weaker / "captures" / "notes.golden.jsonl").read_bytes() == before
    assert '"verdict":"deny"' in line_of(stricter, 6)
    report = run_pytest(tmp_path, "--policy-update", "--policy-accept-weaker", "weaker")
    assert (report.code, len(report.passed)) == (0, 1)
    assert '"verdict":"allow"' in line_of(weaker, 6)
    golden_path(stricter / "captures" / "notes.jsonl").unlink()
    report = run_pytest(tmp_path, "--policy-update", "stricter")
    assert (report.code, len(report.passed)) == (0, 1)
    again = run_pytest(tmp_path, "stricter", "weaker", "-k", "save_note")
    assert (again.code, len(again.passed)) == (0, 2)


def line_of(folder: Path, exchange: int) -> str:
    lines = (folder / "captures" / "notes.golden.jsonl").read_text().splitlines()
    return next(line for line in lines if json.loads(line)["exchange"] == exchange)


def test_the_example_passes_with_its_own_settings(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "rules")
    report = run_pytest(tmp_path / "rules")
    assert report.code == 0, report.output
    assert len(report.passed) >= 14


LOADED = """
import sys, pytest
before = set(sys.modules)
import mitmgate.testing.plugin
print(*sorted(set(sys.modules) - before))
"""


def test_the_plugin_loads_nothing_but_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["mitmgate", "mitmgate.testing", "mitmgate.testing.plugin"]
