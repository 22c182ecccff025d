"""``mitmgate replay`` of files that it did not make: they play live too, and keep their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_rules import EXAMPLE, KEY
from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.io import FlowWriter

from mitmgate.cli.app import invoke
from mitmgate.judge.inputs import RequestInput
from mitmgate.replay.har import read_har

SAME, DIFFERENT, UNUSABLE, WEAKER = 0, 1, 2, 3
NOTES = "https://notes.example/mcp"


def call(tool: str, arguments: dict[str, Any], number: int) -> str:
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


def result(text: str, number: int) -> str:
    content = [{"type": "text", "text": text}]
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": content}})


type Exchange = tuple[str, str, str, str, str]
"""Method, URL, body, media type of the answer, and its body."""
JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"
LOG = (
    '{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}'
)
TRAFFIC: list[Exchange] = [
    ("POST", NOTES, call("read_note", {"title": "x"}, 1), JSON, result(f"It is {KEY}.", 1)),
    ("POST", NOTES, call("read_note", {"title": "y"}, 2), EVENTS,
     f"data: {LOG}\n\ndata: {result('ok', 2)}\n\n"),
    ("POST", NOTES, call("delete_notes", {"force": True}, 3), JSON, result("gone", 3)),
    ("POST", NOTES, call("save_note", {}, 4), JSON, result("saved", 4)),
    ("GET", "https://docs.example/guide", "", TEXT, "a page"),
    ("GET", "https://paste.example/new", "", TEXT, "a paste"),
    ("GET", "http://docs.example/plain", "", TEXT, "a page"),
    ("GET", "http://127.0.0.1:3000/own", "", TEXT, "here"),
    ("GET", "https://[2606:4700::1111]/six", "", TEXT, "there"),
]  # fmt: skip


def har(folder: Path, traffic: list[Exchange] = TRAFFIC) -> Path:
    entries = [
        {"startedDateTime": f"2026-05-04T09:30:{second:02}.000Z", "time": 50,
         "request": {"method": method, "url": url, "bodySize": len(body),
                     "headers": [{"name": "content-type", "value": JSON}] if body else [],
                     "postData": {"mimeType": JSON, "text": body}},
         "response": {"status": 200, "headers": [{"name": "Content-Type", "value": media}],
                      "content": {"size": len(answer), "text": answer}}}
        for second, (method, url, body, media, answer) in enumerate(traffic)
    ]  # fmt: skip
    path = folder / "x.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def flows(folder: Path) -> Path:
    path = folder / "x.mitm"
    with path.open("wb") as file:
        writer = FlowWriter(file)
        for second, (method, url, body, media, answer) in enumerate(TRAFFIC):
            at = 1_790_000_000.0 + second
            request = http.Request.make(method, url, body)
            request.headers["Content-Type"] = JSON
            port = "" if request.port in (80, 443) else f":{request.port}"
            request.headers["Host"] = f"{request.pretty_host}{port}"
            request.timestamp_start = at
            client = Client(peername=("192.0.2.7", 5000), sockname=("192.0.2.1", 8080),
                            timestamp_start=at)  # fmt: skip
            flow = http.HTTPFlow(client, Server(address=(request.host, request.port)))
            flow.request = request
            headers: dict[str, str | bytes] = {"Content-Type": media}
            if second == 0:
                headers["Content-Encoding"] = "gzip"
            flow.response = http.Response.make(200, answer, headers)
            flow.response.timestamp_start = flow.response.timestamp_end = at
            writer.add(flow)
    return path


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., int]:
    """Return a function that replays a file by the policy of the example, or a changed one."""

    def run(file: Path, *more: str, old: str = "", new: str = "") -> int:
        text = (EXAMPLE / "policy.yaml").read_text()
        assert old in text
        policy = tmp_path / "policy.yaml"
        policy.write_text(text.replace(old, new))
        where = ["--policy", str(policy), "--state-dir", str(tmp_path / "state")]
        return invoke(["replay", str(file), *where, *more])

    return run


@pytest.mark.parametrize("make", [har, flows])
def test_a_file_of_another_program_plays_live(
    make: Callable[[Path], Path],
    tmp_path: Path,
    replay: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = make(tmp_path)
    assert replay(file, "--update") == SAME
    assert replay(file, "--live") == SAME
    out = capsys.readouterr().out
    assert f"live: exchanges played: {len(TRAFFIC)}; differences on the sockets: 0" in out


def test_what_cannot_be_played_is_said_of_the_file_that_was_named(
    tmp_path: Path, replay: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    file = har(tmp_path, TRAFFIC[4:5])
    file.write_text(file.read_text().replace(', "text": "a page"', ""))
    assert replay(file, "--update") == SAME
    capsys.readouterr()
    assert replay(file, "--live") == UNUSABLE
    error = f"{file}: nothing can be played: a body was not stored (replay it without --live)"
    assert capsys.readouterr().err == f"error: {error}\n"
    deny = {"old": "id: docs, host: docs.example", "new": "id: docs, host: other.example"}
    assert replay(file, "--update", **deny) == SAME
    assert replay(file, "--live") == WEAKER  # it wins over what cannot be played
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_tls_name_is_no_address(tmp_path: Path) -> None:
    """RFC 6066 section 3: no client sends a literal address there."""
    names = [
        (inputs[0].given.head.host, inputs[0].given.tunnel)
        for inputs in read_har(har(tmp_path)).exchanges
        if isinstance(inputs[0].given, RequestInput)
    ]
    told = {host: None if tunnel is None else tunnel.sni for host, tunnel in names}
    assert told["2606:4700::1111"] is None
    assert told["docs.example"] is None  # the last of it is without TLS
    assert told["notes.example"] == "notes.example"


# Names

WEAK = {"old": "results: redact", "new": "results: log"}


def test_each_report_names_the_file_that_was_named(
    tmp_path: Path,
    replay: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    har(tmp_path)
    file, junit = Path("x.har"), tmp_path / "junit.xml"
    assert replay(file, "--update") == SAME
    capsys.readouterr()
    assert replay(file, "--github", "--junit", str(junit), **WEAK) == WEAKER
    told = capsys.readouterr()
    assert "e.g. notes read_note (x.har, exchange 1)" in told.out
    assert "::error file=x.har,line=1," in told.err
    assert '<testcase classname="x.har" name="exchange 1 message 1' in junit.read_text()
    assert replay(file, "--json", **WEAK) == WEAKER
    report = capsys.readouterr().out
    example = json.loads(report)["groups"][0]["example"]
    assert (example["file"], example["line"]) == ("x.har", 0)
    assert not any("mitmgate-" in text for text in (*told, junit.read_text(), report))


def no_golden(file: Path) -> None:
    file.with_suffix(".golden.jsonl").unlink()


def bad_golden(file: Path) -> None:
    golden = file.with_suffix(".golden.jsonl")
    golden.write_text(golden.read_text().replace('"allow"', '"maybe"', 1))


def no_entries(file: Path) -> None:
    file.write_text('{"log": {"version": "1.2", "entries": []}}')


ERRORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "its golden file is missing": (no_golden, "error: x.har: its golden file is missing"),
    "its golden file is damaged": (bad_golden, "error: x.golden.jsonl:1: "),
    "nothing is in it": (no_entries, "error: x.har: no HTTP exchanges are in it"),
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_each_error_names_the_file_that_was_named(
    sentence: str,
    tmp_path: Path,
    replay: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    har(tmp_path)
    damage, begin = ERRORS[sentence]
    assert replay(Path("x.har"), "--update") == SAME
    damage(Path("x.har"))
    capsys.readouterr()
    assert replay(Path("x.har")) == UNUSABLE
    error = capsys.readouterr().err
    assert error.startswith(begin)
    assert "mitmgate-" not in error
