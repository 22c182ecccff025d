"""A minute at the gate, as the pictures and the tests show it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mitmgate.control.decisions import Preview
from mitmgate.control.detail import Detail
from mitmgate.control.health import Health, StageTimes
from mitmgate.control.models import (
    Change,
    Completed,
    CompletedEvent,
    Event,
    FindingView,
    GrantList,
    GrantView,
    Model,
    On,
    Pending,
    PolicyView,
    Row,
    ScopeChoice,
    ServerList,
    ServerView,
    Snapshot,
    State,
)
from mitmgate.control.rules import RuleList, RuleView, Suggestion
from mitmgate.control.switch import Switch
from mitmgate_tui.client import segment
from mitmgate_tui.keys import KEYS

NOW = 1_772_654_047.0


def example() -> list[Event]:
    """Return a minute at the gate: something waits, something was stopped, the rest passes."""
    rows = [_row(number, *facts) for number, facts in enumerate(_TRAFFIC)]
    waiting = [
        _pending(rows, 17, NOW - 14, _PAYMENT),
        _pending(rows, 19, NOW - 7, _MERGE),
        _pending(rows, 20, NOW - 5, _MERGE),
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
_PAYMENT: dict[str, object] = {"amount": 4200, "currency": "eur", "customer": "[email:1]"}
_MERGE: dict[str, object] = {"owner": "acme", "repo": "shop", "pullNumber": 318}
_META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "claude", "version": "2.1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
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
    params = {"name": row.tool, "arguments": arguments, "_meta": _META}
    scopes = (
        ScopeChoice(on="call", covers="exactly this call"),
        ScopeChoice(on="values", covers=f"{row.tool} on {row.server} with the same arguments",
                    names=tuple(arguments)),
        ScopeChoice(on="tool", covers=f"{row.tool} on {row.server}"),
        ScopeChoice(on="server", covers=f"every call of {row.server}"),
    )  # fmt: skip
    changed = (Change(pointer="/arguments/amount", before=40, after=4200),)
    return Pending(
        id=row.id, row=row, since=since, deadline=since + 45, arguments=params,
        fingerprint=f"of {row.tool}", scopes=scopes,
        changed=changed if "amount" in arguments else None,
    )  # fmt: skip


def _completed(row: Row, latency: float) -> CompletedEvent:
    return CompletedEvent(
        completed=Completed(
            exchange=row.id.partition(".")[0], status=200, request_bytes=412,
            response_bytes=2_310, latency=latency, fate="answered",
        )
    )  # fmt: skip


def pages() -> dict[str, bytes]:
    """Return what the proxy of the example says at each path that a view asks for."""
    paying = segment("c017.0")
    told: dict[str, Model] = {
        "servers": _servers(), "rules": _rules(), "policy": _policy(), "health": _health(),
        "grants": _grants(), f"pending/{paying}/preview": _preview(),
        f"rows/{paying}": _detail(),
    }  # fmt: skip
    offered: dict[str, object] = {f"/v1{key.needs}": {} for key in KEYS if key.needs}
    return {
        "openapi.json": json.dumps({"paths": offered}).encode(),
        **{path: page.model_dump_json().encode() for path, page in told.items()},
    }


def _grants() -> GrantList:
    def grant(name: str, covers: str, left: float | None, on: On = "tool") -> GrantView:
        return GrantView(
            id=name, kind="grant", answer="allow", covers=covers, on=on, agent=_CLAUDE,
            lasting="session" if left is None else "time", operator="tom", outcome="c003.0",
            made=NOW - 300, left=left,
        )  # fmt: skip

    return GrantList(grants=(
        grant("g1", "every tools/call search_code on github", None),
        grant("g2", "exactly this tools/call fetch on notion", 600.0, "call"),
    ))  # fmt: skip


def _remembered(tool: str, server: str, made: str) -> str:
    return (
        f"{{id: ever-allow-{tool.replace('_', '-')}, then: allow, covers: tool, "
        f'agent: "{_CLAUDE}", server: {server}, method: tools/call, tool: {tool}, '
        f'note: "every tools/call {tool} on {server}", by: tom, made: "{made}", outcome: c017.0}}'
    )


def _preview() -> Preview:
    rule = _remembered("create_payment", "stripe", "2026-03-04T19:54:07Z")
    kept = _remembered("search_code", "github", "2026-03-03T10:12:00Z")
    return Preview(
        rule=rule, diff="--- a/remembered.yaml\n+++ b/remembered.yaml\n@@ -5,2 +5,3 @@\n rules:\n"
        f"   - {kept}\n+  - {rule}\n", hash="sha256:0", covers=1,
        history="in the last 7 days this would have settled 3 calls",
    )  # fmt: skip


def _detail() -> Detail:
    rows = [_row(number, *facts) for number, facts in enumerate(_TRAFFIC)]
    return Detail(
        row=rows[17], request={"name": "create_payment", "arguments": _PAYMENT},
        trace=("no-force-push: tool is create_payment, not push_files", "payments-ask: decides"),
        curl="curl -X POST https://mcp.stripe.com/mcp",
    )  # fmt: skip


def _server(known: str | None, host: str, tools: Sequence[str], /, **facts: object) -> ServerView:
    return ServerView.model_validate({
        "url": f"https://{host}/mcp", "server": known, "name": None, "title": None, "version": None,
        "protocol_versions": ("2025-11-25",), "transports": ("streamable_http",), "tools": tools,
        "tools_total": len(tools), "agents": (_CLAUDE,), "agents_total": 1, "calls": len(tools),
        "first_seen": NOW - 7_200, "last_seen": NOW - 6,
    } | facts)  # fmt: skip


def _servers() -> ServerList:
    github = ("create_issue", "get_issue", "list_commits", "merge_pull_request", "search_code")
    return ServerList(servers=(
        _server("github", "mcp.github.com", github, title="GitHub", version="1.4.0", calls=41,
                agents=(_CLAUDE, _CI), agents_total=2),
        _server("stripe", "mcp.stripe.com", ("create_payment", "list_customers"),
                title="Stripe", version="2.1.0", protocol_versions=("2026-07-28",), calls=3),
        _server(None, "mcp.elsewhere.example", ("read_note", "save_note"), name="notes",
                version="0.3", transports=("sse",), agents=(_CI,), calls=0),
        _server("notion", "mcp.notion.com", ("fetch", "search"), title="Notion", calls=12),
        _server("jira", "mcp.jira.com", ("create_issue", "get_issue", "search"), title="Jira",
                agents=(_CI,), calls=9),
    ))  # fmt: skip


def _rule(name: str, verdict: str, hits: int, text: str, section: str = "mcp.rules") -> RuleView:
    return RuleView.model_validate({
        "id": name, "layer": "policy", "section": section, "verdict": verdict, "text": text,
        "hits": hits, "last_hit": NOW - 5 * hits if hits else None, "never": not hits,
    })  # fmt: skip


def _rules() -> RuleList:
    payments = (
        "id: payments-ask\nserver: stripe\ntool: create_payment\n"
        "where: {/arguments/amount: {above: 100}}\nthen: ask\n"
    )
    return RuleList(
        rules=(
            _rule("no-force-push", "deny", 1, "id: no-force-push\ntool: push_files\nthen: deny\n"),
            _rule("payments-ask", "ask", 3, payments),
            _rule("reads", "allow", 44, "id: reads\ntool: ['get_*', 'list_*']\nthen: allow\n"),
            _rule("jira-writes", "deny", 2, "id: jira-writes\nserver: jira\nthen: deny\n"),
            _rule("old-wiki", "allow", 0, "id: old-wiki\nserver: wiki\nthen: allow\n"),
            _rule("docs", "allow", 18, "id: docs\nhost: docs.python.org\nthen: allow\n",
                  "egress.rules"),
        ),
        suggestions=(
            Suggestion(text="approved 5 times: merge_pull_request on github", on="tool", count=5,
                       pending_like="c019.0"),
        ),
    )  # fmt: skip


def _policy() -> PolicyView:
    return PolicyView(
        policy="sha256:3f9c21a04be7", source="policy.yaml", mode="enforce", rules=6, problem=None,
        waiting=None, changes=(), applied=1, refused=0,
    )  # fmt: skip


def _health() -> Health:
    times = {
        "prepare": (0.0003, 0.0011), "conclude": (0.0001, 0.0004), "record": (0.0001, 0.0002),
        "hold": (6.4, 31.0), "whole": (0.0006, 0.0019),
    }  # fmt: skip
    return Health(
        calls_per_second=4.2, pending=2, detached=0, readers=1, dropped=0, audit=None, policy=None,
        stages={name: StageTimes(p50=p50, p95=p95) for name, (p50, p95) in times.items()},
        policy_hash="sha256:3f9c21a04be7", halt=Switch(on=False),
    )  # fmt: skip
