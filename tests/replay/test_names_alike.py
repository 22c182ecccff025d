"""A capture and an imported file of one name: neither takes the golden file of the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitmgate.cli.app import invoke
from mitmgate.record.capture import golden_path

HAR = {"log": {"version": "1.2", "entries": [{
    "startedDateTime": "2026-05-04T09:30:00Z", "time": 1,
    "request": {"method": "GET", "url": "https://docs.example/", "headers": [], "httpVersion": "1"},
    "response": {"status": 200, "headers": [], "content": {"size": 0}, "bodySize": 0},
}]}}  # fmt: skip


@pytest.mark.parametrize("update", [False, True], ids=["compared", "updated"])
def test_a_har_file_beside_a_capture_of_its_name_is_refused(
    captured: Path, tmp_path: Path, policy_text: str, capsys: pytest.CaptureFixture[str],
    *, update: bool,
) -> None:  # fmt: skip
    har, policy = captured.with_suffix(".har"), tmp_path / "policy.yaml"
    har.write_text(json.dumps(HAR))
    policy.write_text(policy_text)
    before = golden_path(captured).read_bytes()
    words = ["replay", str(har), "--policy", str(policy), *(["--update"] if update else [])]
    assert invoke(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {har}: a capture of the same name has its golden file beside")
    assert f"replay {captured.name}, or rename this file" in error
    assert golden_path(captured).read_bytes() == before


def test_a_har_file_with_a_name_of_its_own_has_its_golden_file_beside_it(
    captured: Path, tmp_path: Path, policy_text: str
) -> None:
    har, policy = captured.with_name("web.har"), tmp_path / "policy.yaml"
    har.write_text(json.dumps(HAR))
    policy.write_text(policy_text)
    before = golden_path(captured).read_bytes()
    words = ["replay", str(har), "--policy", str(policy)]
    assert invoke(words) == 2
    assert invoke([*words, "--update"]) == 0
    assert invoke(words) == 0
    assert captured.with_name("web.golden.jsonl").exists()
    assert golden_path(captured).read_bytes() == before
