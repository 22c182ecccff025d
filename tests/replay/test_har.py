"""HAR files: each tool writes them in its own way, and many leave bodies out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.cli.app import invoke
from mitmgate.errors import ConfigError
from mitmgate.judge.imported import Timed
from mitmgate.judge.inputs import AnswerInput, EventInput, MessageInput, RequestInput
from mitmgate.record.capture import golden_path
from mitmgate.replay.har import Archive, read_har

type Change = Callable[[dict[str, Any]], object]


def _entry() -> dict[str, Any]:
    return {
        "startedDateTime": "2026-05-04T09:30:00.000Z",
        "time": 500,
        "request": {
            "method": "POST",
            "url": "https://files.example/mcp/x?a=1",
            "httpVersion": "HTTP/2",
            "headers": [
                {"name": ":authority", "value": "files.example"},
                {"name": "Content-Type", "value": "application/json"},
            ],
            "bodySize": 2,
            "postData": {"mimeType": "application/json", "text": "{}"},
        },
        "response": {
            "status": 200,
            "headers": [
                {"name": "Content-Type", "value": "application/json"},
                {"name": "Content-Encoding", "value": "gzip"},
            ],
            "content": {"size": 4, "mimeType": "application/json", "text": "true"},
        },
    }


def _read(tmp_path: Path, *entries: Any, mark: str = "") -> Archive:
    path = tmp_path / "a.har"
    path.write_text(mark + json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return read_har(path)


def _with(change: Change) -> dict[str, Any]:
    entry = _entry()
    change(entry)
    return entry


def _bodies(inputs: list[Timed]) -> list[tuple[bytes, int | None]]:
    return [
        (timed.given.body, timed.missing)
        for timed in inputs
        if isinstance(timed.given, RequestInput | AnswerInput)
    ]


def test_an_entry_is_a_request_and_its_answer_with_decoded_bodies(tmp_path: Path) -> None:
    [inputs] = _read(tmp_path, _entry(), mark="\ufeff").exchanges
    request, answer = inputs[0].given, inputs[1].given
    assert isinstance(request, RequestInput)
    assert isinstance(answer, AnswerInput)
    assert (request.head.host, request.head.port, request.head.target) == (
        "files.example",
        443,
        "/mcp/x?a=1",
    )
    assert request.authority == "files.example"
    assert dict(request.head.headers) == {"content-type": "application/json"}
    assert answer.head.get("content-encoding") is None
    assert [timed.at - inputs[0].at for timed in inputs] == [0, 0.5, 0.5]


BODIES: dict[str, tuple[Change, list[tuple[bytes, int | None]]]] = {
    "a posted body without its text is missing": (
        lambda e: e["request"]["postData"].pop("text"), [(b"", 2), (b"true", None)]),
    "no posted body of a length is missing": (
        lambda e: e["request"].pop("postData"), [(b"", 2), (b"true", None)]),
    "no posted body and no length is none": (
        lambda e: e["request"].update(postData=None, bodySize=0), [(b"", None), (b"true", None)]),
    "fields of a form are a body": (
        lambda e: e["request"].update(postData={"mimeType": "application/x-www-form-urlencoded",
                                                "params": [{"name": "a", "value": "b c"}]}),
        [(b"a=b+c", None), (b"true", None)]),
    "an answer without its text is missing": (
        lambda e: e["response"]["content"].pop("text"), [(b"{}", None), (b"", 4)]),
    "an answer without content is missing": (
        lambda e: e["response"].update(content={}, bodySize=500), [(b"{}", None), (b"", 0)]),
    "an answer of no bytes without content is not": (
        lambda e: e["response"].update(content={}, bodySize=0), [(b"{}", None), (b"", None)]),
    "an answer of an unknown length is missing": (
        lambda e: e["response"].update(content={"size": -1}), [(b"{}", None), (b"", 0)]),
    "an answer of no length is empty": (
        lambda e: e["response"].update(content={"size": 0}), [(b"{}", None), (b"", None)]),
    "base64 is undone": (
        lambda e: e["response"]["content"].update(text=b64encode(b"\xff").decode(),
                                                  encoding="base64"),
        [(b"{}", None), (b"\xff", None)]),
    "no answer came": (lambda e: e["response"].update(status=0), [(b"{}", None)]),
    "headers may be an object": (
        lambda e: e["request"].update(headers={"Content-Type": "text/plain"}),
        [(b"{}", None), (b"true", None)]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "bodies"), BODIES.values(), ids=BODIES)
def test_bodies(tmp_path: Path, change: Change, bodies: list[tuple[bytes, int | None]]) -> None:
    archive = _read(tmp_path, _with(change))
    assert archive.problems == []
    assert _bodies(archive.exchanges[0]) == bodies


def test_events_and_messages_are_inputs_of_their_own(tmp_path: Path) -> None:
    def streams(entry: dict[str, Any]) -> None:
        entry["response"]["headers"] = [{"name": "content-type", "value": "text/event-stream"}]
        entry["response"]["content"] = {"size": 30, "text": "data: 1\n\ndata: 2\n\n"}

    socket = _with(
        lambda e: e.update(
            _webSocketMessages=[
                {"type": "send", "time": 1777887001.0, "opcode": 1, "data": "hi"},
                {"type": "receive", "time": 1777887002.0, "opcode": 2, "data": "/w=="},
            ]
        )
    )
    first, second = _read(tmp_path, _with(streams), socket).exchanges
    assert [t.given.data for t in first if isinstance(t.given, EventInput)] == ["1", "2"]
    messages = [t.given for t in second if isinstance(t.given, MessageInput)]
    assert [(m.from_client, m.data) for m in messages] == [(True, "hi"), (False, b"\xff")]


BROKEN: dict[str, Change] = {
    "no start": lambda e: e.pop("startedDateTime"),
    "a start without a zone": lambda e: e.update(startedDateTime="2026-05-04T09:30:00"),
    "a start before the epoch": lambda e: e.update(startedDateTime="0001-01-01T00:00:00+14:00"),
    "a start after all times": lambda e: e.update(startedDateTime="9999-12-31T23:59:59-14:00"),
    "a start in words": lambda e: e.update(startedDateTime="SECRET-WORD"),
    "no request": lambda e: e.pop("request"),
    "another scheme": lambda e: e["request"].update(url="data:text/plain,SECRET-WORD"),
    "a port in words": lambda e: e["request"].update(url="https://a.example:SECRET-WORD/"),
    "an unknown encoding": lambda e: e["response"]["content"].update(encoding="rot13"),
    "a body that is not base64": lambda e: e["response"]["content"].update(
        text="SECRET-WOR", encoding="base64"),
    "a header without a value": lambda e: e["request"].update(headers=[{"name": "a"}]),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_entry_is_named_and_the_others_are_read(tmp_path: Path, change: Change) -> None:
    archive = _read(tmp_path, _entry(), _with(change), _entry())
    assert len(archive.exchanges) == 2
    [problem] = archive.problems
    assert problem.key == "log.entries[1]"
    assert "SECRET-WOR" not in str(problem)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(
            st.sampled_from(["request", "response", "url", "headers", "content", "text", "time"]),
            inner,
        ),
        max_leaves=8,
    ),
    st.sampled_from(["request", "response", "time", "startedDateTime", "_webSocketMessages"]),
)  # fmt: skip
def test_an_entry_of_any_shape_is_read_or_named(value: Any, key: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            archive = _read(Path(folder), _with(lambda e: e.update({key: value})))
        except ConfigError:
            return
    assert len(archive.exchanges) + len(archive.problems) == 1


def test_a_har_becomes_a_capture_that_replays(tmp_path: Path, policy_text: str) -> None:
    policy, har, made = tmp_path / "p.yaml", tmp_path / "a.har", tmp_path / "a.jsonl"
    policy.write_text(policy_text)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "push", "arguments": {"force": True}}}  # fmt: skip
    entries = [_with(lambda e: e["request"]["postData"].update(text=json.dumps(call))),
               _with(lambda e: e["response"]["content"].pop("text"))]  # fmt: skip
    har.write_text(json.dumps({"log": {"entries": entries}}))
    where = ["--policy", str(policy), "--state-dir", str(tmp_path / "state")]
    assert invoke(["capture", "import", str(har), *where]) == 0
    golden = [json.loads(line) for line in golden_path(made).read_text().splitlines()]
    assert ("push", "deny", "no-force") in [(g["tool"], g["verdict"], g["rule"]) for g in golden]
    assert invoke(["replay", str(made), *where]) == 0


def test_a_har_with_a_broken_entry_wants_partial(
    tmp_path: Path, policy_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, har = tmp_path / "p.yaml", tmp_path / "a.har"
    policy.write_text(policy_text)
    har.write_text(json.dumps({"log": {"entries": [_entry(), {}]}}))
    where = ["--policy", str(policy), "--state-dir", str(tmp_path / "state")]
    assert invoke(["capture", "import", str(har), *where]) == 2
    assert "log.entries[1]" in capsys.readouterr().err
    assert not (tmp_path / "a.jsonl").exists()
    assert invoke(["capture", "import", str(har), "--partial", *where]) == 0
