"""``mitmgate capture export`` and ``import``: flow files of mitmproxy, ours and others'."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from captures import BEARER, KEY, POLICY, STARTED, TRAFFIC, record
from mitmproxy import http, websocket
from mitmproxy.connection import Client, Server
from mitmproxy.io import FlowReader, FlowWriter, tnetstring
from mitmproxy.tcp import TCPFlow
from wsproto.frame_protocol import Opcode

from mitmgate.cli.app import invoke
from mitmgate.mitm.flow_inputs import inputs_of
from mitmgate.mitm.flows import index_flows
from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path, read_meta
from mitmgate.scan.canary import Canary
from mitmgate.serve.canaries import save_canaries
from mitmgate.serve.importing import as_capture, is_foreign
from mitmgate.serve.replaying import run_files

SAME, UNUSABLE = 0, 2
OTHER_CALL = json.dumps({"force": True, "key": KEY[:-1] + "3", "was": "[aws-access-key:1]"})


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("captures"))


@pytest.fixture(scope="module")
def exported(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "a.mitm"
    assert invoke(["capture", "export", str(capture), "--out", str(path)]) == SAME
    return path


@pytest.fixture
def take(policy: Path, tmp_path: Path) -> Callable[..., int]:
    """Return a function that imports a file as ``b.jsonl``."""

    def run(source: Path, *more: str) -> int:
        where = ["--out", str(tmp_path / "b.jsonl"), "--policy", str(policy)]
        return invoke(["capture", "import", str(source), *where, "--state-dir",
                       str(tmp_path / "state"), *more])  # fmt: skip

    return run


def _replay(path: Path, policy: Path, *more: str) -> int:
    return invoke(["replay", str(path), "--policy", str(policy), *more])


def _flows(path: Path) -> list[http.HTTPFlow]:
    with path.open("rb") as file:
        return [flow for flow in FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]


def _write(path: Path, *flows: Any) -> Path:
    with path.open("wb") as file:
        writer = FlowWriter(file)
        for flow in flows:
            writer.add(flow)
    return path


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _call(*, tool: str = "get", text: str = "x", at: float = STARTED) -> http.HTTPFlow:
    """Return a tools/call as mitmproxy records one."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": {"q": text}}}  # fmt: skip
    client = Client(peername=("192.0.2.7", 5000), sockname=("192.0.2.1", 8080), timestamp_start=at)
    client.sni = "files.example"
    flow = http.HTTPFlow(client, Server(address=("files.example", 443)))
    headers: dict[str | bytes, str | bytes] = {
        "Host": "files.example",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {BEARER}",
    }
    url = "https://files.example/mcp/x"
    flow.request = http.Request.make("POST", url, json.dumps(body), headers)
    flow.request.timestamp_start = at
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
    flow.response = http.Response.make(
        200, json.dumps(answer), {"Content-Type": "application/json"}
    )
    flow.response.timestamp_start = flow.response.timestamp_end = at + 0.5
    return flow


def test_what_is_exported_is_imported_as_the_same_bytes(
    capture: Path, exported: Path, take: Callable[..., int], tmp_path: Path, policy: Path
) -> None:
    assert take(exported) == SAME
    back = tmp_path / "b.jsonl"
    assert back.read_bytes() == capture.read_bytes()
    assert golden_path(back).read_bytes() == golden_path(capture).read_bytes()
    meta, before = read_meta(back), read_meta(capture)
    assert meta is not None
    assert meta == before
    assert _replay(back, policy) == SAME


