"""A picture of the console from given events: the same events give the same picture.

``python -m mitmgate_tui.screenshot > docs/console.svg`` draws the one of the README.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

from mitmgate.control.models import (
    Completed,
    CompletedEvent,
    Event,
    FindingView,
    Pending,
    Row,
    Snapshot,
    State,
)
from mitmgate_tui.app import Console
from mitmgate_tui.client import Gate, Heard, Refused
from mitmgate_tui.clock import Clock
from mitmgate_tui.messages import Answer

SIZE = (140, 40)
NOW = 1_772_654_047.0
_LATER = 100.0  # seconds, after which nothing on the screen is new any more


class Replay(Gate):
    """A gate that says what it was given, and then nothing."""

    has_key = True

    def __init__(self, events: Iterable[Event], answers: Mapping[str, bytes] | None = None) -> None:
        self._events = tuple(events)
        self._answers = answers or {}

    async def follow(self) -> AsyncGenerator[Heard]:
        """Yield the events, then wait."""
        for event in self._events:
            yield event
        await asyncio.Event().wait()

    async def decide(self, entry: str, answer: Answer, reason: str | None) -> None:
        """Take anything."""

    async def get(self, path: str) -> bytes:
        """Return the answer given for *path*."""
        if path not in self._answers:
            raise Refused("The proxy does not offer this.")
        return self._answers[path]


def svg_of(events: Sequence[Event], *, size: tuple[int, int] = SIZE, now: float = NOW) -> str:
    """Run the console headless on *events* and return its picture as SVG."""
    return asyncio.run(_draw(events, size, now))


async def _draw(events: Sequence[Event], size: tuple[int, int], now: float) -> str:
    passed = 0.0
    clock = Clock(wall=lambda: now, steady=lambda: passed, calendar=time.gmtime)
    app = Console(Replay(events), clock=clock)
    async with app.run_test(size=size) as pilot:
        while app.board.version < len(events):
            await pilot.pause()
        await pilot.pause()
        for _ in range(2):  # what came up in the first is no longer new in the second
            passed += _LATER
            app.drain()
            await pilot.pause()
        return app.export_screenshot()


def example() -> list[Event]:
    """Return a minute at the gate: something waits, something was stopped, the rest passes."""
    rows = [_row(number, *facts) for number, facts in enumerate(_TRAFFIC)]
    waiting = [
        _pending(rows, 17, NOW - 14, {"amount": 4200, "currency": "eur", "customer": "[email:1]"}),
        _pending(rows, 19, NOW - 7, {"owner": "acme", "repo": "shop", "pullNumber": 318}),
    ]
    state = State(
        version="0.1.0", listen="127.0.0.1:8080", mode="enforce", policy="sha256:3f9c21a04be7",
        pending=len(waiting), operators=1, decisions=len(rows), denied=4, healthy=True,
    )  # fmt: skip
    start: list[Event] = [
        Snapshot(state=state, rows=tuple(rows), pending=tuple(waiting), operator=True)
    ]
    passed = [row for row in rows if row.verdict == "allow"]
    return start + [_completed(row, 0.009 + 0.0137 * (at % 5)) for at, row in enumerate(passed)]


type _Facts = tuple[str, str | None, str, str, str, str]

_CLAUDE, _CI = "claude@lap", "ci-runner"
_TRAFFIC: tuple[_Facts, ...] = (
    (_CLAUDE, "github", "initialize", "-", "allow", "housekeeping"),
    (_CLAUDE, "github", "tools/list", "-", "allow", "housekeeping"),
    (_CLAUDE, "github", "tools/call", "search_code", "allow", "reads"),
    (_CLAUDE, "github", "tools/call", "get_file_contents", "allow", "reads"),
    (_CI, "jira", "tools/call", "search", "allow", "reads"),
    (_CLAUDE, None, "GET", "docs.python.org/3/library/asyncio.html", "allow", "docs"),
    (_CI, "jira", "tools/call", "create_issue", "shadow", "jira-writes"),
    (_CLAUDE, "github", "tools/call", "push_files", "deny", "no-force-push"),
    (_CLAUDE, "github", "tools/call", "list_issues", "allow", "reads"),
    (_CLAUDE, "notion", "tools/call", "fetch", "redacted", "reads"),
    (_CI, None, "POST", "webhook.site/9a1c0d2e-4b7f/collect", "deny", "otherwise"),
    (_CLAUDE, "github", "tools/call", "get_issue", "allow", "reads"),
    (_CLAUDE, "github", "tools/call", "get_pull_request_files", "allow", "reads"),
    (_CI, "jira", "tools/call", "get_issue", "allow", "reads"),
    (_CLAUDE, None, "GET", "textual.readthedocs.io/en/stable/", "allow", "docs"),
    (_CI, None, "GET", "169.254.169.254/latest/meta-data/", "deny", "private_address"),
    (_CLAUDE, "github", "tools/call", "list_commits", "allow", "reads"),
    (_CLAUDE, "stripe", "tools/call", "create_payment", "ask", "payments-ask"),
    (_CLAUDE, "github", "tools/call", "search_issues", "allow", "reads"),
    (_CI, "github", "tools/call", "merge_pull_request", "ask", "otherwise"),
    (_CLAUDE, "notion", "tools/call", "search", "allow", "reads"),
)
_REASONS = {
    "payments-ask": "Payments above 100 need a person.",
    "no-force-push": "Force pushes need a person at the keyboard.",
    "otherwise": "No rule matched this call.",
}


def _row(number: int, *facts: *_Facts) -> Row:
    agent, server, method, name, became, rule = facts
    host = name.partition("/")[0] if server is None else f"mcp.{server}.com"
    finding = FindingView(
        detector="pii", rule="pii.email", severity="medium", surface="arguments",
        pointer="/arguments/customer",
    )  # fmt: skip
    verdict = {"shadow": "deny", "redacted": "allow"}.get(became, became)
    return Row.model_validate({
        "id": f"c{number:03d}.0", "time": NOW - len(_TRAFFIC) + number, "kind": "request",
        "channel": "egress" if server is None else "mcp", "agent": agent, "server": server,
        "host": host, "endpoint": f"https://{name}" if server is None else f"https://{host}/mcp",
        "method": method, "tool": name if method == "tools/call" else None, "verdict": verdict,
        "rule": rule, "code": "rule", "reason": _REASONS.get(rule, "Matched."),
        "enforced": became != "shadow", "edits": int(became == "redacted"),
        "findings": (finding,) if rule == "payments-ask" else (), "held": verdict == "ask",
    })  # fmt: skip


def _pending(rows: Sequence[Row], at: int, since: float, arguments: dict[str, object]) -> Pending:
    row = rows[at]
    params = {"name": row.tool, "arguments": arguments}
    return Pending(id=row.id, row=row, since=since, deadline=since + 45, arguments=params)


def _completed(row: Row, latency: float) -> CompletedEvent:
    return CompletedEvent(
        completed=Completed(
            exchange=row.id.partition(".")[0], status=200, request_bytes=412,
            response_bytes=2_310, latency=latency, fate="answered",
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(svg_of(example()) + "\n")
