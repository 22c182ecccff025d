"""A capture holds what was judged, and no secret that was planted anywhere in it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    EndInput,
    EventInput,
    Input,
    RequestInput,
    Tunnel,
)
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Resolution
from mitmgate.judge.recording import Recording, Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.http import AnswerHead, Headers, RequestHead

SCANNER = Scanner(installed_packs(), hash_key=b"k" * 32)
POLICY = load_policy(
    'version: 1\nservers:\n  files: {url: "https://h.example/mcp/**"}\n', file="p.yaml"
)
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
SESSION = "sesame-0123456789-by-place"
PERCENT = "".join(f"%{ord(char):02X}" for char in KEY)
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
FORMS = [
    form
    for value in (KEY, SESSION)
    for form in (
        value,
        quote(value, safe=""),
        "".join(f"%{ord(char):02X}" for char in value),
        json.dumps(value)[1:-1],
        "".join(f"\\u{ord(char):04x}" for char in value),
        b64encode(value.encode()).decode().rstrip("="),
    )
]


def _request(
    body: bytes = b"{}",
    headers: Headers = (),
    target: str = "/mcp/x",
    media: str = "application/json",
    host: str = "h.example",
) -> RequestInput:
    head = RequestHead("POST", "https", host, 443, target, (("content-type", media), *headers))
    return RequestInput("1", "agent", head, host, body, Tunnel(f"{host}:443", host))


def _call(arguments: object, method: str = "tools/call") -> bytes:
    params = {"name": "run", "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


HEAD = AnswerHead(200, (("content-type", "text/event-stream"), ("set-cookie", f"s={SESSION}")))
PLANTED: dict[str, Input] = {
    "an argument": _request(_call({"a": f"x {KEY}"})),
    "an argument in base64": _request(_call({"a": b64encode(f"x {KEY}".encode()).decode()})),
    "an argument in percent": _request(_call({"a": PERCENT})),
    "an escaped argument": _request(_call({"a": "X"}).replace(b'"X"', f'"{ESCAPED}"'.encode())),
    "a key of the arguments": _request(_call({KEY: 1})),
    "the tool's name": _request(_call({}).replace(b'"run"', f'"{KEY}"'.encode())),
    "the method": _request(_call({}, method=KEY)),
    "the id": _request(_call({}).replace(b'"id": 1', f'"id": "{KEY}"'.encode())),
    "damaged JSON": _request(f'{{"a":1,"a":"{KEY}","password":"{SESSION}"'.encode()),
    "escapes in damaged JSON": _request(f'{{"a":1,"a":"{ESCAPED}"'.encode()),
    "a JSON string alone": _request(json.dumps(KEY).encode()),
    "JSON in a string": _request(_call({"a": json.dumps({"token": SESSION})})),
    "a password": _request(_call({"password": SESSION})),
    "a request state": _request(json.dumps({"params": {"requestState": SESSION}}).encode()),
    "an elicitation's answer": _request(
        json.dumps({"result": {"action": "accept", "content": {"x": SESSION}}}).encode()
    ),
    "a URL in an argument": _request(_call({"u": f"https://x/?sessionId={SESSION}"})),
    "userinfo in an argument": _request(_call({"u": f"https://me:{SESSION}@x/"})),
    "the query": _request(target=f"/mcp/x?q={KEY}&session_id={SESSION}"),
    "the query in percent": _request(target=f"/mcp/x?q={PERCENT}"),
    "the path": _request(target=f"/mcp/{KEY}/x"),
    "the path in percent": _request(target=f"/mcp/{PERCENT}/x"),
    "a form": _request(f"code={SESSION}&a={PERCENT}&b={KEY}".encode(),
                       media="application/x-www-form-urlencoded"),
    "a form with parts": _request(f'--x\r\nname="password"\r\n\r\n{SESSION}'.encode(),
                                  media="multipart/form-data; boundary=x"),
    "plain text": _request(f"see {KEY} TOKEN={SESSION}".encode(), media="text/plain"),
    "a bearer token": _request(headers=(("authorization", f"Bearer {SESSION}"),)),
    "a cookie": _request(headers=(("cookie", f"a={SESSION}"),)),
    "a session header": _request(headers=(("mcp-session-id", SESSION),)),
    "an event id": _request(headers=(("last-event-id", SESSION),)),
    "a parameter header": _request(headers=(("mcp-param-x", SESSION),)),
    "a header that is kept": _request(headers=(("user-agent", f"a/{KEY}"),)),
    "a header's name": _request(headers=((f"x-{KEY}", "v"),)),
    "a name header in base64": _request(
        headers=(("mcp-name", f"=?base64?{b64encode(KEY.encode()).decode()}?="),)
    ),
    "the host": _request(host=f"{KEY}.example"),
    "the name of a tunnel": RequestInput("1", "a", _request().head, "h", b"", Tunnel(KEY, KEY)),
    "a CONNECT": ConnectInput("1", "agent", f"{KEY}:443"),
    "the agent": ConnectInput("1", KEY, "h.example:443"),
    "an answer": AnswerInput("1", AnswerHead(200), f'{{"access_token":"{SESSION}"}}'.encode()),
    "an answer's header": AnswerInput("1", AnswerHead(302, (("location", f"/?code={SESSION}"),))),
    "an event": EventInput("1", 0, "message", json.dumps({"a": KEY, "cursor": SESSION}), HEAD),
    "an endpoint event": EventInput("1", 0, "endpoint", f"/m?sessionId={SESSION}", HEAD),
    "an event's type": EventInput("1", 0, KEY, "x", HEAD),
}  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = open_recording(
        tmp_path, scanner=SCANNER, run=Run(POLICY.hash, "enforce"), clock=lambda: 0.0
    )
    yield made
    made.close()


def _judge_all(recording: Recording, inputs: list[Input]) -> list[str]:
    judge = Judge(POLICY, SCANNER)
    for given in inputs:
        outcome = judge.conclude(judge.prepare(given), now=0.0)
        assert recording.input(given, now=0.0)
        assert outcome is None or recording.outcome(outcome)
    recording.close()
    assert recording.failure is None
    return [path.read_text() for path in (recording.path, golden_path(recording.path))]


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_no_file_holds_what_was_planted_in(recording: Recording, planted: Input) -> None:
    before: list[Input] = [] if isinstance(planted, RequestInput) else [_request(_call({}))]
    texts = _judge_all(recording, [*before, planted])
    found = [form for form in FORMS if any(form.lower() in text.lower() for text in texts)]
    assert found == []


def test_exchanges_are_numbered_and_golden_lines_name_their_input(recording: Recording) -> None:
    capture, golden = _judge_all(
        recording, [ConnectInput("c", "a", "h.example:443"), _request(_call({})), EndInput("1")]
    )
    lines = [json.loads(line) for line in capture.splitlines()]
    assert [line.get("exchange") for line in lines] == [None, 1, 2, 2, None]
    (outcome,) = [json.loads(line) for line in golden.splitlines()]
    assert (outcome["exchange"], outcome["message"], outcome["verdict"]) == (2, "0", "ask")


def test_an_answer_of_the_operator_stands_beside_its_question(recording: Recording) -> None:
    judge = Judge(POLICY, SCANNER)
    given = _request(_call({}))
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    assert outcome is not None
    assert recording.input(given, now=0.0)
    assert recording.outcome(outcome)
    resolution = Resolution(outcome.id, "allow", "console", None, None, 0.0)
    assert recording.resolution(outcome, resolution)
    recording.close()
    line = json.loads(recording.path.read_text().splitlines()[2])
    assert (line["type"], line["exchange"], line["message"], line["answer"]) == (
        "resolution", 1, 0, "allow",
    )  # fmt: skip


def test_an_input_that_defeats_the_encoder_is_kept_as_incomplete(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("mitmgate.judge.recording.encode_input", broken)
    capture, _ = _judge_all(recording, [_request(_call({}))])
    assert json.loads(capture.splitlines()[1])["body"]["incomplete"] == "failed"


def test_what_is_in_force_stands_in_the_header_and_its_changes_where_they_came(
    recording: Recording,
) -> None:
    assert recording.policy("sha256:1", "enforce", ["canary.a"])
    _judge_one(recording, "a1b2c3-1")
    assert recording.policy("sha256:2", "shadow", [])
    _judge_one(recording, "a1b2c3-2")
    recording.close()
    header, *lines = [json.loads(line) for line in recording.path.read_text().splitlines()]
    told = (header["policy"], header["mode"], header["canaries"], header["run"])
    assert told == ("sha256:1", "enforce", ["canary.a"], "a1b2c3")
    assert [line["type"] for line in lines] == ["request", "policy", "request", "close"]
    assert [line.get("id") for line in lines] == ["a1b2c3-1", None, "a1b2c3-2", None]
    assert lines[1] | {"at": 0} == {
        "type": "policy", "policy": "sha256:2", "mode": "shadow", "canaries": [], "at": 0,
    }  # fmt: skip


def test_an_outcome_whose_input_was_not_taken_is_left_out(recording: Recording) -> None:
    given = _request(_call({}))
    judge = Judge(POLICY, SCANNER)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    assert outcome is not None
    assert recording.outcome(outcome)
    _judge_one(recording, "b-1")
    recording.close()
    assert recording.failure is None
    assert len(golden_path(recording.path).read_text().splitlines()) == 1


def _judge_one(recording: Recording, exchange: str) -> None:
    judge, given = Judge(POLICY, SCANNER), replace(_request(_call({})), exchange=exchange)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    assert outcome is not None
    assert recording.input(given, now=0.0)
    assert recording.outcome(outcome)
