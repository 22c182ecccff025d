"""What an answer for ever would have settled: counted from records that hold no arguments."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import pytest
from audit_rows import NOW, fetched, recorded, write_audit
from judging import call, request

from mitmgate.policy.remembered import RememberedRule
from mitmgate.query.settled import Settled, tally_settled
from mitmgate.serve.history import history_of
from mitmgate.serve.whatif import Pace

PUSH = recorded(call("push", {"force": False}, exchange="p-1"))
READ = recorded(call("get_x", {}, exchange="p-2"))
DENIED = recorded(call("drop", {}, exchange="p-3"))
PASTE = recorded(request("POST", "paste.example", "/api/x", b"text", exchange="p-4"))
DOCS = recorded(fetched("p-5"))
RECORDS = (PUSH, PUSH, READ, DENIED, PASTE, DOCS)
PASTES = "https://paste.example:443"


def rule(then: Literal["allow", "deny"], covers: Any, **aims: Any) -> RememberedRule:
    return RememberedRule("r", then, covers, "agent", **aims)


TOOL: dict[str, Any] = {"server": "files", "method": "tools/call", "tool": "push"}
# sentence: the rule, how many it settles, how many more it may
SETTLED: dict[str, tuple[RememberedRule, int, int]] = {
    "an allow of a tool": (rule("allow", "tool", **TOOL), 2, 0),
    "an allow of what is allowed": (rule("allow", "tool", **(TOOL | {"tool": "get_x"})), 0, 0),
    "an allow of what a rule denies": (rule("allow", "tool", **(TOOL | {"tool": "drop"})), 0, 0),
    "a deny of a tool": (rule("deny", "tool", **(TOOL | {"tool": "get_x"})), 1, 0),
    "a deny of a server": (rule("deny", "server", server="files"), 3, 0),
    "some values of a tool": (rule("allow", "values", **TOOL, values=(("a", "0"),)), 0, 2),
    "a host": (rule("allow", "host", origin=PASTES), 1, 0),
    "a folder": (rule("allow", "prefix", origin=PASTES, method="POST", prefix="/api"), 1, 0),
    "another folder": (rule("allow", "prefix", origin=PASTES, method="POST", prefix="/ap"), 0, 0),
    "another method": (rule("allow", "prefix", origin=PASTES, method="GET", prefix="/api"), 0, 0),
    "one URL": (rule("allow", "url", origin=PASTES, method="POST", url="0"), 0, 1),
    "another agent": (RememberedRule("r", "allow", "tool", "other", **TOOL), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("sentence", SETTLED)
def test_what_an_answer_would_have_settled(sentence: str) -> None:
    given, count, unsure = SETTLED[sentence]
    found = Settled(given.then, NOW - 1, NOW)
    tally_settled(given, RECORDS, found, since="")
    assert (found.count, found.unsure) == (count, unsure)


WORDS: dict[str, Settled] = {
    "in 7 days this would have allowed 3 calls that asked": Settled("allow", 0, 604_800, 3),
    "in 1 day this would have denied 1 call that did not": Settled("deny", 0, 9, 1),
    "in 7 days this would have allowed no call that asked; 2 more may be meant": Settled(
        "allow", 0, 604_800, 0, 2),
    "at least, in 7 days this would have denied 2 calls that did not": Settled(
        "deny", 0, 604_800, 2, partial=True),
}  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_it_is_said_in_words(words: str) -> None:
    assert WORDS[words].sentence == words


def test_the_sentence_is_of_the_last_week_of_the_audit_file(tmp_path: Path) -> None:
    now = time.time()
    old, new = (recorded(call("push", {}), now=at) for at in (now - 9 * 86_400, now - 60))
    audit = write_audit(tmp_path, [old, new])
    given = rule("allow", "tool", **TOOL)
    assert history_of(given, audit) == "in 7 days this would have allowed 1 call that asked"
    spent = Pace(0.0)
    told = history_of(given, audit, pace=spent)
    assert told == "at least, in 7 days this would have allowed no call that asked"
    assert history_of(given, tmp_path / "none") is None
