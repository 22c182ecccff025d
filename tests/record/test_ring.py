"""A capture that is bounded: what goes, what each segment begins with, and who is denied."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from captures import POLICY, STARTED, call, record, result

from mitmgate.cli.app import invoke
from mitmgate.errors import ConfigError
from mitmgate.judge import recording as recordings
from mitmgate.judge.choosing import KEEP_ALL, Keep, parse_choice
from mitmgate.judge.inputs import EndInput, EventInput, Input
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Recording
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import CaptureWriter, Sink, golden_path
from mitmgate.record.ring import Carrier, Ring, holds_state, parse_ring, prune
from mitmgate.scan.engine import Scanner
from mitmgate.wire.http import AnswerHead

HEADER = {"tool": "t", "policy": "p", "mode": "enforce", "shadow": False, "started": STARTED,
          "run": "", "keep": ["size:1"], "segment": 1, "canaries": []}  # fmt: skip
STREAM = AnswerHead(200, (("content-type", "text/event-stream"),))


def _captures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if ".golden." not in path.name)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _event(exchange: str, number: int) -> Input:
    data = {"jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": "info", "data": "x"}}  # fmt: skip
    return EventInput(exchange, number, "message", json.dumps(data), STREAM)


def _traffic(calls: int) -> Iterator[Input]:
    """Yield calls to a server that a person let in at first, and one stream over all of them."""
    yield call("q-1", "get", {}, host="new.example")
    yield EndInput("q-1")
    yield call("s-1", "get", {})
    for number in range(calls):
        name = f"c-{number}"
        if number % 10 == 0:
            yield _event("s-1", number)
        yield call(name, "get", {"n": number, "text": "word " * 100}, host="new.example")
        yield result(name, "done")
        yield EndInput(name)
    yield EndInput("s-1")


def test_each_segment_is_a_capture_that_replays_and_the_oldest_go(
    tmp_path: Path, scanner: Scanner
) -> None:
    ring = Ring(size=400_000)
    assert ring.size is not None
    record(tmp_path / "ring", _traffic(200), scanner=scanner, keep=Keep(ring=ring))
    segments = _captures(tmp_path / "ring")
    first = [_lines(path)[0] for path in segments]
    assert [line["segment"] for line in first][-1] > len(segments) > 1  # some are gone
    assert {tuple(line["keep"]) for line in first} == {("size:400000",)}
    assert sum(p.stat().st_size for p in (tmp_path / "ring").iterdir()) < ring.size * 1.3
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(tmp_path / "ring"), "--policy", str(tmp_path / "p.yaml")]) == 0
    carried = [line for line in _lines(segments[-1]) if line.get("carried")]
    assert {line["exchange"] for line in carried} >= {1, 2}  # the question, and the stream


def test_without_what_is_carried_a_segment_is_judged_otherwise(
    tmp_path: Path, scanner: Scanner
) -> None:
    record(tmp_path / "ring", _traffic(60), scanner=scanner, keep=Keep(ring=Ring(size=200_000)))
    last = _captures(tmp_path / "ring")[-1]
    kept = [line for line in _lines(last)[:-1] if not line.get("carried")]
    kept = [line for line in kept if line["type"] != "resolution"]
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps(line) + "\n" for line in kept))
    golden_path(bare).write_text(golden_path(last).read_text())
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(bare), "--policy", str(tmp_path / "p.yaml")]) in (1, 3)


def test_a_ring_removes_by_age_and_only_what_a_ring_wrote(tmp_path: Path) -> None:
    for name, keep in (("capture-old", ["age:60"]), ("capture-mine", [])):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(HEADER | {"keep": keep}) + "\n")
        (tmp_path / f"{name}.meta.yaml").write_text("")
        os.utime(tmp_path / f"{name}.jsonl", (STARTED, STARTED))
    ring = Ring(age=60)
    assert prune(tmp_path, ring, now=STARTED + 59, current=None) == 0
    assert prune(tmp_path, ring, now=STARTED + 61, current=None) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "capture-mine.jsonl",
        "capture-mine.meta.yaml",
    }


@pytest.mark.parametrize(
    ("keep", "taken"),
    [(KEEP_ALL, False), (Keep(ring=Ring(size=1 << 20)), True)],
    ids=["a capture of everything says no", "a ring never does"],
)
def test_when_the_queue_is_full(tmp_path: Path, scanner: Scanner, keep: Keep, taken: bool) -> None:
    writer = CaptureWriter(tmp_path, header=HEADER, queue_size=10)
    made = Recording(writer, scanner, clock=lambda: STARTED, started=STARTED, keep=keep)
    release, held = threading.Event(), threading.Event()

    def wait(_: Sink) -> None:
        held.set()
        release.wait(30)

    writer.offer(wait)
    assert held.wait(30)
    given = [call(f"a-{n}", "get", {}) for n in range(20)]
    said = [made.input(one, now=STARTED) for one in given]
    assert all(said) is taken
    assert made.dropped == (11 if taken else 0)
    release.set()
    made.close()
    requests = [line for line in _lines(made.path) if line["type"] == "request"]
    assert len(requests) == (9 if taken else 10)


def test_a_writer_that_died_denies_nothing_where_a_ring_is_wanted(
    tmp_path: Path, scanner: Scanner
) -> None:
    writer = CaptureWriter(tmp_path, header=HEADER)
    ring = Keep(ring=Ring(size=1 << 20))
    made = Recording(writer, scanner, clock=lambda: STARTED, started=STARTED, keep=ring)
    writer.close()
    assert made.input(call("a-1", "get", {}), now=STARTED)
    assert made.policy("p", "enforce", [])
    assert made.switch(on=True)


def test_an_endless_stream_is_cut_at_its_bound(
    tmp_path: Path, scanner: Scanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MOST_BYTES", 20_000)
    stream = [call("a-1", "get", {}), *(_event("a-1", n) for n in range(40)), EndInput("a-1")]
    path = record(tmp_path / "c", stream, scanner=scanner)
    lines = _lines(path)
    [cut] = [line for line in lines if line["type"] == "cut"]
    assert cut["bytes"] > 20_000
    assert [line["type"] for line in lines[-3:]] == ["cut", "end", "close"]
    assert max(line["message"] for line in lines if line["type"] == "event") < cut["message"]
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(path), "--policy", str(tmp_path / "p.yaml")]) == 0


CHOICES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "everything": ((), {"get", "push", "list"}),
    "a tool": (("tool:push",), {"push"}),
    "a glob": (("tool:*t",), {"get", "list"}),
    "all but a tool": (("!tool:push", "method:tools/call"), {"get", "list"}),
    "two words in one": (("tool:*t !tool:get",), {"list"}),
    "a verdict": (("verdict:deny",), {"push"}),
    "a rule": (("rule:no-force",), {"push"}),
    "a server": (("server:files",), {"get", "push", "list"}),
    "another host": (("host:other.example",), set()),
}


@pytest.mark.parametrize(("words", "tools"), CHOICES.values(), ids=CHOICES)
def test_words_choose_exchanges_whole(
    tmp_path: Path, scanner: Scanner, words: tuple[str, ...], tools: set[str]
) -> None:
    traffic: list[Input] = []
    for tool in ("get", "push", "list"):
        traffic += [call(tool, tool, {"force": True}), EndInput(tool)]
    path = record(tmp_path / "c", traffic, scanner=scanner, keep=Keep(parse_choice(words)))
    assert path.exists() is bool(tools)
    if not tools:
        return
    lines = _lines(path)
    assert {line["id"] for line in lines if "id" in line} == tools
    assert [line["type"] for line in lines].count("end") == len(tools)
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(path), "--policy", str(tmp_path / "p.yaml")]) == 0


def test_a_sample_takes_conversations_whole(tmp_path: Path, scanner: Scanner) -> None:
    traffic: list[Input] = []
    for number in range(60):
        name, host = f"a-{number}", f"h{number % 20}.example"
        traffic += [call(name, "get", {}, host=host), EndInput(name)]
    keep = Keep(parse_choice((), sample="50%", key=b"k"))
    lines = _lines(record(tmp_path / "c", traffic, scanner=scanner, keep=keep))
    assert lines[0]["keep"] == ["sample:50%"]
    hosts = [line["head"]["host"] for line in lines if line["type"] == "request"]
    assert 3 <= len(set(hosts)) <= 17
    assert all(hosts.count(host) >= 3 for host in hosts)


BAD = {
    "an unknown name": (("foo:x",), None),
    "no glob": (("tool:",), None),
    "a bad glob": (("tool:[a]",), None),
    "no percent": ((), "10"),
    "none at all": ((), "0%"),
    "more than all": ((), "101%"),
    "no number": ((), "nan%"),
}


@pytest.mark.parametrize(("words", "sample"), BAD.values(), ids=BAD)
def test_a_bad_choice_is_refused(words: tuple[str, ...], sample: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_choice(words, sample=sample)
    assert "--capture-" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "age", "ring"),
    [
        (None, None, None),
        ("256MB", None, Ring(size=256 << 20)),
        ("1GB", "7d", Ring(size=1 << 30, age=604_800)),
        (None, "90m", Ring(age=5400)),
    ],
)
def test_bounds(size: str | None, age: str | None, ring: Ring | None) -> None:
    assert parse_ring(size, age) == ring


@pytest.mark.parametrize(
    ("size", "age"), [("256", None), ("1KB", None), ("-1MB", None), (None, "7w"), (None, "0m")]
)
def test_bad_bounds_are_refused(size: str | None, age: str | None) -> None:
    with pytest.raises(ConfigError):
        parse_ring(size, age)


def test_what_begins_a_session_holds_state() -> None:
    def body(method: str) -> dict[str, Any]:
        return {"body": {"text": json.dumps({"method": method})}}

    assert holds_state(body("initialize"))
    assert holds_state(body("tools/list"))
    assert not holds_state(body("tools/call"))


def _request(number: int) -> dict[str, Any]:
    return {"type": "request", "exchange": number, "agent": "a", "body": {"text": "x"},
            "head": {"host": "h", "port": 443}}  # fmt: skip


LATE: dict[str, tuple[str, list[str]]] = {
    "an answer to one call is not carried on without the call": ("resolution", []),
    "an answer for calls to come is: others are known by their number": ("grant", ["grant"]),
    "an end is not carried on": ("end", []),
    "a cut is not carried on": ("cut", []),
}


@pytest.mark.parametrize("sentence", LATE)
def test_what_comes_late_to_an_exchange_that_is_not_carried(sentence: str) -> None:
    kind, carried = LATE[sentence]
    carrier = Carrier()
    carrier.note(_request(1), 100)
    carrier.note({"type": "end", "exchange": 1}, 20)
    assert not carrier.knows(1)
    carrier.note({"type": kind, "exchange": 1, "answer": "allow"}, 30)
    assert [line["type"] for line in carrier.carried()] == carried
    assert not carrier.knows(1)


def test_late_answers_do_not_add_up() -> None:
    carrier = Carrier()
    for number in range(3_000):
        carrier.note({"type": "grant", "exchange": number, "answer": "allow"}, 30)
    assert len(list(carrier.carried())) == 1_000


def test_more_exchanges_with_holes_than_are_remembered_are_all_cut(
    tmp_path: Path, scanner: Scanner
) -> None:
    writer = CaptureWriter(tmp_path / "c", header=HEADER)
    keep = Keep(parse_choice(("method:*",)))
    made = Recording(writer, scanner, clock=lambda: STARTED, started=STARTED, keep=keep)
    judge = Judge(load_policy(POLICY, file="p.yaml"), scanner)

    def take(given: Input) -> None:
        outcome = judge.conclude(judge.prepare(given), now=STARTED)
        assert made.input(given, now=STARTED)
        assert outcome is None or made.outcome(outcome)

    names = [f"c-{number:x}" for number in range(1_200)]
    for name in names:
        take(call(name, "get", {}))
    real, writer.offer = writer.offer, lambda *_, **__: False  # type: ignore[method-assign]
    made._intake._offer = writer.offer
    for name in names:
        take(result(name, "dropped"))
    made._intake._offer = writer.offer = real  # type: ignore[method-assign]
    for name in names:
        take(result(name, "late"))
        take(EndInput(name))
    take(call("c-ffff", "get", {}))
    take(EndInput("c-ffff"))
    made.close()
    lines = _lines(made.path)
    kinds = [line["type"] for line in lines]
    assert (kinds.count("cut"), kinds.count("answer"), kinds.count("request")) == (1_200, 0, 1_201)
    assert made.dropped == 2_400
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(made.path), "--policy", str(tmp_path / "p.yaml")]) == 0
