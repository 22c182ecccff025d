"""Names that agents choose are as long as they like, and cost next to nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import INJECTION, KEY, call, make_judge, request

from mitmgate.judge.inputs import Input
from mitmgate.mitm.core import Judged
from mitmgate.record.scrub import Scans, scrub
from mitmgate.serve import views
from mitmgate.serve.cards import Card, card_of, digested
from mitmgate.serve.views import arguments_of, log_line, row_of, without_arguments

MEGA = 200_000
LONG: dict[str, Input] = {
    "the name of an argument": call("push", {"A" * MEGA: 1}),
    "a finding below such a name": call("push", {"A" * MEGA: INJECTION}),
    "a credential in such a name": call("push", {"A" * MEGA + " " + KEY: 1}),
    "the name of a tool": call("p" * MEGA, {"a": 1}),
    "many names": call("push", {f"{n}" * 30: n for n in range(1000, 1250)}),
    "a folder": request("POST", "paste.example", "/" + "a" * MEGA + "/b", b"x"),
    "very many folders": request("POST", "paste.example", "/a" * 20_000, b"x"),
}


class Counting:
    """Scans as *scans* does, and keeps how long the longest text was."""

    def __init__(self, scans: Scans) -> None:
        self.longest = 0
        self._scans = scans

    def scan(self, texts: Any) -> Any:
        texts = tuple(texts)
        self.longest = max(self.longest, *(len(text.text) for text in texts))
        return self._scans.scan(texts)


def card(given: Input, monkeypatch: pytest.MonkeyPatch) -> tuple[Card, Any, int]:
    """Return the card and the row of *given*, and how long a text was looked at for them."""
    judge = make_judge()
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=1.0)
    assert outcome is not None
    counting = Counting(judge.scanner)
    with monkeypatch.context() as patch:
        patch.setattr(views, "scrub", lambda record, _: scrub(record, counting))
        made = card_of(judge, digested(Judged(outcome, prepared)), arguments_of(outcome, prepared))
        row = row_of(outcome, time=1.0, scanner=judge.scanner)
    return made, row, counting.longest


@pytest.mark.parametrize("given", LONG.values(), ids=LONG)
def test_rows_and_cards_stay_short(given: Input, monkeypatch: pytest.MonkeyPatch) -> None:
    made, row, longest = card(given, monkeypatch)
    public = without_arguments(made.pending)
    for shown in (row, public):
        assert len(shown.model_dump_json()) < 10_000
    assert len(log_line(row)) < 5_000
    assert longest < 15_000
    assert len(made.pending.model_dump_json()) < 200_000
    assert KEY[:8] not in made.pending.model_dump_json()


def test_where_a_name_is_left_out_no_values_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    few = card(call("push", {"a": 1, "b" * 200: 2}), monkeypatch)[0]
    assert "values" in few.scopes
    for odd in ({"a": 1, "b" * 201: 2}, {f"a{n}": n for n in range(51)}):
        made = card(call("push", odd), monkeypatch)[0]
        assert "values" not in made.scopes
        assert [one.on for one in made.pending.scopes] == ["call", "tool", "server"]


def test_nothing_hides_behind_a_long_neighbour() -> None:
    judge = make_judge()
    given = call("push", {"a": [[n] * 50 for n in range(5_000)], "b": "\n" * MEGA, "amount": 10**9})
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=1.0)
    assert outcome is not None
    shown = arguments_of(outcome, prepared)["arguments"]
    assert (shown["amount"], len(shown["a"]) > 100) == (10**9, True)
    assert shown["b"].endswith("… (200000 characters in all)")
    assert len(json.dumps(shown)) < 200_000
