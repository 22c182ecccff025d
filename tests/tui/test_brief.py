"""Two lines that tell calls apart, for narrow screens."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len
from tests.tui.conftest import SCOPES, make_pending

from mitmgate.control.models import Change, FindingView
from mitmgate_tui.chosen import Chosen, begin
from mitmgate_tui.entry import Entry
from mitmgate_tui.widgets.brief import brief

META = {"io.modelcontextprotocol/clientInfo": {"name": "mcp", "version": "0.1.0"}}
EMAIL = FindingView(
    detector="pii", rule="pii.email", severity="low", surface="arguments", pointer="/arguments/to"
)


def lines(arguments: Any, width: int = 78, **facts: Any) -> tuple[str, str]:
    pending = make_pending("pay", arguments=arguments, **facts)
    entry = Entry(pending.row)
    entry.pending = pending
    got = brief(entry, Chosen(), width)
    assert all(cell_len(line) <= width for line in got)
    return got


def params(**arguments: Any) -> dict[str, Any]:
    return {"name": "pay", "arguments": arguments, "_meta": META}


CALLS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "the arguments of a tool and nothing of the client's": (
        params(amount=4200, currency="eur"), {}, "amount 4200  currency eur",
    ),
    "what changed comes first": (
        params(currency="eur", amount=4200, to="x"),
        {"changed": (Change(pointer="/arguments/amount", before=40, after=4200),
                     Change(pointer="/arguments/to", before=None, after="x"))},
        "amount 4200 (was 40)  to x (new)  currency eur",
    ),
    "what went is told": (
        params(amount=1), {"changed": (Change(pointer="/arguments/a~1b", before=2, after=None),)},
        "amount 1  a/b gone (was 2)",
    ),
    "a change further in": (
        params(who={"name": "x"}),
        {"changed": (Change(pointer="/arguments/who/name", before=2, after="x"),)},
        "who {1} (changed)",
    ),
    "no arguments": (params(), {}, ""),
    "another method": (
        {"uri": "file:///x", "_meta": META}, {"tool": None, "method": "resources/read"},
        "uri file:///x",
    ),
    "a text, as arguments above 64 KB are sent": (
        '{"name": "pay", "arguments": {}}', {}, '{"name": "pay", "arguments": {}}',
    ),
    "without the key": (None, {"reason": "Payments wait."}, "Payments wait."),
    "escapes": (params(a="\x1b[2J"), {}, "a ␛[2J"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "facts", "line"), CALLS.values(), ids=list(CALLS))
def test_what_a_call_carries(arguments: Any, facts: dict[str, Any], line: str) -> None:
    assert lines(arguments, **facts)[1] == line


def test_what_does_not_fit_is_counted() -> None:
    line = lines(params(**{f"n{at}": "x" * 200 for at in range(9)}))[1]
    assert line.startswith("n0 xxxx")
    assert line.endswith("… 8 more")


@pytest.mark.parametrize("text", ["x" * 70_000, "\n" * 70_000, "\u202e" * 70_000])
def test_a_long_text_is_shortened(text: str) -> None:
    lines(text)
    lines(params(a=text, b=text))


def test_findings_and_a_wider_scope_stand_beside_the_name() -> None:
    pending = make_pending("pay", scopes=SCOPES, findings=(EMAIL,), arguments=params())
    entry, chosen = Entry(pending.row), Chosen()
    entry.pending = pending
    assert brief(entry, chosen, 78)[0] == "pay  ⚠ pii.email at /arguments/to"
    chosen.choose(pending, begin(SCOPES[2]))
    assert brief(entry, chosen, 78)[0] == "pay  scope: tool  ⚠ pii.email at /arguments/to"
