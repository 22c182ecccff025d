"""A second process that scans ahead saves scans, and changes nothing of what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mitmgate.policy.load import Policy, load_policy
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Detector
from mitmgate.scan.packs import installed_packs
from mitmgate.serve import replaying
from mitmgate.serve.foretelling import Foretold, _Reader, _Telling, digest_of
from mitmgate.serve.replaying import run_files, scanner_for
from mitmgate.wire.surfaces import Surface, Text

KEY = "AKIA" + "Z7VRSQ5TJN2XMPL4"
POLICY = """version: 1
servers: {files: {url: "https://files.example/mcp"}}
mcp: {rules: [{id: reads, tool: read_note, then: allow}], otherwise: ask}
scan: {secrets: {arguments: deny}}
"""
HEADER = {"v": 2, "type": "capture", "tool": "t", "policy": "p", "mode": "enforce", "shadow": False,
          "started": 0.0, "run": "r", "keep": [], "segment": 1, "canaries": []}  # fmt: skip
HEADERS = [["host", "files.example"], ["content-type", "application/json"]]
HEAD = {"method": "POST", "scheme": "https", "host": "files.example", "port": 443,
        "target": "/mcp", "headers": HEADERS}  # fmt: skip
CALLS = 400


def _capture(folder: Path) -> Path:
    """Write a capture of calls, every tenth with a secret that a rule knows."""
    records: list[dict[str, object]] = [HEADER]
    for number in range(1, CALLS + 1):
        place: dict[str, object] = {"exchange": number, "at": float(number)}
        text = f"see {KEY}" if number % 10 == 0 else f"note {number} on gardens"
        call = {"jsonrpc": "2.0", "id": number, "method": "tools/call",
                "params": {"name": "read_note", "arguments": {"text": text}}}  # fmt: skip
        content = [{"type": "text", "text": f"answer {number}"}]
        result = {"jsonrpc": "2.0", "id": number, "result": {"content": content}}
        records += [
            {"type": "request", "agent": "a", "head": HEAD, "tunnel": None, "message": 0,
             "authority": "files.example", "body": {"text": json.dumps(call)}} | place,
            {"type": "answer", "head": {"status": 200, "headers": HEADERS[1:]}, "message": 1,
             "body": {"text": json.dumps(result)}} | place,
            {"type": "end", "message": 2} | place,
        ]  # fmt: skip
    records.append({"type": "close", "lines": len(records)})
    file = folder / "capture-x.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Policy]:
    """Return a capture with its golden file, and the policy that made that."""
    file, policy = _capture(tmp_path), load_policy(POLICY, file="p.yaml")
    run_files([file], policy, accept="weaker")
    return file, policy


def test_the_process_ahead_prepares_the_very_texts_that_are_judged(
    recorded: tuple[Path, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, policy = recorded
    scanner, told = scanner_for(policy), list[bytes]()
    _Reader(_Telling(scanner.book, told.append)).read(file, scanner.sample_for)
    reading, writing = os.pipe()
    os.write(writing, b"".join(told))
    os.close(writing)
    scanner.listen(reading)
    monkeypatch.setattr(replaying, "scanner_for", lambda *_: scanner)
    assert run_files([file], policy).exit_code == 0
    os.close(reading)
    # The calls without a secret, and their answers: one to a denied call never comes.
    assert scanner.saved == 2 * CALLS * 9 // 10


IN_FULL = """
import sys
from pathlib import Path
from mitmgate.policy.load import load_policy
from mitmgate.serve import foretelling, replaying
replaying.WORTH_IT = 0
assert foretelling._can_fork() == (foretelling.os.process_cpu_count() > 1)
policy = load_policy(Path(sys.argv[2]).read_text(), file="p.yaml")
sys.exit(replaying.run_files([Path(sys.argv[1])], policy).exit_code)
"""


def test_two_processes_come_to_the_same_and_none_is_left(
    recorded: tuple[Path, Policy], tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    command = [sys.executable, "-c", IN_FULL, str(recorded[0]), str(tmp_path / "policy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def told() -> tuple[Foretold, int]:
    """Return a scanner, and where it is told what is clean."""
    reading, writing = os.pipe()
    scanner = Foretold(Scanner(installed_packs(), hash_key=b"k").book, hash_key=b"k")
    scanner.listen(reading)
    return scanner, writing


SECRET = Text(Surface.ARGUMENTS, "/params/q", f"see {KEY}")


def test_only_the_very_texts_in_their_places_count_as_told(told: tuple[Foretold, int]) -> None:
    scanner, writing = told
    os.write(writing, digest_of([SECRET]))
    assert scanner.scan([SECRET]) == ()  # so much is it trusted
    for other in (
        [SECRET._replace(pointer="/params/r")],
        [SECRET._replace(surface=Surface.RESULTS)],
        [SECRET._replace(text=SECRET.text + " ")],
        [SECRET._replace(key=True)],
        [SECRET, SECRET],
    ):
        assert scanner.scan(other), other
    only: tuple[Detector, ...] = ("secrets",)
    assert scanner.scan([SECRET], detectors=only)
    assert scanner.saved == 1


def test_what_other_rules_told_does_not_count(told: tuple[Foretold, int]) -> None:
    scanner, writing = told
    os.write(writing, digest_of([SECRET]))
    scanner.book = Scanner(installed_packs()[::-1], hash_key=b"k").book
    assert scanner.scan([SECRET])
    assert scanner.saved == 0


def test_half_a_digest_waits_for_its_other_half(told: tuple[Foretold, int]) -> None:
    scanner, writing = told
    digest = digest_of([SECRET])
    os.write(writing, digest[:5])
    assert scanner.scan([SECRET])
    os.write(writing, digest[5:])
    assert scanner.scan([SECRET]) == ()


def test_one_that_ends_early_is_done_without(told: tuple[Foretold, int]) -> None:
    scanner, writing = told
    os.close(writing)
    assert scanner.scan([SECRET])
    assert scanner.scan([SECRET])
