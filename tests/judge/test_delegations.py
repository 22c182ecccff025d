"""A model API that is told to call an MCP server: allowed, asked, denied or taken out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judging import (
    INJECTION,
    JSON,
    KEY,
    POLICY,
    answer,
    decide,
    event,
    make_judge,
    post,
    request,
    scanner,
    settled,
)
from judging import call as mcp_call

from mitmgate.judge.judge import Judge
from mitmgate.judge.prepare import Body, PreparedRequest
from mitmgate.policy.load import load_policy
from mitmgate.policy.loosening import loosened
from mitmgate.wire.surfaces import Surface

MODEL = "api.openai.com"
NAMED, UNNAMED = "https://files.example/mcp", "https://other.example/mcp?key=1"
FIRST = "  rules:\n    - {id: no-force"
Change = tuple[str, str]


def rule(text: str) -> Change:
    return FIRST, FIRST.replace("- {id", f"- {{{text}}}\n    - {{id", 1)


def says(word: str) -> Change:
    return "unknown_servers: ask", f"unknown_servers: ask\n  delegated: {word}"


UNKNOWN_ALLOWED = ("unknown_servers: ask", "unknown_servers: allow")
UNKNOWN_DENIED = ("unknown_servers: ask", "unknown_servers: deny")
ALLOWS = rule("id: hand, server: files, method: delegate, then: allow")
DENIES = rule("id: hand, server: files, method: delegate, then: deny")
CALLS = rule("id: hand, server: files, then: allow")


def handing(url: str = NAMED, host: str = MODEL, **more: Any) -> Any:
    tool = {"type": "mcp", "server_label": "notes", "server_url": url, **more}
    return post({"model": "m", "input": "hi", "tools": [tool, {"type": "web_search"}]}, host)


VERDICTS: dict[str, tuple[list[Change], str, tuple[str, str, str]]] = {
    "a named server with no rule": ([], NAMED, ("ask", "delegated", "otherwise")),
    "a named server that a rule allows": ([ALLOWS], NAMED, ("allow", "model", "rule")),
    "a named server that a rule denies": ([DENIES], NAMED, ("deny", "hand", "rule")),
    "a rule for calls, which says nothing of this": (
        [CALLS], NAMED, ("ask", "delegated", "otherwise")),
    "a rule with every method": (
        [rule('id: hand, server: files, method: "*", then: allow')], NAMED,
        ("allow", "model", "rule")),
    "a named server where all are allowed": ([says("allow")], NAMED, ("allow", "model", "rule")),
    "a named server where none is": ([says("deny")], NAMED, ("deny", "delegated", "otherwise")),
    "an unknown server": ([], UNNAMED, ("ask", "unknown_servers", "unknown_server")),
    "an unknown server where none is allowed": (
        [UNKNOWN_DENIED], UNNAMED, ("deny", "unknown_servers", "unknown_server")),
    "an unknown server where such may be called from here": (
        [UNKNOWN_ALLOWED], UNNAMED, ("ask", "delegated", "otherwise")),
    "an unknown server where all are allowed": (
        [says("allow"), UNKNOWN_ALLOWED], UNNAMED, ("allow", "model", "rule")),
    "a path below a named server's": (
        [ALLOWS], f"{NAMED}/../x", ("ask", "unknown_servers", "unknown_server")),
    "a URL with two readings": (
        [ALLOWS, says("allow")], "https://files.example@x.example/mcp",
        ("deny", "ambiguous_delegation", "ambiguous_delegation")),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "url", "wanted"), VERDICTS.values(), ids=VERDICTS)
def test_the_policy_decides_on_the_server(
    changes: list[Change], url: str, wanted: tuple[str, str, str]
) -> None:
    outcome = decide(make_judge(*changes), handing(url))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == wanted
    assert (outcome.subject.tool, outcome.subject.method) == ("delegate:notes", "POST") or (
        wanted[1] == "ambiguous_delegation"
    )


STRIPPED: dict[str, tuple[list[Change], str]] = {
    "a named server with no rule": ([], NAMED),
    "a named server that a rule denies": ([DENIES], NAMED),
    "an unknown server": ([], UNNAMED),
    "a denied unknown server": ([UNKNOWN_DENIED], UNNAMED),
    "a URL with two readings": ([], "https://a@b/"),
}


@pytest.mark.parametrize(("changes", "url"), STRIPPED.values(), ids=STRIPPED)
def test_with_strip_it_is_taken_out_and_the_rest_goes_on(changes: list[Change], url: str) -> None:
    judge = make_judge(says("strip"), *changes)
    prepared = judge.prepare(handing(url, authorization=KEY))
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert (outcome.verdict.word, outcome.rule, outcome.findings) == ("allow", "model", ())
    assert outcome.reason.endswith("1 MCP server was taken out")
    text = judge.edited(outcome, prepared)
    assert text is not None
    assert json.loads(text) == {"model": "m", "input": "hi", "tools": [{"type": "web_search"}]}


def test_strip_keeps_what_a_rule_allows_and_asks_where_a_rule_asks() -> None:
    allowed = decide(make_judge(says("strip"), ALLOWS), handing())
    assert (allowed.verdict.word, allowed.edits) == ("allow", ())
    asks = rule("id: hand, server: files, method: delegate, then: ask")
    assert decide(make_judge(says("strip"), asks), handing()).rule == "hand"


def test_strip_denies_where_no_edit_can_be_made() -> None:
    line = json.dumps({"body": {"tools": [{"type": "mcp", "server_url": NAMED}]}})
    body = f"{line}\n{line}".encode()
    outcome = decide(make_judge(says("strip")), request("POST", MODEL, "/v1/files", body, JSON))
    assert (outcome.verdict.word, outcome.rule) == ("deny", "delegated")


BAD = json.dumps({"tools": [{"type": "mcp", "server_url": NAMED}], "input": "?"}).encode()


@pytest.mark.parametrize(
    "body",
    [BAD.replace(b"?", b"\xff"), b"\xef\xbb\xbf" + BAD.replace(b"?", b"\xff"), b"\xff" + BAD,
     BAD.replace(b"mcp", b"mc\xffp")],
    ids=["beside", "behind a mark", "before", "within"],
)  # fmt: skip
def test_one_byte_that_is_no_text_hides_nothing_and_is_sent_by_no_strip(body: bytes) -> None:
    given = request("POST", MODEL, "/v1/responses", body)
    for word in ("deny", "strip"):
        outcome = decide(make_judge(says(word)), given)
        assert (outcome.verdict.word, outcome.rule, outcome.edits) == ("deny", "delegated", ())
    assert decide(make_judge(says("ask")), given).verdict.word == "ask"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("more", ["", "\u00e9\u4e2d"], ids=["ASCII", "more"])
def test_a_body_in_utf_16_that_is_not_declared_is_refused(codec: str, more: str) -> None:
    tools = {"tools": [{"type": "mcp", "server_url": NAMED}], "input": more}
    text = json.dumps(tools, ensure_ascii=False)
    part = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n%s\r\n--x--\r\n'
    for body, kind in ((text.encode(codec), JSON), (text.encode(codec), ()),
                       (part % text.encode(codec), (("content-type", PARTS),))):  # fmt: skip
        outcome = decide(make_judge(ALLOWS), request("POST", MODEL, "/v1/x", body, kind))
        assert (outcome.verdict.word, outcome.code) == ("deny", "ambiguous_delegation")


def test_what_cannot_be_edited_is_denied_and_never_sent_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = make_judge(says("strip"))
    prepared = judge.prepare(handing())
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert outcome.effective_edits
    monkeypatch.setattr(judge, "_concluded", lambda _: outcome)
    assert isinstance(prepared, PreparedRequest)
    unread = replace(prepared, body=Body(unread=prepared.body.text))
    denied = judge.conclude(unread, now=0.0)
    assert denied is not None
    assert (denied.verdict.word, denied.code, denied.edits) == ("deny", "cannot_edit", ())


PARTS = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("beside", [b"text", b"\xff\xfe\x00"], ids=["text", "bytes"])
def test_a_part_of_a_form_is_read_by_itself(beside: bytes) -> None:
    session = json.dumps({"tools": [{"type": "mcp", "server_url": NAMED}]}, indent=2).encode()
    head = b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = head % (b"session", session) + head % (b"sdp", beside) + b"--x--\r\n"
    given = request("POST", MODEL, "/v1/realtime/calls", body, (("content-type", PARTS),))
    for word in ("ask", "deny"):
        outcome = decide(make_judge(says(word)), given)
        assert (outcome.verdict.word, outcome.rule) == (word, "delegated")
    # Such a body is not edited.
    assert decide(make_judge(says("strip")), given).verdict.word == "deny"
    assert decide(make_judge(ALLOWS), given).verdict.word == "allow"


def test_an_answer_is_remembered_for_the_agent_the_server_and_the_api() -> None:
    judge = make_judge(
        (
            "{id: model, host: api.openai.com",
            "{id: model, host: [api.openai.com, api.anthropic.com]",
        )
    )
    asked = decide(judge, handing(UNNAMED))
    assert asked.question is not None
    assert settled(judge, handing(UNNAMED), "allow").verdict.word == "allow"
    assert decide(judge, handing(UNNAMED)).verdict.word == "allow"
    for other in (handing("https://third.example/mcp"), handing(UNNAMED, "api.anthropic.com"),
                  mcp_call("get_x", host="other.example")):  # fmt: skip
        assert decide(judge, other).verdict.word == "ask"
    assert settled(judge, handing(), "deny").verdict.word == "deny"


def test_a_server_that_was_denied_here_is_denied_there_too() -> None:
    judge = make_judge()
    settled(judge, mcp_call("get_x", host="other.example"), "deny")
    assert decide(judge, handing(UNNAMED)).verdict.word == "deny"


def test_the_strictest_of_several_counts() -> None:
    tools = [{"type": "mcp", "server_url": url} for url in (NAMED, UNNAMED)]
    judge = make_judge(ALLOWS, UNKNOWN_DENIED)
    assert decide(judge, post({"tools": tools}, MODEL)).rule == "unknown_servers"


def test_the_host_has_its_own_word() -> None:
    judge = make_judge(ALLOWS)
    assert decide(judge, handing(host="elsewhere.example")).rule == "otherwise"
    assert decide(make_judge(DENIES), handing(host="elsewhere.example")).verdict.word == "deny"
    asked = decide(judge, handing(host="paste.example"))
    assert (asked.rule, asked.question) == ("paste", None)


def test_a_credential_goes_home_to_a_named_server_alone() -> None:
    allowing = make_judge(ALLOWS, says("allow"), UNKNOWN_ALLOWED)
    home = decide(allowing, handing(host="docs.example", authorization=KEY))
    assert (home.verdict.word, home.findings) == ("allow", ())
    away = decide(allowing, handing(UNNAMED, "docs.example", authorization=KEY))
    assert (away.verdict.word, away.rule) == ("deny", "scan.secrets")
    beside = decide(allowing, handing(host="docs.example", note=KEY))
    assert beside.rule == "scan.secrets"


def test_a_rule_may_be_for_one_api() -> None:
    here = rule("id: hand, server: files, method: delegate, "
                f"where: {{/provider: {{equals: {MODEL}}}}}, then: allow")  # fmt: skip
    assert decide(make_judge(here), handing()).verdict.word == "allow"
    assert decide(make_judge(here), handing(host="docs.example")).rule == "delegated"


LOCKED = """\
version: 1
mcp:
  rules: [{id: nowhere, method: delegate, then: deny}]