def test_mitmdump_opens_what_is_exported_and_it_holds_no_secret(exported: Path) -> None:
    # A process of its own: the gate leaves out most of mitmproxy in its own.
    program = "import sys; from mitmproxy.tools.main import mitmdump; mitmdump(sys.argv[1:])"
    command = [sys.executable, "-c", program, "-nr", str(exported), "--flow-detail", "3"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.count("POST https://files.example/mcp/x") == 2
    assert "[aws-access-key:1]" in shown
    data = exported.read_bytes()
    assert KEY.encode() not in data
    assert BEARER.encode() not in data


def test_a_part_of_the_flows_is_still_a_capture(
    exported: Path, take: Callable[..., int], tmp_path: Path, policy: Path
) -> None:
    kept = _flows(exported)[1:]
    assert take(_write(tmp_path / "part.mitm", *kept)) == SAME
    lines = _lines(tmp_path / "b.jsonl")
    assert {line["exchange"] for line in lines if "exchange" in line} == {2, 3}
    assert lines[-1] == {"type": "close", "lines": len(lines) - 1}
    assert _replay(tmp_path / "b.jsonl", policy) == SAME


def test_a_flow_that_was_changed_is_judged_as_it_is_now(
    exported: Path, take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = _flows(exported)
    flows[2].request.text = (flows[2].request.text or "").replace("true", "false")
    assert take(_write(tmp_path / "changed.mitm", *flows)) == SAME
    assert "1 flows came from a capture and were changed" in capsys.readouterr().out
    golden = _lines(golden_path(tmp_path / "b.jsonl"))
    pushes = {
        line["verdict"] for line in golden if line["tool"] == "push" and line["kind"] == "request"
    }
    assert pushes == {"ask"}


def test_one_changed_flow_takes_no_placeholder_of_the_others(
    exported: Path, take: Callable[..., int], tmp_path: Path, policy: Path, capture: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flows = _flows(exported)
    flows[2].request.text = (flows[2].request.text or "").replace('{"force": true}', OTHER_CALL)
    assert take(_write(tmp_path / "changed.mitm", flows[2], *flows[:2], _call(at=1.0))) == SAME
    told = capsys.readouterr().out
    assert "4 exchanges" in told
    assert "1 flows came from a capture and were changed" in told
    before, after = _lines(capture), _lines(tmp_path / "b.jsonl")
    kept = [line for line in before if line.get("exchange") in (1, 2)]
    assert [line for line in after if line.get("exchange") in (1, 2)] == kept
    new = [line for line in after if line.get("exchange", 0) > 2]
    numbers = {(item["rule"], item["number"]) for line in new for part in ("body", "head")
               for item in line.get(part, {}).get("redactions", ())}  # fmt: skip
    assert ("secret.aws-access-key", 1) not in numbers
    assert ("secret.aws-access-key", 2) in numbers
    assert "[aws-access-key:1]" in json.dumps(new)
    assert KEY[:-1] not in (tmp_path / "b.jsonl").read_text()
    assert _replay(tmp_path / "b.jsonl", policy) == SAME


def test_what_a_changed_flow_claims_is_no_secret_of_another_capture(
    exported: Path, take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = _flows(exported)
    for line in flows[1].metadata["mitmgate"]["capture"]:
        line[1] = (
            line[1]
            .replace('"force":false', f'"force":"{KEY}"')
            .replace(r"\"force\": false", rf"\"force\": \"{KEY}\"")
        )
    flows[2].request.text = "{}"
    assert take(_write(tmp_path / "forged.mitm", *flows)) == UNUSABLE
    assert "forged.mitm" in capsys.readouterr().err
    assert not (tmp_path / "b.jsonl").exists()


def test_flows_of_two_captures_are_told_apart(
    exported: Path, take: Callable[..., int], tmp_path: Path, policy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = record(tmp_path / "other", TRAFFIC[:1])
    assert invoke(["capture", "export", str(other), "--out", str(tmp_path / "o.mitm")]) == SAME
    both = _flows(exported) + _flows(tmp_path / "o.mitm")
    for line in both[-1].metadata["mitmgate"]["capture"]:
        line[1] = line[1].replace('"run":"a"', '"run":"b"')
    assert take(_write(tmp_path / "both.mitm", *both)) == SAME
    told = capsys.readouterr().out
    assert "4 exchanges" in told
    assert "1 flows came from another capture" in told
    assert _replay(tmp_path / "b.jsonl", policy) == SAME


def test_a_planted_canary_is_found_in_what_is_imported(
    take: Callable[..., int], tmp_path: Path, policy: Path
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    bait = Canary("bait", "password", ("plain-words-as-bait",), "the bin", "2026-01-01")
    save_canaries(tmp_path / "state", [bait])
    assert take(_write(tmp_path / "f.mitm", _call(text="it is plain-words-as-bait"))) == SAME
    made = tmp_path / "b.jsonl"
    written = made.read_text() + golden_path(made).read_text() + meta_path(made).read_text()
    assert "plain-words-as-bait" not in written
    assert "[credential:1]" in written
    assert '["canary.bait","/params/arguments/q"]' in golden_path(made).read_text()
    assert _replay(made, policy) == SAME


def test_lines_in_the_metadata_are_anybodys_word(
    exported: Path, take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for old, new in (("[aws-access-key:1]", KEY), ('"agent":', '"agents":')):
        flows = _flows(exported)
        for flow in flows:
            for line in flow.metadata["mitmgate"]["capture"]:
                line[1] = line[1].replace(old, new)
        assert take(_write(tmp_path / "forged.mitm", *flows)) == UNUSABLE
        assert KEY not in capsys.readouterr().err
        assert not (tmp_path / "b.jsonl").exists()


def test_flows_of_mitmproxy_become_a_capture_without_their_secrets(
    take: Callable[..., int], tmp_path: Path, policy: Path
) -> None:
    tcp = TCPFlow(
        Client(peername=("192.0.2.7", 1), sockname=("192.0.2.1", 2)), Server(address=None)
    )
    late, early = _call(tool="push", at=STARTED + 9), _call(text=KEY)
    assert take(_write(tmp_path / "f.mitm", late, early, tcp)) == SAME
    made = tmp_path / "b.jsonl"
    written = made.read_text() + golden_path(made).read_text() + meta_path(made).read_text()
    assert KEY not in written
    assert BEARER not in written
    golden = [(g["tool"], g["verdict"], g["rule"]) for g in _lines(golden_path(made))]
    assert golden[0] == ("get", "allow", "reads")
    assert ("push", "ask", "otherwise") in golden
    assert _replay(made, policy) == SAME
    meta = read_meta(made)
    assert meta is not None
    assert meta.complete
    assert meta.sha256 is not None


def test_events_and_messages_are_inputs_of_their_own(
    take: Callable[..., int], tmp_path: Path
) -> None:
    stream, socket = _call(), _call(at=STARTED + 1)
    assert stream.response is not None
    stream.response.headers["content-type"] = "text/event-stream"
    stream.response.raw_content = b"event: message\ndata: {}\n\n: note\n\ndata: {}\n\n"
    socket.request.method, socket.request.raw_content = "GET", b""
    said = [websocket.WebSocketMessage(Opcode.TEXT, True, b"{}", STARTED + 2),
            websocket.WebSocketMessage(Opcode.BINARY, False, b"\xff", STARTED + 3)]  # fmt: skip
    socket.websocket = websocket.WebSocketData(messages=said)
    assert take(_write(tmp_path / "f.mitm", stream, socket)) == SAME
    types = [(line["type"], line.get("from_client")) for line in _lines(tmp_path / "b.jsonl")]
    assert types.count(("event", None)) == 3
    assert ("message", True) in types
    assert ("message", False) in types


def test_a_body_that_was_not_kept_is_incomplete(
    take: Callable[..., int], tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = _call()
    assert flow.response is not None
    flow.response.raw_content = None
    assert take(_write(tmp_path / "f.mitm", flow)) == SAME
    assert "1 bodies are not in the file" in capsys.readouterr().out
    answers = [line for line in _lines(tmp_path / "b.jsonl") if line["type"] == "answer"]
    assert [line["body"]["incomplete"] for line in answers] == ["missing"]
    assert _replay(tmp_path / "b.jsonl", policy) == SAME


def _older(flow: http.HTTPFlow) -> bytes:
    """Return *flow* as mitmproxy of format 20 wrote it."""
    state = flow.get_state() | {"version": 20}
    for side, addresses in (("client_conn", ("peername", "sockname")),
                            ("server_conn", ("peername", "sockname", "address"))):  # fmt: skip
        for name in addresses:
            state[side].setdefault(name, None)
    return tnetstring.dumps(state)


def test_a_file_of_an_older_mitmproxy_is_read_and_one_of_a_newer_refused(
    take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.mitm").write_bytes(_older(_call()))
    assert take(tmp_path / "old.mitm") == SAME
    (tmp_path / "new.mitm").write_bytes(tnetstring.dumps(_call().get_state() | {"version": 99}))
    assert take(tmp_path / "new.mitm", "--force") == UNUSABLE
    assert "newer mitmproxy" in capsys.readouterr().err


def test_a_file_cut_off_says_how_much_of_it_is_whole(
    take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _write(tmp_path / "f.mitm", _call(), _call(at=STARTED + 1))
    whole.write_bytes(whole.read_bytes()[:-40])
    assert take(whole) == UNUSABLE
    assert "cut off after 1 whole flows" in capsys.readouterr().err
    assert not (tmp_path / "b.jsonl").exists()
    assert take(whole, "--partial") == SAME
    meta = read_meta(tmp_path / "b.jsonl")
    assert meta is not None
    assert (meta.flows, meta.complete) == (1, False)


NOT_FLOWS = {
    "an empty file": b"",
    "a text": b"hello",
    "no flow": b"5:hello,",
    "a length beyond reason": b"999999999999:x",
    "a list within lists": b"3:0:]]" * 3,
    "JSON that is no HAR": b'{"a": 1}',
    "a capture": b'{"v":2,"type":"capture"}\n',
    "a HAR without entries": b'{"log": {"entries": []}}',
}


@pytest.mark.parametrize("data", NOT_FLOWS.values(), ids=NOT_FLOWS)
def test_what_is_no_flow_file_is_refused_and_leaves_nothing(
    take: Callable[..., int], tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "f").write_bytes(data)
    assert take(tmp_path / "f") == UNUSABLE
    assert sorted(path.name for path in tmp_path.iterdir()) in (["f"], ["f", "state"])


def test_a_capture_that_is_there_already_is_kept(
    take: Callable[..., int], tmp_path: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.jsonl").write_text("mine")
    assert take(exported) == UNUSABLE
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "b.jsonl").read_text() == "mine"
    assert invoke(["capture", "export", str(tmp_path / "b.jsonl"), "--out", str(exported)]) == 2
    assert take(exported, "--force") == SAME


def test_a_flow_file_is_judged_against_the_golden_file_beside_it(
    take: Callable[..., int], tmp_path: Path, policy: Path
) -> None:
    source = _write(tmp_path / "b.mitm", _call())
    assert is_foreign(source)
    assert not is_foreign(policy)
    assert take(source) == SAME
    (tmp_path / "b.jsonl").unlink()
    rules = load_policy(POLICY, file="p.yaml")
    made = as_capture(source, tmp_path / "made", rules)
    assert run_files([made], rules).exit_code == SAME
    stricter = load_policy(POLICY.replace("list], then: allow", "list], then: deny"), file="p.yaml")
    other = as_capture(source, tmp_path / "other", stricter)
    assert run_files([other], stricter).exit_code == 1


def test_a_flow_with_a_time_that_is_none_counts_as_damaged(
    take: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take(_write(tmp_path / "f.mitm", _call(), _call(at=float("inf")))) == UNUSABLE
    assert "after 1 whole flows" in capsys.readouterr().err


def test_a_flow_file_with_any_bytes_changed_is_read_or_refused(tmp_path: Path) -> None:
    whole = bytearray(_write(tmp_path / "f", _call()).read_bytes())
    random = Random(1)  # noqa: S311 - the same each time
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        (tmp_path / "f").write_bytes(data)
        index = index_flows(tmp_path / "f", lambda flow: inputs_of(flow, "1"))
        assert index.kept or index.others or index.problem or index.skipped
