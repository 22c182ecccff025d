"""``--only FILTER --update``: what the filter leaves out keeps its golden lines, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import replace
from pathlib import Path

import pytest
from captures import POLICY, call, result

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import EndInput, Input, RequestInput
from mitmgate.policy.load import Policy, load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.replay.golden import Golden, golden_from
from mitmgate.replay.words import only
from mitmgate.serve.replaying import run_files

type Record = Callable[[Sequence[Input]], Path]
type Change = Callable[[Path], object]

OTHER = POLICY.replace("id: reads,", "id: readers,").replace(
    "list], then: allow", "list], then: deny"
)
BATCH = json.dumps([
    {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name}}
    for number, name in enumerate(("get", "push"))
]).encode()  # fmt: skip


def _batch(exchange: str) -> RequestInput:
    return replace(call(exchange, "x", {}), body=BATCH)


TRAFFIC: list[Input] = [
    call("a-1", "get", {}), result("a-1", "one"), EndInput("a-1"),
    call("a-2", "push", {"force": True}), EndInput("a-2"),
    _batch("a-3"), EndInput("a-3"),
    replace(call("a-4", "x", {}), body=b'{"jsonrpc"\xff'), EndInput("a-4"),
    call("a-5", "other", {}), result("a-5", "two"), EndInput("a-5"),
]  # fmt: skip

FILTERS: dict[str, str] = {
    "an exchange": "ex:1",
    "another exchange, of which nothing changes": "ex:2",
    "a message of a batch": "ex:3 tool:get",
    "a batch": "ex:3 !tool:get",
    "what cannot be compared": "ex:4",
    "the answers that a denial now prevents": "t:answer",
    "the requests before them": "ex:1 t:request",
    "all but one": "!ex:1",
    "a rule that decides only now": "rule:readers",
}


@pytest.fixture
def other() -> Policy:
    return load_policy(OTHER, file="p.yaml")


@pytest.mark.parametrize("words", FILTERS.values(), ids=FILTERS)
def test_what_the_filter_leaves_out_keeps_its_line(
    record: Record, other: Policy, words: str
) -> None:
    capture = record(TRAFFIC)
    before = golden_path(capture).read_text().splitlines()
    fits = only(words)
    # A line fits by what it was, or by what stands in its place now.
    now = _now(capture, other)
    left = [
        line for line in before if not any(map(fits, [_read(line), *now.get(_place(line), ())]))
    ]
    assert left
    assert len(left) < len(before)
    assert run_files([capture], other, only=fits, accept="different").updated
    after = golden_path(capture).read_text().splitlines()
    assert [line for line in after if line in left] == left
    # The update is whole: what was chosen now compares as the same.
    assert run_files([capture], other, only=fits).exit_code == 0


def _read(line: str) -> Golden:
    return golden_from(json.loads(line))


def _now(capture: Path, policy: Policy) -> dict[str, list[Golden]]:
    """Return what an update of everything would write, by place."""
    kept = golden_path(capture).read_bytes()
    meta = meta_path(capture).read_bytes()
    assert run_files([capture], policy, accept="weaker").updated
    found: dict[str, list[Golden]] = {}
    for line in golden_path(capture).read_text().splitlines():
        found.setdefault(_place(line), []).append(_read(line))
    golden_path(capture).write_bytes(kept)
    meta_path(capture).write_bytes(meta)
    return found


def _place(line: str) -> str:
    told = json.loads(line)
    return f"{told['exchange']}.{told['message']}"


def _with_a_line_for_nothing(capture: Path) -> None:
    lines = golden_path(capture).read_text().splitlines(keepends=True)
    lost = json.loads(lines[1]) | {"exchange": 77}
    text = json.dumps(lost, separators=(",", ":")) + "\n"
    golden_path(capture).write_text("".join([*lines[:2], text, *lines[2:]]))


def _killed(capture: Path) -> None:
    capture.write_text("".join(capture.read_text().splitlines(keepends=True)[:-1]))
    meta_path(capture).unlink()


ODD: dict[str, Change] = {
    "a golden line whose input is gone": _with_a_line_for_nothing,
    "a capture without an end": _killed,
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_what_is_odd_and_left_out_keeps_its_line(
    record: Record, other: Policy, change: Change
) -> None:
    capture = record(TRAFFIC)
    change(capture)
    before = golden_path(capture).read_text().splitlines()
    assert run_files([capture], other, only=only("ex:1 t:request"), accept="different").updated
    after = golden_path(capture).read_text().splitlines()
    assert sorted(after[1:]) == sorted(before[1:])
    assert json.loads(after[0])["verdict"] == "deny"


def test_a_filter_that_fits_nothing_writes_nothing(record: Record, other: Policy) -> None:
    capture = record(TRAFFIC)
    before = golden_path(capture).read_bytes()
    with pytest.raises(ConfigError, match="the filter fits no outcome"):
        run_files([capture], other, only=only("tool:nowhere"), accept="weaker")
    assert golden_path(capture).read_bytes() == before
    assert sorted(path.suffix for path in capture.parent.iterdir()) == [".jsonl", ".jsonl", ".yaml"]