"""


@pytest.mark.parametrize("url", [NAMED, UNNAMED], ids=["named", "unknown"])
def test_the_locked_layer_is_for_every_server(url: str, tmp_path: Path) -> None:
    floor = tmp_path / "locked.yaml"
    floor.write_text(LOCKED)
    text = POLICY.replace("unknown_servers: ask", "unknown_servers: allow\n  delegated: allow")
    judge = Judge(load_policy(text, file="p.yaml", locked=floor), scanner())
    outcome = decide(judge, handing(url))
    assert (outcome.verdict.word, outcome.rule, outcome.code) == ("deny", "nowhere", "locked")


WORDS = ("deny", "strip", "ask", "allow")
TIGHTER = {("strip", "deny"), ("ask", "deny"), ("allow", "ask"), ("allow", "strip"),
           ("allow", "deny")}  # fmt: skip


@pytest.mark.parametrize("before", WORDS)
@pytest.mark.parametrize("now", WORDS)
def test_a_laxer_word_is_told_to_the_operator(before: str, now: str) -> None:
    old, new = (make_judge(says(word)).policy for word in (before, now))
    wanted = before != now and (before, now) not in TIGHTER
    told = (f"mcp.delegated: {now}, was {before}",) if wanted else ()
    assert loosened(old, new) == told


def test_it_stands_in_the_inventory() -> None:
    judge = make_judge(says("strip"))
    decide(judge, handing(), handing(UNNAMED, authorization=KEY),
           post({"tools": [{"type": "mcp", "connector_id": "drive"}]}, MODEL))  # fmt: skip
    seen = {one.url: one for one in judge.inventory.seen()}
    assert set(seen) == {NAMED, "https://other.example/[redacted]", "connector:drive"}
    assert {one.transports for one in seen.values()} == {("delegated",)}
    assert seen[NAMED].server == "files"


def test_shadow_mode_lets_it_through_as_it_is() -> None:
    for word in ("ask", "deny", "strip"):
        outcome = decide(make_judge(says(word), shadow=True), handing())
        assert (outcome.enforced, outcome.effective.word) == (False, "allow")
        assert outcome.effective_edits == ()


# What the provider tells of the servers that it called


TOLD: dict[str, tuple[Any, Surface, str]] = {
    "OpenAI's list of tools": (
        {"output": [{"type": "mcp_list_tools", "tools": [{"description": INJECTION}]}]},
        Surface.DEFINITIONS, "/output/0/tools/0/description"),
    "OpenAI's result": (
        {"output": [{"type": "mcp_call", "name": "x", "output": INJECTION}]},
        Surface.RESULTS, "/output/0/output"),
    "Anthropic's result": (
        {"content": [{"type": "mcp_tool_result", "content": [{"text": INJECTION}]}]},
        Surface.RESULTS, "/content/0/content/0/text"),
    "Gemini's result": (
        {"outputs": [{"type": "mcp_server_tool_result", "result": INJECTION}]},
        Surface.RESULTS, "/outputs/0/result"),
    "what the model says itself": (
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": INJECTION}]}]},
        Surface.MODEL_REQUEST, "/output/0/content/0/text"),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "event"])
@pytest.mark.parametrize(("value", "surface", "pointer"), TOLD.values(), ids=TOLD)
def test_what_a_provider_tells_is_judged_as_if_it_came_from_the_server(
    value: Any, surface: Surface, pointer: str, stream: bool
) -> None:
    judge = make_judge()
    decide(judge, post({"model": "m"}, MODEL))
    outcome = decide(judge, event(value) if stream else answer(value))
    found = [f for f in outcome.findings if f.detector == "injection"]
    assert {(f.surface, f.pointer) for f in found} == {(surface, pointer)}
    stopped = surface is not Surface.MODEL_REQUEST
    assert (outcome.verdict.word != "allow") is stopped


LISTED = {"type": "mcp_list_tools", "server_label": "notes", "tools": [{"name": "read"}, {"x": 1}]}


@pytest.mark.parametrize(
    "told",
    [answer({"output": [{"type": "message"}, LISTED]}),
     event({"type": "response.output_item.done", "item": LISTED}),
     event({"type": "response.completed", "response": {"output": [LISTED]}})],
    ids=["whole", "item", "completed"],
)  # fmt: skip
def test_the_tools_that_a_provider_lists_stand_in_the_inventory(told: Any) -> None:
    judge = make_judge(ALLOWS)
    decide(judge, handing())
    decide(judge, told)
    assert [(one.url, one.tools) for one in judge.inventory.seen()] == [(NAMED, ("read",))]
    odd: Any
    for odd in ([], {"output": 1, "item": "x"}, {"output": [{**LISTED, "server_label": "other"}]}):
        decide(judge, answer({"a": odd, "b": "mcp_list_tools"}), answer(odd))
    assert [one.tools for one in judge.inventory.seen()] == [("read",)]


def test_a_judge_is_not_confused_by_any_of_this_in_mcp() -> None:
    judge: Judge = make_judge()
    outcome = decide(judge, mcp_call("get_x", {"tools": [{"type": "mcp", "server_url": UNNAMED}]}))
    assert (outcome.verdict.word, outcome.rule) == ("allow", "reads")
