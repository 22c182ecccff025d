"""Headers that repeat the body (revision 2026-07-28) still agree with what is stored of it."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from judging import SERVER, post, scanner
from leaks import left

from mitmgate.judge.codec import decode_input, encode_input
from mitmgate.judge.inputs import AnswerInput, EndInput, Input, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Run, open_recording
from mitmgate.policy.load import load_policy
from mitmgate.record.redact import Redactor
from mitmgate.serve.replaying import run_files
from mitmgate.wire.http import AnswerHead
from mitmgate.wire.mirror import decode_value

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
RANDOM = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
POLICY = load_policy(
    f"version: 1\nservers: {{files: {{url: https://{SERVER}/mcp}}}}\nmcp: {{otherwise: allow}}\n",
    file="p.yaml",
)


def _packed(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


def _call(arguments: dict[str, Any], **mirrored: str) -> RequestInput:
    version = "io.modelcontextprotocol/protocolVersion"
    params = {"name": "run", "arguments": arguments, "_meta": {version: "2026-07-28"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"),
               ("mcp-name", "run")]  # fmt: skip
    headers += [(f"mcp-param-{name}", value) for name, value in mirrored.items()]
    return post(message, headers=tuple(headers))


AGREE: dict[str, tuple[dict[str, Any], str]] = {
    "an ordinary value": ({"region": "us-east1"}, "us-east1"),
    "a value beside a longer one": ({"other": "us-east1 and", "region": "us-east1"}, "us-east1"),
    "a secret that a rule knows": ({"region": f"see {KEY}"}, f"see {KEY}"),
    "a secret by its place": ({"region": {"token": "abc"}}, "abc"),
    "a value drawn at random": ({"region": RANDOM}, RANDOM),
    "one that had to be packed": ({"region": " Zürich"}, _packed(" Zürich")),
    "a secret that was packed": ({"region": f"ü {KEY}"}, _packed(f"ü {KEY}")),
    "a number": ({"region": 42}, "42"),
    "a number with a point": ({"region": 42}, "42.0"),
    "a truth value": ({"region": True}, "true"),
}


@pytest.mark.parametrize(("arguments", "header"), AGREE.values(), ids=AGREE)
def test_a_parameter_header_says_what_the_argument_says(
    arguments: dict[str, Any], header: str
) -> None:
    record = encode_input(_call(arguments, region=header), Redactor(scanner(), key=b"r" * 32))
    written = json.dumps(record)
    assert KEY not in written
    assert RANDOM not in written
    again = decode_input(json.loads(written), "1", scanner().sample_for)
    assert isinstance(again, RequestInput)
    told = json.loads(again.body)["params"]["arguments"]["region"]
    told = told["token"] if isinstance(told, dict) else told
    repeated = decode_value(again.head.get("mcp-param-region") or "")
    if isinstance(told, str):
        assert repeated == told
    else:
        assert repeated == header


@pytest.mark.parametrize("header", ["48213377", "48213377.0", _packed("48213377")])
def test_a_secret_number_is_written_in_neither(header: str) -> None:
    call = _call({"region": {"pin": 48213377}}, region=header)
    written = json.dumps(encode_input(call, Redactor(scanner(), key=b"r" * 32)))
    assert left([written], ["48213377"]) == []
    again = decode_input(json.loads(written), "1", scanner().sample_for)
    assert isinstance(again, RequestInput)
    told = json.loads(again.body)["params"]["arguments"]["region"]["pin"]
    assert again.head.get("mcp-param-region") == str(told)


def test_a_header_that_repeats_nothing_is_opaque() -> None:
    record = encode_input(_call({"region": "a"}, region="b"), Redactor(scanner(), key=b"r" * 32))
    assert dict(record["head"]["headers"])["mcp-param-region"].startswith("[opaque:")


TOOL = {
    "name": "run",
    "inputSchema": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    },
}


@pytest.mark.parametrize(("header", "code"), [(RANDOM, "allow"), ("elsewhere", "header_mismatch")])
def test_a_call_of_a_tool_with_parameter_headers_replays_as_it_was_judged(
    tmp_path: Path, header: str, code: str
) -> None:
    inputs: list[Input] = [*_listed(), _call({"region": RANDOM}, region=header), EndInput("1")]
    judge = Judge(POLICY, scanner())
    recording = open_recording(
        tmp_path, scanner=scanner(), run=Run(POLICY.hash, judge.mode), clock=lambda: 0.0
    )
    codes = []
    for given in inputs:
        outcome = judge.conclude(judge.prepare(given), now=0.0)
        recording.input(given, now=0.0)
        if outcome is not None:
            codes.append(outcome.code)
            recording.outcome(outcome)
    recording.close()
    assert (codes[-1] == "header_mismatch") == (code == "header_mismatch")
    compared = run_files([tmp_path], POLICY)
    assert (compared.exit_code, compared.same) == (0, len(codes))


def _listed() -> list[Input]:
    version = "io.modelcontextprotocol/protocolVersion"
    params = {"_meta": {version: "2026-07-28"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params}
    headers = (("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list"))
    result = {"tools": [TOOL], "resultType": "complete", "ttlMs": 1000, "cacheScope": "public"}
    answer = {"jsonrpc": "2.0", "id": 0, "result": result}
    head = AnswerHead(200, (("content-type", "application/json"),))
    return [
        post(message, headers=headers, exchange="0"),
        AnswerInput("0", head, json.dumps(answer).encode()),
        EndInput("0"),
    ]
