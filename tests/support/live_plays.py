"""Traffic that is recorded here and played again through a proxy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

from example_rules import EXAMPLE, Talk, record

from mitmgate.judge.inputs import AnswerInput, EventInput, Input
from mitmgate.policy.source import PolicySource
from mitmgate.serve.live import Live, live_files
from mitmgate.wire.http import AnswerHead

CAPTURES = EXAMPLE / "captures"
POLICY = EXAMPLE / "policy.yaml"
STREAM = AnswerHead(200, (("content-type", "text/event-stream"),))


def play(captures: Path = CAPTURES, policy: Path = POLICY) -> Live:
    """Play *captures* by *policy*."""
    return live_files([captures], PolicySource(policy))


def told(live: Live) -> list[tuple[int, str, bool]]:
    """Return the differences without their places."""
    return [(odd.exchange, odd.what, odd.weaker) for odd in live.odd]


def recording(folder: Path, traffic: Iterable[list[Input]], policy: Path = POLICY) -> Path:
    """Record *traffic* by *policy*; a person allows what is asked."""
    with patch("example_rules.traffic", lambda: iter(map(iter, traffic))):
        return record(policy, folder, "recorded")


def greeting(talk: Talk) -> list[Input]:
    """Return the first exchange of a session."""
    return list(
        talk.asks("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                 "clientInfo": {"name": "x", "version": "1"}},
                  {"protocolVersion": "2025-06-18", "capabilities": {},
                   "serverInfo": {"name": "x", "version": "1"}})
    )  # fmt: skip


def event(name: str, number: int, text: str) -> EventInput:
    """Return a line of a log as an event."""
    params = {"level": "info", "data": text}
    data = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
    return EventInput(name, number, "message", json.dumps(data), STREAM)


def streamed(*texts: str) -> list[list[Input]]:
    """Return a call whose answer is a stream of *texts* and a result, with what came before."""
    talk = Talk()
    begun = greeting(talk)
    request, answer, end = talk.calls("read_note", {"title": "x"})
    assert isinstance(answer, AnswerInput)
    name = answer.exchange
    events: list[Input] = [event(name, number, text) for number, text in enumerate(texts)]
    last = EventInput(name, len(texts), "message", answer.body.decode(), STREAM)
    return [begun, [request, *events, last, end]]


def edited(file: Path, change: Callable[[str], str]) -> Path:
    """Change the text of *file*; return it."""
    before = file.read_text()
    after = change(before)
    assert after != before
    file.write_text(after)
    return file
