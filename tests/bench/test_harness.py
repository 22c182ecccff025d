"""What is sent has its size, the clients understand the server, and refusals are noticed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.demo.pki import make_pki
from mitmgate.wire.body import decode_body

type Modules = dict[str, ModuleType]


@pytest.mark.parametrize("size", [200, 2_000, 10_000, 100_000, 1_000_000, 1_500_000])
def test_a_message_has_its_size_and_can_be_read(bench: Modules, size: int) -> None:
    payloads = bench["payloads"]
    call, result = payloads.call(size, 3), payloads.result(size, 3)
    assert (len(call), len(result), len(payloads.events(size, 3))) == (size, size, size)
    assert json.loads(call)["method"] == "tools/call"
    assert json.loads(result)["result"]["content"][0]["type"] == "text"
    events = payloads.events(size, 3).split(b"\n\n")
    assert events.pop() == b""
    messages = [json.loads(event.partition(b"data: ")[2]) for event in events]
    assert ["result" in message for message in messages] == [False] * (len(messages) - 1) + [True]


def test_variants_of_a_message_differ_from_each_other(bench: Modules) -> None:
    payloads = bench["payloads"]
    made = {payloads.call(2_000, seed) for seed in range(payloads.variants(2_000))}
    assert len(made) == 16


def test_the_bomb_is_what_it_says(bench: Modules) -> None:
    bomb = bench["payloads"].zstd_bomb(2_621_440)
    assert len(bomb) < 100
    assert decode_body(bomb, "zstd", limit=2_621_440) == bytes(2_621_440)


@given(st.data())
def test_frames_are_the_same_however_they_are_cut(bench: Modules, data: st.DataObject) -> None:
    line = bench["line"]
    frames = data.draw(st.lists(st.tuples(
        st.sampled_from([0, 1, 4]), st.integers(0, 255), st.integers(0, 2**31 - 1),
        st.binary(max_size=40)), max_size=6))  # fmt: skip
    sent = b"".join(line.frame(*one) for one in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    reader = line.Frames()
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert [one for piece in pieces for one in reader.feed(piece)] == frames


@pytest.fixture(scope="module")
def direct(bench: Modules, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("bench")
    ca, certificate = make_pki(folder, bench["payloads"].NAME)
    program = str(Path(str(bench["upstream"].__file__)))
    with subprocess.Popen([sys.executable, program, str(certificate)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        yield bench["legs"].Leg("direct", int(child.stdout.readline()), str(ca))
        child.stdin.close()  # the server ends


@pytest.mark.parametrize("http", ["Http1", "Http2"])
@pytest.mark.parametrize(
    ("kind", "size"),
    [("json", 200), ("json", 100_000), ("sse", 2_000), ("sse", 100_000), ("arguments", 100_000),
     ("page", 2_000)],
)  # fmt: skip
def test_every_client_gets_every_answer(
    bench: Modules, direct: Any, http: str, kind: str, size: int
) -> None:
    client = bench["client"]
    with closing(client.Crowd(direct, getattr(client, http), 3)) as crowd:
        sample = crowd.run(client.Shape(kind, size), calls=12)
    assert len(sample.seconds) == 12
    assert 0 < sample.median <= sample.quantile(0.99) <= sample.elapsed


def test_an_answer_of_another_size_is_an_error_and_no_fast_call(
    bench: Modules, direct: Any
) -> None:
    client = bench["client"]

    class Wrong(client.Shape):  # type: ignore[misc, name-defined]
        answered = 300

    with (
        closing(client.Crowd(direct, client.Http1, 1)) as crowd,
        pytest.raises(client.RefusedError, match="200 bytes instead of 300"),
    ):
        crowd.run(Wrong("json", 200), calls=1)


def test_paced_events_arrive_with_their_clock(bench: Modules, direct: Any) -> None:
    found = bench["client"].delays(direct, 3)
    assert len(found) == 3
    assert all(0 < seconds < 10 for seconds in found)


def test_the_stages_add_up_to_the_time_of_the_process(
    bench: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = bench["gate"]
    threads = iter([{"MainThread": 1.0}, {"MainThread": 3.0, "mitmgate-prepare_0": 0.5, "w": 0.25}])
    monkeypatch.setattr(gate, "_threads", lambda: next(threads))
    monkeypatch.setattr(gate.signal, "setitimer", lambda *_: None)
    stages = gate.Stages(tmp_path / "stages.json")
    stages.turn()
    stages._looks.update({"judge": 3, "TLS": 1})
    stages.turn()
    told = json.loads((tmp_path / "stages.json").read_text())
    assert told["total"] == 2.75
    assert told["seconds"] == {"accept": 0, "TLS": 0.5, "parse": 0, "judge": 2.0, "record": 0.25,
                               "forward": 0}  # fmt: skip
