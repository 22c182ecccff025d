"""Replay itself: what is judged again, what is left out, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    Input,
    RequestInput,
    Tunnel,
)
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.replay.capture import read_capture
from mitmgate.replay.compare import Comparison
from mitmgate.replay.entries import CaptureLine, InputLine
from mitmgate.replay.golden import iter_golden, read_golden
from mitmgate.replay.merge import Merge, Window
from mitmgate.replay.run import Judged, Run
from mitmgate.scan.engine import Scanner
from mitmgate.wire.http import AnswerHead, RequestHead

type Record = Callable[[Sequence[Input]], Path]
PNG = (("content-type", "image/png"),)


def _upload(host: str) -> list[Input]:
    head = RequestHead("PUT", "https", host, 443, "/x", PNG)
    return [RequestInput("u", "agent", head, host, b"\x89PNG\xff", Tunnel()), EndInput("u")]


def _judged(
    capture: Path, policy: str, scanner: Scanner
) -> Iterator[tuple[CaptureLine, Judged | None]]:
    rules = load_policy(policy, file="p.yaml")
    run = Run(Judge(rules, scanner), scanner)
    for line in islice(read_capture(capture, scanner.sample_for), 1, None):
        yield line, run.take(line)


def _compare(capture: Path, policy: str, scanner: Scanner) -> tuple[Comparison, list[Judged]]:
    comparison, inputs = Comparison(), list[Judged]()
    window = Window(capture, iter_golden(golden_path(capture)))
    merge = Merge(capture, window, comparison, closed=True)
    for line, judged in _judged(capture, policy, scanner):
        merge.take(line, judged)
        inputs += [] if judged is None else [judged]
    merge.finish()
    return comparison, inputs


def test_secrets_come_back_as_samples_that_are_found_again(
    captured: Path, policy_text: str, scanner: Scanner
) -> None:
    requests = [
        line.input
        for line in read_capture(captured, scanner.sample_for)
        if isinstance(line, InputLine) and isinstance(line.input, RequestInput)
    ]
    sample = scanner.sample_for("secret.aws-access-key", 1)
    assert f"with {sample}".encode() in requests[0].body
    comparison, _ = _compare(captured, policy_text, scanner)
    assert (comparison.same, comparison.differences) == (comparison.outcomes, [])


def test_what_a_new_denial_prevents_is_not_compared(
    captured: Path, policy_text: str, scanner: Scanner
) -> None:
    stricter = policy_text.replace("otherwise: ask", "otherwise: deny", 1)
    comparison, inputs = _compare(captured, stricter, scanner)
    # The injection in the answer to the push was denied; it now never comes.
    assert any(judged.superseded for judged in inputs)
    assert comparison.weaker == []


def test_a_call_that_now_asks_still_has_its_answer_judged(
    captured: Path, policy_text: str, scanner: Scanner
) -> None:
    asking = policy_text.replace("[get, list], then: allow", "[get, list], then: ask")
    comparison, inputs = _compare(captured, asking, scanner)
    codes = {outcome.code for judged in inputs for outcome in judged.outcomes}
    assert "unmatched_answer" not in codes
    assert comparison.exit_code == 1


def test_a_denied_upload_that_was_not_stored_is_still_compared(
    record: Record, policy_text: str, scanner: Scanner
) -> None:
    capture = record(_upload("evil.example"))
    assert _compare(capture, policy_text, scanner)[0].exit_code == 0
    open_egress = policy_text.replace("otherwise: deny", "otherwise: allow")
    assert _compare(capture, open_egress, scanner)[0].exit_code == 3


def test_a_message_that_was_not_stored_is_not_compared(
    record: Record, policy_text: str, scanner: Scanner
) -> None:
    head = RequestHead("POST", "https", "files.example", 443, "/mcp/x", PNG)
    given = RequestInput("m", "agent", head, "files.example", b'{"jsonrpc"\xff', Tunnel())
    comparison, inputs = _compare(record([given, EndInput("m")]), policy_text, scanner)
    assert [judged.uncertain for judged in inputs] == [True, False]
    assert (comparison.not_compared, comparison.outcomes) == (1, 1)


def test_addresses_and_tunnels_are_judged_again(
    record: Record, policy_text: str, scanner: Scanner
) -> None:
    head = RequestHead("GET", "https", "docs.example", 443, "/", ())
    capture = record(
        [
            ConnectInput("c", "agent", "docs.example:22"),
            RequestInput("d", "agent", head, "docs.example", b"", Tunnel()),
            DialInput("d", "agent", "docs.example", 443, ("10.0.0.1",)),
        ]
    )
    golden = read_golden(golden_path(capture))
    assert golden is not None
    assert [g.kind for g in golden.values()] == ["connect", "request", "dial"]
    lax = f"{policy_text}network: {{allow_private: [10.0.0.0/8]}}\n"
    comparison, _ = _compare(capture, lax, scanner)
    assert [d.line for d in comparison.weaker] == [4]


NODES = st.sampled_from([None, True, -1, 1e999, 10**400, "x", "", [], {}, [["a"]], {"text": 1}])


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*path, index))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), bad=NODES)
def test_a_capture_with_any_value_replaced_is_read_or_refused(
    captured: Path, policy_text: str, scanner: Scanner, data: st.DataObject, bad: Any
) -> None:
    lines = [json.loads(line) for line in captured.read_text().splitlines()]
    number = data.draw(st.integers(0, len(lines) - 1))
    *parents, last = data.draw(st.sampled_from(list(_places(lines[number]))))
    node: Any = lines[number]
    for step in parents:
        node = node[step]
    node[last] = bad
    damaged = captured.with_name("damaged.jsonl")
    damaged.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with suppress(ConfigError):
        assert list(_judged(damaged, policy_text, scanner))


def test_an_answer_head_survives(record: Record, scanner: Scanner) -> None:
    given = AnswerInput("a", AnswerHead(302, (("content-type", "text/plain"),)), b"moved")
    (line,) = [
        line
        for line in read_capture(record([given]), scanner.sample_for)
        if isinstance(line, InputLine)
    ]
    assert isinstance(line.input, AnswerInput)
    assert (line.input.head, line.input.body) == (given.head, given.body)


def test_what_was_not_read_is_judged_again_as_unread(record: Record, scanner: Scanner) -> None:
    head = RequestHead("PUT", "https", "docs.example", 443, "/x", (("content-length", "99"),))
    asked = RequestInput("u", "agent", head, "docs.example", b"begin", Tunnel(), unread=99)
    sent = AnswerInput("u", AnswerHead(200), unread=70)
    lines = read_capture(record([asked, sent]), scanner.sample_for)
    inputs = [line.input for line in lines if isinstance(line, InputLine)]
    assert [one.unread for one in inputs if isinstance(one, RequestInput | AnswerInput)] == [99, 70]
