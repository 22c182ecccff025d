"""``mitmgate kill``: what it asks of the proxy, and what it refuses to ask."""

from __future__ import annotations

from typing import Any

import pytest

from mitmgate.cli import app as commands
from mitmgate.cli import kill

KEY = "an-operator-key-of-these-tests"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command sent; the answer is what a proxy says then."""
    sent: list[dict[str, Any]] = []

    def call_gate(method: str, path: str, _: object, *, key: str, body: Any) -> dict[str, Any]:
        sent.append({"method": method, "path": path, "key": key, **body})
        by = "tom\x1b[2J" if body["on"] else None
        return {"on": body["on"], "by": by, "since": None, "reason": None}

    monkeypatch.setattr(kill, "call_gate", call_gate)
    monkeypatch.setenv("MITMGATE_OPERATOR_KEY", KEY)
    return sent


def test_it_turns_the_switch_on(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.invoke(["kill", "--reason", "enough"]) == 0
    [sent] = asked
    assert (sent["method"], sent["path"], sent["key"]) == ("POST", "/v1/switch", KEY)
    assert (sent["on"], sent["reason"], sent["via"]) == (True, "enough", "shell")
    said = capsys.readouterr().out
    assert said == "Everything is denied (by tom\\u001b[2J); `mitmgate kill --lift` ends that.\n"


def test_it_turns_it_off_only_when_told(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.invoke(["kill", "--lift"]) == 0
    assert asked[0]["on"] is False
    assert capsys.readouterr().out == "The kill switch is off: the rules decide again.\n"


@pytest.mark.parametrize("arguments", [["--reason", "x" * 501], ["--for", "1h"]])
def test_what_it_does_not_know_is_refused(
    arguments: list[str], asked: list[dict[str, Any]]
) -> None:
    assert commands.invoke(["kill", *arguments]) == 2
    assert asked == []


def test_without_the_key_nothing_is_asked(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MITMGATE_OPERATOR_KEY")
    assert commands.invoke(["kill"]) == 2
    assert asked == []
