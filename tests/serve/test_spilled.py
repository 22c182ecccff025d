"""What had to be kept back is known again in each form in which it can come through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.serve import spilled
from mitmgate.serve.spilled import Withheld

SECRET = "the vault opens with seventeen turns to the left"


def result(text: str, **more: object) -> str:
    content = [{"type": "text", "text": text}]
    return json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"content": content, **more}})


DENIAL = json.dumps({"jsonrpc": "2.0", "id": 7, "result": {
    "content": [{"type": "text", "text": "Refused by the operator's policy."}],
    "isError": True}})  # fmt: skip
CASES: dict[str, tuple[str, str, bool]] = {
    "the same bytes": (result(SECRET), result(SECRET), True),
    "the same JSON with other blanks": (
        result(SECRET), json.dumps(json.loads(result(SECRET)), indent=2), True),
    "a part of it, redacted": (result(SECRET), result(f"{SECRET[:30]}[redacted]"), True),
    "a part of it in another member": (result(SECRET), json.dumps({"error": SECRET[10:40]}), True),
    "a part of it in plain text": (result(SECRET), f"500 {SECRET[5:35]}", True),
    "a short value in its place": (result("ok"), result("ok"), True),
    "a number in its place": (result("", pin=4821), result("x", pin=4821), True),
    "a short value elsewhere": (result("ok"), json.dumps({"status": "ok"}), False),
    "the name of a member": (json.dumps({SECRET: 1}), json.dumps([{SECRET: 2}]), True),
    "a denial in the place of it": (result(SECRET), DENIAL, False),
    "nothing at all": (result(SECRET), "", False),
    "plain text": (SECRET, f"<p>{SECRET}</p>", True),
    "short plain text": ("4821", "4821", True),
    "JSON that cannot be read": ('{"a": ' + SECRET, '{"b": ' + SECRET, True),
    "the method of a message": (
        json.dumps({"method": "notifications/message", "params": {"data": SECRET}}),
        json.dumps({"method": "notifications/message", "params": {"data": "other"}}), False),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CASES)
def test_what_came_through(sentence: str) -> None:
    withheld, came, expected = CASES[sentence]
    kept = Withheld()
    kept.add(withheld)
    assert kept.came_in(came) is expected


def test_what_goes_on_in_its_place_counts_for_nothing() -> None:
    kept = Withheld()
    kept.add(result(f"{SECRET} AKIA-0123456789-ABC"), meant=result(f"{SECRET} [redacted]"))
    assert not kept.came_in(result(f"{SECRET} [redacted]"))
    assert kept.came_in(result(f"{SECRET} 0123456789-ABC"))


def test_nothing_is_taken_on_trust_where_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "MOST_PIECES", 2)
    kept = Withheld()
    kept.add(result(SECRET))
    assert kept.came_in("anything")


@given(st.text(min_size=40, max_size=80), st.integers(0, 17), st.text(max_size=9))
def test_every_part_of_23_characters_is_known_again(text: str, start: int, other: str) -> None:
    kept = Withheld()
    kept.add(json.dumps({"a": text}))
    assert kept.came_in(json.dumps({"b": [f"{other}{text[start : start + 23]}{other}"]}))


@given(st.text(), st.text())
def test_what_was_meant_is_never_a_leak(text: str, meant: str) -> None:
    kept = Withheld()
    kept.add(text, meant=meant)
    assert not kept.came_in(meant)
