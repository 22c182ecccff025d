"""What is wrong with a capture, with its exit code, its words, and what helps."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from captures import KEY, POLICY, call, result

from mitmgate.cli.app import invoke
from mitmgate.judge.inputs import EndInput, Input
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.replay import merge
from mitmgate.replay.golden import Golden
from mitmgate.serve.replaying import run_files

type Record = Callable[[Sequence[Input]], Path]
type Replay = Callable[..., tuple[int, str, str]]
SAME, LEFT, UNUSABLE, WEAKER = 0, 1, 2, 3
MANY = 1_600


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    """Return a function that replays: exit code, output, errors."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    def run(path: Path, *more: str, command: Sequence[str] = ("replay",)) -> tuple[int, str, str]:
        code = invoke([*command, str(path), "--policy", str(policy), *more])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_one_that_was_cut_in_the_middle(captured: Path, replay: Replay) -> None:
    lines = captured.read_bytes().splitlines(keepends=True)
    half = lines[: len(lines) // 2]
    captured.write_bytes(b"".join(half)[:-9])
    before = golden_path(captured).read_bytes()
    code, _, error = replay(captured)
    assert code == UNUSABLE
    assert f"{captured}:{len(half)}: the last line is cut off" in error
    assert "remove that line; what came before it can be replayed" in error
    captured.write_bytes(b"".join(half[:-1]))
    code, _, error = replay(captured)
    assert (code, "is not what its meta file says" in error) == (UNUSABLE, True)
    # What was decided behind the cut is gone: only two words accept that.
    code, out, _ = replay(captured, "--update")
    assert (code, "WEAKER deny → nothing" in out) == (WEAKER, True)
    assert golden_path(captured).read_bytes() == before
    assert replay(captured, "--update", "--accept-weaker")[0] == SAME
    code, out, _ = replay(captured)
    assert (code, "without an end" in out) == (SAME, True)


def test_a_golden_file_that_was_edited_by_hand(captured: Path, replay: Replay) -> None:
    golden = golden_path(captured)
    golden.write_text(golden.read_text().replace('"verdict":"deny"', '"verdict":"allow"', 1))
    code, _, error = replay(captured)
    assert code == UNUSABLE
    assert f"{golden}: is not what its meta file says: edited by hand, or damaged" in error
    assert "look at it; then `mitmgate replay --update` seals it as it is" in error
    meta_path(captured).unlink()
    code, out, _ = replay(captured)  # what was denied is still denied: that lets nothing through
    assert (code, "allow → deny" in out) == (1, True)


def test_one_that_holds_a_real_secret(captured: Path, replay: Replay) -> None:
    text = captured.read_text()
    assert KEY not in text
    captured.write_text(text.replace("Ignore all previous instructions", f"The key is {KEY}"))
    code, out, error = replay(captured, command=("capture", "verify"))
    assert KEY not in out + error
    assert code == UNUSABLE  # it is no longer what was sealed
    meta_path(captured).unlink()
    code, out, error = replay(captured, command=("capture", "verify"))
    assert (code, KEY in out + error) == (LEFT, False)
    assert "secret.aws-access-key" in out


HAR = {"log": {"version": "1.2", "entries": [{
    "startedDateTime": "2026-05-04T09:30:00Z", "time": 1,
    "request": {"method": "PUT", "url": "https://docs.example/x", "httpVersion": "HTTP/1.1",
                "headers": [{"name": "Content-Type", "value": "application/json"}],
                "bodySize": 40},
    "response": {"status": 200, "headers": [], "content": {"size": 10}, "bodySize": 10},
}]}}  # fmt: skip


def test_a_har_file_without_its_bodies(tmp_path: Path, replay: Replay) -> None:
    har = tmp_path / "web.har"
    har.write_text(json.dumps(HAR))
    assert replay(har, "--update")[0] == SAME
    code, out, _ = replay(har, "--json")
    told = json.loads(out)
    assert (code, told["outcomes"]) == (SAME, told["same"] + told["not_compared"])
    assert told["outcomes"] == 2


def _repeated(capture: Path, times: int) -> None:
    """Make *capture*, which holds one exchange, and its golden file so many times as long."""
    header, *lines, _close = capture.read_text().splitlines()
    golden = golden_path(capture).read_text().splitlines()

    def again(of: list[str]) -> Iterator[str]:
        for number in range(1, times + 1):
            yield from (line.replace('"exchange":1,', f'"exchange":{number},') for line in of)

    inputs = [line.replace(',"id":"a-1"', "") for line in lines]
    close = json.dumps({"type": "close", "lines": 1 + times * len(inputs)}, separators=(",", ":"))
    capture.write_text("\n".join([header, *again(inputs), close, ""]))
    golden_path(capture).write_text("\n".join([*again(golden), ""]))
    meta_path(capture).unlink()


def test_one_that_is_long_is_judged_in_little_memory(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = record([call("a-1", "get", {}), result("a-1", "x"), EndInput("a-1")])
    _repeated(capture, MANY)
    monkeypatch.setattr(merge, "_AHEAD", 50)
    held: dict[int, int] = {}

    def hear(_file: Path, _line: int, golden: Golden, _found: object) -> None:
        if golden.exchange in (500, 1_500):
            gc.collect()
            held[golden.exchange] = sys.getallocatedblocks()

    compared = run_files([capture], load_policy(POLICY, file="p.yaml"), hear=hear)
    assert (compared.exchanges, compared.same, compared.exit_code) == (MANY, 2 * MANY, 0)
    # One number that stayed of each exchange would be a thousand blocks of memory.
    assert held[1_500] - held[500] < 500
