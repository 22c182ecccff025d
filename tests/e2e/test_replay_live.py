"""``replay --live``: what went over the sockets is what a replay says, or it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from example_rules import EXAMPLE, Talk
from harness import POLICY, WEB_NAME, Agent, Gate, Mcp, Web, mitmgate
from live_plays import CAPTURES, play, recording, streamed, told

from mitmgate.cli.app import invoke
from mitmgate.cli.replay_live import play as command
from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import AnswerInput, DialInput, EndInput, RequestInput, Tunnel
from mitmgate.mitm.core import Judged, Ruling
from mitmgate.policy.source import PolicySource
from mitmgate.serve import playing
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.recorded import Arrival
from mitmgate.wire.http import AnswerHead


def test_the_example_plays_as_it_replays(capsys: pytest.CaptureFixture[str]) -> None:
    source = PolicySource(EXAMPLE / "policy.yaml")
    assert command([CAPTURES], source, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "live": {"exit": 0, "played": 9, "skipped": {}, "different": 0, "weaker": 0,
                 "differences": []}
    }  # fmt: skip


HELD = {
    "every call waits for a person": ("then: allow", "then: ask"),
    "the server has no name, and a person is asked about it": (
        'notes.example/mcp"}\nmcp:\n  unknown_servers: deny',
        'other.example/mcp"}\nmcp:\n  unknown_servers: ask'),
}  # fmt: skip


@pytest.mark.parametrize("sentence", HELD)
def test_what_waits_is_answered_as_it_was_when_recorded(sentence: str, tmp_path: Path) -> None:
    text, (old, new) = (EXAMPLE / "policy.yaml").read_text(), HELD[sentence]
    assert old in text
    (tmp_path / "policy.yaml").write_text(text.replace(old, new))
    live = play(policy=tmp_path / "policy.yaml")
    assert (told(live), live.played) == ([], 9)


def test_a_gate_that_lets_denied_calls_through_is_told_as_weaker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def let_go(self: Pipeline, judged: Judged) -> Ruling:
        return self._released(judged, None)

    monkeypatch.setattr(Pipeline, "rule_now", let_go)
    code = command([CAPTURES], PolicySource(EXAMPLE / "policy.yaml"), as_json=False)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "live: exchanges played: 9; differences on the sockets: 3, weaker: 3"
    assert [line.partition("  (")[0] for line in rest] == [
        "WEAKER a request that is stopped reached the server"
    ] * 3
    assert code == 3


def test_an_edit_that_is_not_made_is_told_as_weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Pipeline._released
    monkeypatch.setattr(Pipeline, "_released", lambda self, judged, _: real(self, judged, None))
    live = play()
    ((exchange, what, weaker),) = told(live)
    assert (exchange, weaker) == (4, True)
    assert what.startswith("the client got another answer (200, ")


def test_a_call_that_never_reaches_its_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Pipeline, judged: Judged, _text: str | None) -> Ruling:
        return self._stopped(judged, "no")

    monkeypatch.setattr(Pipeline, "_released", stop)
    live = play()
    assert live.exit_code == 1
    assert {exchange for exchange, _, _ in told(live)} == {1, 2, 3, 4, 6, 8}
    assert told(live)[0][1].startswith("a request that passes never reached the server (")


# Streams


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """Record other traffic by the policy of the example."""
    return partial(recording, tmp_path / "captures")


def test_a_stream_plays_event_by_event(recorded: Callable[..., Path]) -> None:
    live = play(recorded(streamed("begun", "half")))
    assert (told(live), live.played) == ([], 2)


def test_an_event_that_is_not_edited_is_told_as_weaker(
    recorded: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = recorded(streamed("the key is AKIA" + "QYLPMN5HHHFPZAM2"))
    assert told(play(capture)) == []
    real = Pipeline._released
    monkeypatch.setattr(Pipeline, "_released", lambda self, judged, _: real(self, judged, None))
    assert told(play(capture)) == [(2, "the client got another event, or none", True)]


# What cannot be played


def test_what_cannot_be_played_is_counted_and_nothing_at_all_is_an_error(
    recorded: Callable[..., Path],
) -> None:
    begun, _ = streamed()
    request, answer, end = Talk().calls("read_note", {"title": "x"})
    assert isinstance(answer, AnswerInput)
    binary = AnswerInput(answer.exchange, answer.head, b"\xff\xfe\x00")
    capture = recorded([[request, binary, end]])
    with pytest.raises(ConfigError, match="nothing can be played: a body was not stored"):
        play(capture)
    del begun
    assert isinstance(end, EndInput)


def test_what_http_cannot_say_is_counted_and_no_difference(recorded: Callable[..., Path]) -> None:
    talk = Talk()
    named, full, plain = (list(talk.gets("docs.example", "/odd")) for _ in range(3))
    request, other = named[0], plain[0]
    assert isinstance(request, RequestInput)
    assert isinstance(other, RequestInput)
    headers = (*request.head.headers, ("x y", "1"))
    named[0] = replace(request, head=replace(request.head, headers=headers))
    full[2] = AnswerInput(full[0].exchange, AnswerHead(304, ()), b"a body")
    head = replace(other.head, scheme="http", port=80, headers=(("host", "other.example"),))
    plain[0] = replace(other, head=head, authority="other.example", tunnel=Tunnel())
    live = play(recorded([named, full, [plain[0], plain[-1]], list(talk.calls("read_note", {}))]))
    assert (told(live), live.played) == ([], 1)
    assert live.skipped == {"it cannot be sent in HTTP/1.1 as it was": 3}


def test_a_gate_that_says_nothing_is_different_and_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(playing, "SECONDS", 0.2)
    monkeypatch.setattr(playing, "MOST_LATE", 2)
    monkeypatch.setattr(Arrival, "answer", nothing)
    live = play()
    assert told(live) == [
        (1, "the client got another answer (None, 0 bytes)", False),
        (2, "2 times nothing came for 0.2 s; the rest was not played", False),
    ]
    assert live.exit_code == 1


def test_a_name_resolves_to_what_it_did_for_each_request(recorded: Callable[..., Path]) -> None:
    talk = Talk()
    first, second = (list(talk.gets("docs.example", "/guide")) for _ in range(2))
    inside = second[1]
    assert isinstance(inside, DialInput)
    second[1] = replace(inside, addresses=("1.1.1.1", "10.0.0.5"))  # a rebound name
    live = play(recorded([first, second]))
    assert (told(live), live.played) == ([], 2)


# Weaker

WEAKER: dict[str, tuple[str, str]] = {
    "a rule that denies is gone": ("tool: delete_*", "tool: no_such_tool"),
    "nothing is redacted": ("results: redact", "results: log"),
    "nothing is enforced": ("version: 1\n", "version: 1\nmode: shadow\n"),
}


@pytest.mark.parametrize("sentence", WEAKER)
def test_a_policy_that_became_weaker_is_weaker_with_the_clients_too(
    sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, (old, new) = (EXAMPLE / "policy.yaml").read_text(), WEAKER[sentence]
    assert old in text
    policy = tmp_path / "policy.yaml"
    policy.write_text(text.replace(old, new))
    assert invoke(["replay", str(CAPTURES), "--live", "--policy", str(policy)]) == 3
    assert "live: exchanges played: 9; differences on the sockets: 0" in capsys.readouterr().out


# A real client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_what_a_real_client_did_plays_again(
    mode: str,
    gate: Gate,
    mcp: Mcp,
    web: Web,
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    agent = start_agent(gate, mcp.url, mode)
    steps: list[dict[str, Any]] = [
        {"list": True},
        {"call": "read_note", "arguments": {"title": "x"}},
        {"call": "read_note", "arguments": {"title": "AKIA" + "QYLPMN5HHHFPZAM2"}},
        {"call": "delete_notes", "arguments": {"force": True}},
        {"get": f"https://{WEB_NAME}:{web.port}/page"},
        {"get": "https://paste.upstream.example/page"},
    ]
    for step in steps:
        agent.do(**step)
    agent.close()
    assert gate.stop()[0] == 0
    assert POLICY.splitlines()[0] in gate.policy.read_text()
    live = play(gate.captures, gate.policy)
    assert told(live) == []
    assert live.played >= 8
    assert dict(live.skipped) == {}


def test_the_command_plays_after_it_compared() -> None:
    done = mitmgate("replay", "--live", "--policy", str(EXAMPLE / "policy.yaml"), str(CAPTURES))
    assert done.returncode == 0, done.stderr
    assert "live: exchanges played: 9" in done.stdout
