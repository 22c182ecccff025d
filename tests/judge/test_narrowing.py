"""What an egress rule lets through only where it says so: DNS over HTTPS, and so much an hour."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import make_judge, request, scanner

from mitmgate.judge.budgets import Spent, size_of
from mitmgate.judge.inputs import Input, MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.lookups import asks_dns
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import load_policy
from mitmgate.wire.http import Headers, RequestHead

RULES = """egress:
  rules:
    - {id: lookups, host: [dns.example, docs.example], paths: /open, then: allow, dns: true}
    - {id: asked, host: asked.example, then: ask, max_session: 1000B}
    - {id: small, host: ["*.small.example", small.example], then: allow, max_session: 1000B,
       websocket: text}
    - {id: both, host: both.example, methods: GET, then: allow, max_session: 1000B}
    - {id: both-posts, host: both.example, then: allow, max_session: 1000B}
"""
SOCKET: Headers = (
    ("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
)  # fmt: skip
QUERY = bytes.fromhex("00000100000100000000000003777777076578616d706c6503636f6d0000010001")
ENCODED = base64.urlsafe_b64encode(QUERY).rstrip(b"=").decode()


def judge_with(*, shadow: bool = False) -> Judge:
    return make_judge(("egress:\n  rules:\n", RULES), shadow=shadow)


def at(judge: Judge, now: float, *given: Input) -> Outcome:
    outcome = None
    for one in given:
        outcome = judge.conclude(judge.prepare(one), now=now)
    assert outcome is not None
    return outcome


def head(target: str = "/", headers: Headers = (), method: str = "GET") -> RequestHead:
    return RequestHead(method, "https", "docs.example", 443, target, headers)


LOOKUPS: dict[str, RequestHead] = {
    "a POST of a message": head("/x", (("content-type", "application/dns-message"),), "POST"),
    "a GET that wants a message": head("/x", (("accept", "application/dns-message"),)),
    "a GET that wants JSON": head("/resolve?name=a.example", (("accept", "application/dns-json"),)),
    "a type in capitals, with a parameter": head(
        "/x", (("accept", "text/html, Application/DNS-Message; q=1"),)),
    "a second accept header": head(
        "/x", (("accept", "*/*"), ("accept", "application/dns-message"))),
    "a question in the query": head(f"/?dns={ENCODED}"),
    "a question behind other fields": head(f"/any?a=b&dns={ENCODED}"),
    "a field whose name is percent-encoded": head(f"/any?%64ns={ENCODED}"),
    "the path of the specification, whatever is asked": head("/dns-query?dns=x"),
    "that path below another": head("/profile/dns-query/?dns=x"),
    "more fields than anybody reads": head("/?" + "&".join(["dns=1"] * 1001)),
}  # fmt: skip

OTHERS: dict[str, RequestHead] = {
    "a page about DNS": head("/dns-query"),
    "a field of that name with a word": head("/settings?dns=automatic"),
    "a field of that name with an address": head("/settings?dns=192.0.2.1"),
    "a field of that name with a long word": head("/settings?dns=" + "a" * 40),
    "an answer in that field": head(
        "/?dns=" + base64.urlsafe_b64encode(b"\0\0\x80" + QUERY[3:]).decode()),
    "a host name in a field": head("/resolve?name=docs.example"),
    "JSON": head("/", (("accept", "application/json"), ("content-type", "application/json"))),
}  # fmt: skip


@pytest.mark.parametrize("given_head", LOOKUPS.values(), ids=LOOKUPS)
def test_dns_over_https_is(given_head: RequestHead) -> None:
    assert asks_dns(given_head)


@pytest.mark.parametrize("given_head", OTHERS.values(), ids=OTHERS)
def test_dns_over_https_is_not(given_head: RequestHead) -> None:
    assert not asks_dns(given_head)


def test_a_host_that_is_there_for_nothing_else() -> None:
    assert asks_dns(head(), ("carrier", "doh"))
    assert not asks_dns(head(), ("carrier",))


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_query_is_read(query: str, kind: str) -> None:
    asks_dns(head(f"/?dns={query}", (("accept", kind),)))


def lookup(target: str, host: str = "docs.example", method: str = "GET") -> RequestInput:
    return request(method, host, target, headers=(("accept", "application/dns-message"),))


def test_dns_over_https_is_denied_where_the_rule_does_not_open_it() -> None:
    judge = make_judge()
    outcome = at(judge, 0, lookup("/dns-query"))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("deny", "docs", "dns_over_https")
    assert "dns: true" in outcome.reason
    assert at(judge, 0, request("GET", "docs.example")).verdict.word == "allow"


def test_dns_over_https_passes_where_the_rule_opens_it() -> None:
    outcome = at(judge_with(), 0, lookup("/open/dns-query"))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("allow", "lookups", "rule")


def test_dns_over_https_that_a_rule_would_ask_about_is_denied() -> None:
    outcome = at(judge_with(), 0, lookup("/", "asked.example"))
    assert (outcome.verdict.word, outcome.code) == ("deny", "dns_over_https")


def test_a_rule_that_denies_keeps_its_own_word() -> None:
    outcome = at(judge_with(), 0, lookup("/dns-query", "evil.example"))
    assert (outcome.rule, outcome.code) == ("otherwise", "otherwise")


def post(
    size: int, host: str = "small.example", *, agent: str = "agent", exchange: str = "x"
) -> RequestInput:
    """Return a POST that counts as *size* bytes, its head included."""
    bare = request("POST", host, "/", headers=())
    body = b"x" * (size - size_of(bare.head, 0))
    return request("POST", host, "/", body, (), agent=agent, exchange=exchange)


BUDGETS: dict[str, tuple[list[tuple[float, RequestInput]], str]] = {
    "as much as the budget": ([(0, post(1000))], "rule"),
    "one byte more": ([(0, post(1001))], "session_budget"),
    "two that fit": ([(0, post(500)), (1, post(500))], "rule"),
    "two that do not": ([(0, post(500)), (1, post(501))], "session_budget"),
    "after a request that was denied for it": (
        [(0, post(500)), (1, post(900)), (2, post(500))], "rule"),
    "within the hour": ([(0, post(900)), (3599, post(900))], "session_budget"),
    "after the hour": ([(0, post(900)), (4000, post(900))], "rule"),
    "over several hosts of one rule": (
        [(0, post(500, "a.small.example")), (0, post(500, "b.small.example")),
         (0, post(100, "c.small.example"))], "session_budget"),
    "by another agent": ([(0, post(900)), (0, post(900, agent="other"))], "rule"),
    "of one rule, then by another": (
        [(0, post(900, "both.example")),
         (0, request("GET", "both.example", "/" + "a" * 800))], "rule"),
    "in a URL": ([(0, request("GET", "both.example", "/" + "a" * 1000))], "session_budget"),
    "in a header": (
        [(0, request("GET", "both.example", "/", headers=(("x-a", "a b " * 250),)))],
        "session_budget"),
}  # fmt: skip


@pytest.mark.parametrize(("requests", "code"), BUDGETS.values(), ids=BUDGETS)
def test_the_last_request_of(requests: list[tuple[float, RequestInput]], code: str) -> None:
    judge = judge_with()
    outcomes = [at(judge, now, given) for now, given in requests]
    assert outcomes[-1].code == code
    assert outcomes[-1].verdict.word == ("allow" if code == "rule" else "deny")


def test_the_reason_names_the_budget_and_the_rule() -> None:
    outcome = at(judge_with(), 0, post(1001))
    assert (outcome.rule, outcome.subject.host) == ("small", "small.example")
    assert "1000" in outcome.reason


def test_what_is_asked_about_counts_once_it_is_let_go() -> None:
    judge = judge_with()
    first = at(judge, 0, post(900, "asked.example"))
    assert first.verdict.word == "ask"
    assert at(judge, 0, post(900, "asked.example", exchange="y")).verdict.word == "ask"
    judge.apply_resolution(first, "allow")
    third = at(judge, 0, post(900, "asked.example", exchange="z"))
    assert (third.verdict.word, third.code) == ("deny", "session_budget")


def test_a_denied_request_counts_nothing() -> None:
    judge = judge_with()
    first = at(judge, 0, post(900, "asked.example"))
    judge.apply_resolution(first, "deny")
    assert at(judge, 0, post(900, "asked.example", exchange="y")).verdict.word == "ask"


def test_messages_of_a_websocket_count_and_what_comes_back_does_not() -> None:
    judge = judge_with()
    at(judge, 0, request("GET", "small.example", "/", headers=SOCKET))
    for _ in range(20):
        assert at(judge, 0, MessageInput("x", 0, False, "y" * 900)).code == "rule"
    assert at(judge, 0, MessageInput("x", 0, True, "y" * 400)).code == "rule"
    assert at(judge, 0, MessageInput("x", 0, True, "y" * 600)).code == "session_budget"
    assert at(judge, 4000, MessageInput("x", 0, True, "y" * 600)).code == "rule"


def test_in_shadow_mode_a_budget_stops_nothing_and_counts_on() -> None:
    judge = judge_with(shadow=True)
    outcomes = [at(judge, 0, post(900)) for _ in range(2)]
    assert [outcome.effective.word for outcome in outcomes] == ["allow", "allow"]
    assert [outcome.code for outcome in outcomes] == ["rule", "session_budget"]


def floored(tmp_path: Path, own: str, floor: str, *, shadow: bool = False) -> Judge:
    """Return a judge by the rules *own* under the locked rule `cap`."""
    locked = tmp_path / "locked.yaml"
    locked.write_text(f"version: 1\negress:\n  rules: [{{id: cap, {floor}}}]\n")
    text = f"version: 1\negress:\n  rules: [{own}]\n"
    return Judge(load_policy(text, file="p.yaml", locked=locked), scanner(), shadow=shadow)


TWO = "{id: a, host: a.example, then: allow}, {id: cap, host: b.example, then: allow}"
CAP = 'host: "*.example", then: allow, max_session: 1000B'


def test_a_locked_budget_is_one_for_all_rules_of_the_policy(tmp_path: Path) -> None:
    judge = floored(tmp_path, TWO, CAP)
    assert at(judge, 0, post(600, "a.example")).code == "rule"
    outcome = at(judge, 0, post(600, "b.example"))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("deny", "cap", "session_budget")
    assert "max_session of rule cap (1000 bytes)" in outcome.reason
    assert at(judge, 0, post(400, "b.example")).code == "rule"
    assert at(judge, 4000, post(600, "b.example")).code == "rule"


def test_a_locked_budget_holds_in_shadow_mode(tmp_path: Path) -> None:
    judge = floored(tmp_path, TWO, CAP, shadow=True)
    outcomes = [at(judge, 0, post(600, host)) for host in ("a.example", "b.example")]
    assert [outcome.effective.word for outcome in outcomes] == ["allow", "deny"]


def test_a_locked_budget_is_one_for_messages_of_websockets_too(tmp_path: Path) -> None:
    own = ", ".join(
        f"{{id: {name}, host: {name}.example, then: allow, websocket: text}}" for name in "ab"
    )
    judge = floored(tmp_path, own, CAP)
    for name in "ab":
        at(judge, 0, request("GET", f"{name}.example", "/", headers=SOCKET, exchange=name))
    assert at(judge, 0, MessageInput("a", 0, True, "y" * 500)).code == "rule"
    outcome = at(judge, 0, MessageInput("b", 0, True, "y" * 500))
    assert (outcome.rule, outcome.code) == ("cap", "session_budget")


def test_an_own_budget_counts_what_the_locked_layer_decides(tmp_path: Path) -> None:
    own = "{id: small, host: a.example, then: allow, max_session: 1000B}"
    judge = floored(tmp_path, own, "host: a.example, methods: POST, then: ask")
    judge.apply_resolution(at(judge, 0, post(900, "a.example")), "allow")
    outcome = at(judge, 0, request("GET", "a.example", "/" + "a" * 200, headers=()))
    assert (outcome.rule, outcome.code) == ("small", "session_budget")


def test_a_locked_budget_counts_what_the_policy_says_nothing_of(tmp_path: Path) -> None:
    locked = 'host: "*.example", then: allow, max_session: 300B'
    text = "servers: {s: {url: 'https://s.example/mcp'}}\negress:"
    floor = tmp_path / "locked.yaml"
    floor.write_text(f"version: 1\negress:\n  rules: [{{id: cap, {locked}}}]\n")
    policy = load_policy(f"version: 1\n{text} {{rules: []}}\n", file="p.yaml", locked=floor)
    judge, target = Judge(policy, scanner()), "/.well-known/openid-configuration"
    given = request("GET", "s.example", target, headers=(("x-a", "a b " * 25),))
    assert [at(judge, 0, given).code for _ in range(2)] == ["housekeeping", "session_budget"]


class Ledger:
    """What a budget should say: every byte with its time."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []

    def within(self, now: int, seconds: int) -> int:
        return sum(size for when, size in self.sent if when > now - seconds)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 1000)), max_size=60))
def test_an_hour_is_an_hour_and_at_most_five_minutes_more(steps: Iterable[tuple[int, int]]) -> None:
    spent, ledger, now = Spent(4), Ledger(), 0
    for wait, size in steps:
        now += wait
        spent.add("a", "r", size, now=now)
        ledger.sent.append((now, size))
        found = spent.within("a", "r", now=now)
        assert ledger.within(now, 3600) <= found <= ledger.within(now, 3900)


def test_memory_is_bounded() -> None:
    spent = Spent(3)
    for number in range(10):
        spent.add(str(number), "r", 1, now=0)
    assert [spent.within(str(number), "r", now=0) for number in range(10)] == [0] * 7 + [1] * 3
    for step in range(1000):
        spent.add("9", "r", 1, now=step * 300)
    assert spent.within("9", "r", now=999 * 300) == 13
