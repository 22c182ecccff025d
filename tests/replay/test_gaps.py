"""What a capture does not hold: planted later, too large to store, a golden file that is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import replace
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import (
    AnswerInput,
    DialInput,
    EndInput,
    Input,
    RequestInput,
    Tunnel,
)
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Recording, Run, open_recording
from mitmgate.policy.load import Policy, load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path
from mitmgate.replay.golden import read_golden
from mitmgate.scan.canary import Canary, canary_pack
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve.replaying import pairs, read_lines_for, run_files
from mitmgate.wire.http import AnswerHead, RequestHead

JSON_HEAD = (("content-type", "application/json"),)
HEAD = RequestHead("POST", "https", "files.example", 443, "/mcp/x", JSON_HEAD)
CANARY = Canary(
    "notes", "password", ("Zq7Xw2Lm9Tr4Vb6Kd1Pf8Hs3", "Yq7Xw2Lm9Tr4Vb6Kd1Pf8Hs4"), "~", ""
)
POLICY = """version: 1
servers: {files: {url: "https://files.example/mcp/**"}}
mcp:
  rules:
    - {id: reads, tool: "*", annotations: {readOnlyHint: true}, then: allow}
    - {id: never, tool: drop, then: deny}
  otherwise: ask
egress: {otherwise: deny}
scan: {canary: {arguments: deny}}
"""
type Capture = Callable[..., tuple[Path, Policy]]


def _asked(exchange: str, method: str, **params: object) -> RequestInput:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return RequestInput(exchange, "ann", HEAD, "files.example", json.dumps(body).encode(), Tunnel())


def _call(exchange: str, tool: str, **arguments: object) -> list[Input]:
    return [_asked(exchange, "tools/call", name=tool, arguments=arguments), EndInput(exchange)]


def _listed(exchange: str, padding: int) -> list[Input]:
    tools = [
        {"name": "get", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True},
         "description": "x" * padding}
    ]  # fmt: skip
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).encode()
    answer = AnswerInput(exchange, AnswerHead(200, JSON_HEAD), body)
    return [_asked(exchange, "tools/list"), answer, EndInput(exchange)]


@pytest.fixture
def capture(tmp_path: Path, scanner: Scanner) -> Capture:
    """Return a function that captures inputs; functions among them are called on the way."""

    def run(*inputs: Input | Callable[[Recording, Scanner], None]) -> tuple[Path, Policy]:
        rules, own = load_policy(POLICY, file="p.yaml"), Scanner(scanner.book, hash_key=b"k")
        judge = Judge(rules, own)
        recording = open_recording(
            tmp_path, scanner=own, run=Run(rules.hash, judge.mode), clock=lambda: 0.0
        )
        for given in inputs:
            if callable(given):
                given(recording, own)
                continue
            outcome = judge.conclude(judge.prepare(given), now=0.0)
            assert recording.input(given, now=0.0)
            assert outcome is None or recording.outcome(outcome)
        recording.close()
        assert recording.failure is None
        return recording.path, rules

    return run


def _planted(recording: Recording, scanner: Scanner) -> None:
    pack = canary_pack([CANARY])
    scanner.book = Scanner([*installed_packs(), pack], hash_key=b"k").book
    assert recording.policy("sha256:2", "enforce", [rule.id for rule in pack.rules])


def test_a_canary_that_was_planted_in_mid_run_is_found_again(capture: Capture) -> None:
    value = CANARY.values[1]
    file, rules = capture(*_call("a", "get"), _planted, *_call("b", "get", note=value))
    assert value not in file.read_text()
    golden = read_golden(golden_path(file))
    assert golden is not None
    assert [one.verdict.word for one in golden.values()] == ["ask", "deny"]
    assert run_files([file], rules).exit_code == 0
    told = [pair.after.outcomes[0] for pair in pairs(read_lines_for(file, rules), rules, rules)
            if pair.after.outcomes]  # fmt: skip
    assert told == list(golden.values())


@pytest.mark.parametrize(("padding", "not_compared"), [(0, 0), (2**20, 2)], ids=["stored", "not"])
def test_calls_after_a_list_that_was_not_stored(
    capture: Capture, padding: int, not_compared: int
) -> None:
    file, rules = capture(*_listed("a", padding), *_call("b", "get"), *_call("c", "drop"))
    golden = read_golden(golden_path(file))
    assert golden is not None
    assert [one.verdict.word for one in golden.values()] == ["allow", "allow", "allow", "deny"]
    compared = run_files([file], rules)
    assert (compared.exit_code, compared.not_compared) == (0, not_compared)
    lax = load_policy(POLICY.replace("tool: drop, then: deny", "tool: drop, then: allow"), file="p")
    assert run_files([file], lax).exit_code == 3


def test_what_could_not_be_judged_again_keeps_its_golden_line(capture: Capture) -> None:
    file, rules = capture(*_listed("a", 2**20), *_call("b", "get"))
    before = golden_path(file).read_bytes()
    assert run_files([file], rules, accept="different").updated
    assert golden_path(file).read_bytes() == before


def test_an_upload_that_was_not_stored_is_accepted_as_it_is_decided_now(capture: Capture) -> None:
    head = replace(
        HEAD, method="PUT", host="evil.example", headers=(("content-type", "image/png"),)
    )
    upload = RequestInput("u", "ann", head, "evil.example", b"\x89PNG\xff", Tunnel())
    file, _ = capture(upload, EndInput("u"))
    rule = "egress: {rules: [{id: shut, host: evil.example, then: deny}], otherwise: deny}"
    named = load_policy(POLICY.replace("egress: {otherwise: deny}", rule), file="p")
    assert run_files([file], named).exit_code == 1
    assert run_files([file], named, accept="different").updated
    assert run_files([file], named).exit_code == 0


def test_a_golden_file_that_is_gone_does_not_hide_what_is_weaker(capture: Capture) -> None:
    file, rules = capture(*_call("c", "drop"))
    before = golden_path(file).read_bytes()
    golden_path(file).unlink()
    lax = load_policy(POLICY.replace("tool: drop, then: deny", "tool: drop, then: allow"), file="p")
    with pytest.raises(ConfigError, match="is not what was in it"):
        run_files([file], lax, accept="different")
    assert not golden_path(file).exists()
    assert run_files([file], rules, accept="different").updated
    assert golden_path(file).read_bytes() == before
    golden_path(file).unlink()
    assert run_files([file], lax, accept="weaker").updated
    assert list(file.parent.glob("*.tmp")) == []


def test_what_only_the_missing_body_makes_different_is_not_compared(capture: Capture) -> None:
    media = (("content-type", "multipart/form-data; boundary=x"),)
    head = replace(HEAD, method="PUT", host="evil.example", headers=media)
    body = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nplain\r\n--x--\r\n'
    upload = RequestInput("u", "ann", head, "evil.example", body, Tunnel())
    file, rules = capture(upload, EndInput("u"))
    before = golden_path(file).read_bytes()
    compared = run_files([file], rules, accept="different")
    assert (compared.exit_code, compared.not_compared) == (0, 1)
    assert golden_path(file).read_bytes() == before


def test_the_answer_to_a_call_that_was_not_stored_keeps_its_golden_line(capture: Capture) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode()
    large, end = _call("a", "get", text="x" * 2**20)
    file, rules = capture(large, AnswerInput("a", AnswerHead(200, JSON_HEAD), body), end)
    before = golden_path(file).read_bytes()
    compared = run_files([file], rules, accept="different")
    assert (compared.exit_code, compared.not_compared, compared.outcomes) == (0, 2, 2)
    assert golden_path(file).read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1])
def test_a_golden_file_that_was_cut_does_not_pass(capture: Capture, kept: int) -> None:
    file, rules = capture(*(line for n in range(70) for line in _call(f"c{n}", "drop")))
    _kill(file)
    lax = load_policy(POLICY.replace("tool: drop, then: deny", "tool: drop, then: allow"), file="p")
    lines = golden_path(file).read_text().splitlines(keepends=True)
    golden_path(file).write_text("".join(lines[:kept]))
    for accept in ("nothing", "different"):
        with pytest.raises(ConfigError, match="ends long before the capture"):
            run_files([file], lax, accept=accept)
    golden_path(file).write_text("".join(lines[:-1]))  # the control: the last batch may be lost
    assert run_files([file], rules).exit_code == 0


def _kill(file: Path) -> None:
    """Leave of a capture what a killed proxy leaves."""
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    meta_path(file).unlink()


def test_an_address_that_the_policy_now_gives_a_name_counts(capture: Capture) -> None:
    asked = RequestInput(
        "d", "ann", replace(HEAD, host="docs.example"), "docs.example", b"", Tunnel()
    )
    dial = DialInput("d", "ann", "docs.example", 443, ("10.0.0.1",))
    file, _ = capture(asked, dial, EndInput("d"))
    text = POLICY.replace("egress: {otherwise: deny}", "egress: {otherwise: allow}")
    rules = load_policy(text, file="p")
    assert run_files([file], rules, accept="weaker").updated
    golden = read_golden(golden_path(file))
    assert golden is not None
    assert [one.code for one in golden.values()] == ["otherwise", "private_address"]
    assert run_files([file], rules).exit_code == 0
    text += "network: {resolve: {docs.example: 10.0.0.1}}\n"
    assert run_files([file], load_policy(text, file="p")).exit_code == 3


def test_an_answer_that_was_not_stored_was_an_answer(capture: Capture) -> None:
    """The next answer with its id is for nobody then, as it was when this was recorded."""
    call = _asked("a", "ping")
    large = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"x": "y" * 2**20}}).encode()
    late = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode()
    other = replace(_asked("b", "ping"), body=json.dumps(
        {"jsonrpc": "2.0", "id": 2, "method": "ping"}).encode())  # fmt: skip
    file, rules = capture(
        call, AnswerInput("a", AnswerHead(200, JSON_HEAD), large),
        other, AnswerInput("b", AnswerHead(200, JSON_HEAD), late), EndInput("b"), EndInput("a"),
    )  # fmt: skip
    golden = read_golden(golden_path(file))
    assert golden is not None
    assert [one.code for one in golden.values()][-1] == "unmatched_answer"
    assert run_files([file], rules).exit_code == 0
