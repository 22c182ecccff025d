"""How far a request is read before it is judged, and what is said of one that is not read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import make_judge, scanner, with_scan

from mitmgate.judge.codec import decode_input, encode_input
from mitmgate.judge.handling import NEVER, PEEK, may_be_message, read_until
from mitmgate.judge.inputs import AnswerInput, RequestInput, Tunnel
from mitmgate.judge.judge import Judge
from mitmgate.judge.limits import Limits
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.record.redact import Redactor
from mitmgate.wire.http import AnswerHead, RequestHead

KB, MB = 1024, 1024 * 1024
WHOLE = 32 * MB
POLICY = """\
version: 1
servers: {files: {url: "https://files.example/mcp"}}
egress:
  rules:
    - {id: no-put, host: docs.example, methods: [PUT], paths: /read, then: deny}
    - {id: small, host: docs.example, paths: /small, max_request: 1MB, then: allow}
    - {id: counted, host: docs.example, paths: /counted, inspect: headers, max_session: 80MB,
       then: allow}
    - {id: large, host: docs.example, paths: /large, inspect: headers, then: allow}
    - {id: asked, host: docs.example, paths: /asked, inspect: headers, then: ask}
    - {id: agents, host: agents.example, protocol: a2a, then: allow}
    - {id: model, host: api.openai.com, inspect: headers, then: allow}
    - {id: closed, host: closed.example, inspect: none, then: allow}
    - {id: docs, host: docs.example, then: allow}
  otherwise: deny
"""
BYTES = bytes(range(1, 256)) * 300


def request(
    url: str, method: str = "PUT", *, size: int, come: bytes = b"", **headers: str
) -> RequestInput:
    """Return a request of HOST/PATH whose body has *size* bytes, *come* of which are here."""
    host, slash, path = url.partition("/")
    fields = {"content-length": str(size)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    listed = tuple((name, value) for name, value in fields.items() if value)
    head = RequestHead(method, "https", host, 443, slash + path, listed)
    tunnel = Tunnel(f"{host}:443", host)
    return RequestInput("x", "10.0.0.9", head, host, come[:PEEK], tunnel, unread=size)


def until(given: RequestInput, *, shadow: bool = False, policy: str = POLICY) -> int | None:
    loaded = load_policy(policy, file="p")
    return read_until(loaded, Limits(), given, shadow=shadow, now=0.0)


JSON = "application/json"
LINES = json.dumps({"a": "b" * 100}).encode() + b"\n"
# sentence: the request, after how many bytes to ask again; None: it is judged now
HOW_FAR: dict[str, tuple[RequestInput, int | None]] = {
    "a small one is read, also where its host is not open": (
        request("paste.example/x", size=64 * KB), PEEK),
    "a larger one to a host that is not open": (
        request("paste.example/x", size=64 * KB + 1), None),
    "a small one whose client waits": (
        request("paste.example/x", size=10, expect="100-continue"), None),
    "a small POST whose client waits may be OAuth": (
        request("paste.example/x", "POST", size=10, expect="100-continue"), PEEK),
    "a POST of JSON may be MCP": (
        request("paste.example/x", "POST", size=MB, content_type=JSON), PEEK),
    "a POST of nothing that is named may be MCP": (
        request("paste.example/x", "POST", size=MB), PEEK),
    "a POST of bytes is none": (
        request("paste.example/x", "POST", size=MB, content_type="image/png"), None),
    "a POST that begins as JSON": (
        request("paste.example/x", "POST", size=MB, content_type=JSON, come=b'{"a":' * PEEK),
        WHOLE),
    "a POST that begins as something else": (
        request("paste.example/x", "POST", size=MB, content_type=JSON, come=BYTES), None),
    "a compressed POST may be MCP": (
        request("paste.example/x", "POST", size=MB, content_type=JSON, content_encoding="gzip",
                come=BYTES), WHOLE),
    "an endpoint of MCP": (
        request("files.example/mcp", "POST", size=99 * MB, content_type=JSON), NEVER),
    "a path beside it": (request("files.example/x", "POST", size=99 * MB), None),
    "a method that is denied": (request("docs.example/read", size=MB), None),
    "an open host": (request("docs.example/x", size=MB), WHOLE),
    "more than is read": (request("docs.example/x", size=WHOLE + 1), None),
    "as much as is read": (request("docs.example/x", size=WHOLE), WHOLE),
    "more than the rule lets through": (request("docs.example/small", size=MB + 1), None),
    "so far no more than the rule lets through": (
        request("docs.example/small", size=100 * KB, come=BYTES, content_length=""), MB),
    "more than the rule lets through, as JSON": (
        request("docs.example/small", "POST", size=2 * MB, content_type=JSON), PEEK),
    "a rule for A2A, whose requests are JSON": (
        request("agents.example/x", "POST", size=MB, content_type=JSON), PEEK),
    "a rule for A2A may open another method": (request("agents.example/x", size=MB), WHOLE),
    "what may pass unread is looked into": (request("docs.example/large", size=WHOLE + 1), PEEK),
    "and judged then": (request("docs.example/large", size=WHOLE + 1, come=BYTES), None),
    "what may pass unread is read where it is small": (
        request("docs.example/large", size=WHOLE), WHOLE),
    "a rule that keeps TLS closed reads what is open": (
        request("closed.example/x", size=WHOLE + 1), None),
    "names that differ": (
        replace(request("docs.example/x", size=MB), authority="other.example"), None),
    "a head with two readings": (
        request("docs.example/x", size=MB, content_length="1", transfer_encoding="chunked"), None),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), HOW_FAR.values(), ids=HOW_FAR)
def test_how_far_a_request_is_read(given: RequestInput, expected: int | None) -> None:
    assert until(given) == expected


def test_in_shadow_mode_nothing_is_judged_early() -> None:
    assert until(request("paste.example/x", size=MB), shadow=True) == WHOLE
    assert until(request("docs.example/small", size=2 * MB), shadow=True) == WHOLE
    assert until(request("docs.example/x", size=WHOLE + 1), shadow=True) is None


def test_without_good_credentials_nothing_is_read() -> None:
    policy = POLICY.replace("version: 1\n", "version: 1\nnetwork: {require_agents: true}\n")
    assert until(request("docs.example/x", size=MB), policy=policy) is None


def judged(given: RequestInput, *, shadow: bool = False) -> Outcome:
    judge = Judge(load_policy(POLICY, file="p"), scanner(), shadow=shadow)
    outcome = judge.conclude(judge.prepare(given), now=0.0)
    assert outcome is not None
    return outcome


LARGE = WHOLE + 1
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}})
HANDED = ("deny", "ambiguous_delegation", "ambiguous_delegation")
# sentence: the request, verdict, code, rule
UNREAD: dict[str, tuple[RequestInput, str, str, str]] = {
    "by its rule": (request("docs.example/large", size=LARGE, come=BYTES), "allow", "rule",
                    "large"),
    "by a rule that asks": (request("docs.example/asked", size=LARGE, come=BYTES), "ask", "rule",
                            "asked"),
    "lines of JSON": (request("docs.example/large", "POST", size=LARGE, come=LINES * 999), "allow",
                      "rule", "large"),
    "parts, which cannot be cut": (
        request("docs.example/large", "POST", size=LARGE, come=b"--x\r\n\r\n" + BYTES,
                content_type="multipart/form-data; boundary=x"), "allow", "rule", "large"),
    "without such a rule": (request("docs.example/x", size=LARGE, come=BYTES), "deny",
                            "body_too_large", "body_too_large"),
    "where the rule keeps TLS closed": (request("closed.example/x", size=LARGE, come=BYTES),
                                        "deny", "body_too_large", "body_too_large"),
    "by a rule that came when nothing of it had been read": (
        request("docs.example/large", size=LARGE), "deny", "body_too_large", "body_too_large"),
    "by such a rule, too little of it": (
        request("docs.example/large", size=LARGE, come=BYTES[: PEEK - 1]), "deny",
        "body_too_large", "body_too_large"),
    "where no rule opens the host": (request("paste.example/x", size=LARGE), "deny", "otherwise",
                                     "otherwise"),
    "what could be a call": (request("docs.example/large", size=LARGE, come=CALL.encode()),
                             "deny", "ambiguous_message", "ambiguous_message"),
    "what could become one": (
        request("docs.example/large", "POST", size=LARGE, come=b'{"a": "' + b"b" * PEEK),
        "deny", "ambiguous_message", "ambiguous_message"),
    "what is compressed": (
        request("docs.example/large", size=LARGE, come=BYTES, content_encoding="gzip"), "deny",
        "body_too_large", "body_too_large"),
    "bytes to a model API": (
        request("api.openai.com/large", size=LARGE, come=BYTES, content_type="audio/wav"), "allow",
        "rule", "model"),
    "parts to a model API": (
        request("api.openai.com/x", "POST", size=LARGE, come=BYTES,
                content_type="multipart/form-data; boundary=x"), *HANDED),
    "parts to a model API that are called bytes": (
        request("api.openai.com/x", "POST", size=LARGE, come=b"--x\r\n\r\n" + BYTES,
                content_type="application/octet-stream"), *HANDED),
    "lines of JSON to a model API": (
        request("api.openai.com/x", "POST", size=LARGE, come=LINES * 999), *HANDED),
    "the middle of lines of JSON to a model API": (
        request("api.openai.com/x", size=LARGE, come=LINES[50:] * 999), *HANDED),
    "text of UTF-8 to a model API that is cut within a character": (
        request("api.openai.com/x", size=LARGE, come=b"a" + "ü".encode() * PEEK), *HANDED),
    "bytes to a model API that are called JSON": (
        request("api.openai.com/x", size=LARGE, come=BYTES, content_type=JSON), *HANDED),
    "MCP servers in lines of JSON to a host of no model API": (
        request("docs.example/large", "POST", size=LARGE,
                come=b'{"mcp_servers": [{"type": "url", "url": "https://evil.example/mcp", '
                     b'"name": "x"}], "messages": []}\n' + LINES * 999), *HANDED),
    "MCP servers in bytes to a model API": (
        request("api.openai.com/x", "POST", size=LARGE, content_type="audio/wav",
                come=b"\xff" + b'{"tools": [{"type": "mcp", "server_label": "x", "server_url": '
                     b'"https://evil.example/mcp"}]}' + BYTES), *HANDED),
    "what has no length, where a rule counts": (
        request("docs.example/counted", size=LARGE, come=BYTES, content_length=""), "deny",
        "request_too_large", "request_too_large"),
    "what has one, where a rule counts": (
        request("docs.example/counted", size=LARGE, come=BYTES), "allow", "rule", "counted"),
    "more than a rule lets through in an hour": (
        request("docs.example/counted", size=90 * MB, come=BYTES), "deny", "session_budget",
        "counted"),
    "metadata of a server with a body": (
        request("files.example/.well-known/oauth-protected-resource", "GET", size=LARGE), "deny",
        "otherwise", "otherwise"),
    "an endpoint of MCP": (request("files.example/mcp", "POST", size=LARGE), "deny",
                           "body_too_large", "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "verdict", "code", "rule"), UNREAD.values(), ids=UNREAD)
def test_what_is_not_read_is_judged_by_its_head(
    given: RequestInput, verdict: str, code: str, rule: str
) -> None:
    outcome = judged(given)
    assert (outcome.verdict.word, outcome.code, outcome.rule) == (verdict, code, rule)
    assert "body-unread" in outcome.subject.tags
    assert outcome.subject.channel == ("mcp" if "/mcp" in given.head.target else "egress")


@pytest.mark.parametrize("case", UNREAD)
def test_shadow_mode_lets_nothing_pass_unread_but_by_its_rule(case: str) -> None:
    given = UNREAD[case][0]
    outcome = judged(given, shadow=True)
    open_rule = given.head.path in ("/large", "/asked", "/counted")
    open_rule &= UNREAD[case][1:] != HANDED
    assert outcome.effective is Verdict.DENY or open_rule


UPGRADES = {
    "of a socket": {"upgrade": "websocket", "sec_websocket_key": "x"},
    "of a socket that has only its key": {"sec_websocket_key": "x"},
    "of something else": {"upgrade": "h2c"},
}


@pytest.mark.parametrize("fields", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("come", [b"", BYTES], ids=["before its body", "with its beginning"])
@pytest.mark.parametrize("shadow", [False, True])
def test_an_upgrade_with_a_body_that_is_not_read_is_refused(
    fields: dict[str, str], come: bytes, *, shadow: bool
) -> None:
    asked = request("docs.example/large", "GET", size=LARGE, come=come, **fields)
    outcome = judged(asked, shadow=shadow)
    assert (outcome.effective, outcome.code) == (Verdict.DENY, "upgrade_refused")


STARTS: dict[str, tuple[bytes, bool]] = {
    "bytes": (BYTES, False),
    "nothing but NULs": (bytes(100), False),
    "blanks": (b" \n" * 50, True),
    "blanks of UTF-16": (" ".encode("utf-16-le") * 50, True),
    "text": (b"hello", False),
    "a whole object": (b'{"a": 1}', True),
    "a whole object and blanks": (b'{"a": 1} \n\n', True),
    "an object without end": (b'{"a": "b', True),
    "a list without end": (b"[1, 2, ", True),
    "lines": (b'{"a": 1}\n{"b": 2}\n', False),
    "lines with a call": (CALL.encode() + b'\n{"b": 2}', True),
    "a call of UTF-16": (CALL.encode("utf-16"), True),
    "a comment": (b"# a script", False),
    "a comment before a call": (b"// x\n" + CALL.encode(), True),
    "deep nesting": (b"[" * 60_000, True),
}


@pytest.mark.parametrize(("start", "may"), STARTS.values(), ids=STARTS)
def test_what_may_be_a_message(start: bytes, may: bool) -> None:
    assert may_be_message(start) is may


HOSTS = st.sampled_from(["docs.example", "paste.example", "agents.example", "closed.example"])
PATHS = st.sampled_from(["/x", "/read", "/small", "/counted", "/large", "/asked/%2e"])
KINDS = st.sampled_from(["", JSON, "image/png", "text/plain", "multipart/form-data; boundary=x"])


@given(
    host=HOSTS,
    path=PATHS,
    kind=KINDS,
    method=st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"]),
    size=st.integers(0, 100 * MB),
    start=st.sampled_from([b"", BYTES, LINES * 999, CALL.encode() * 999, b"{" * PEEK]),
    declared=st.booleans(),
    waits=st.booleans(),
)
def test_what_is_judged_unread_is_denied_or_may_pass(
    host: str, path: str, kind: str, method: str, size: int, start: bytes, declared: bool,
    waits: bool,
) -> None:  # fmt: skip
    size = max(size, len(start))
    asked = request(host + path, method, size=size, come=start, content_type=kind,
                    content_length=str(size) if declared else "",
                    expect="100-continue" if waits else "")  # fmt: skip
    found = until(asked)
    if found is not None:
        assert found >= PEEK
        return
    outcome = judged(asked)
    large = size > WHOLE and path in ("/large", "/asked/%2e", "/counted")
    assert outcome.verdict is Verdict.DENY or large


def test_an_answer_that_is_not_read_is_judged_by_its_head() -> None:
    judge = make_judge()
    asked = replace(request("docs.example/x", "GET", size=0), unread=None)
    judge.conclude(judge.prepare(asked), now=0.0)
    secret = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"
    head = AnswerHead(200, (("content-type", "application/octet-stream"), ("x-key", secret)))
    outcome = judge.conclude(judge.prepare(AnswerInput("x", head, unread=LARGE)), now=0.0)
    assert outcome is not None
    assert [finding.pointer for finding in outcome.findings] == ["#header/x-key"]


@pytest.mark.parametrize(("unread", "verdict"), [(None, "ask"), (0, "deny"), (LARGE, "deny")])
def test_nobody_is_asked_about_an_answer_that_is_not_read(unread: int | None, verdict: str) -> None:
    judge = make_judge(with_scan("{secrets: {egress_response: ask}}"))
    asked = replace(request("docs.example/x", "GET", size=0), unread=None)
    judge.conclude(judge.prepare(asked), now=0.0)
    secret = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"
    head = AnswerHead(200, (("content-type", "application/octet-stream"), ("x-key", secret)))
    outcome = judge.conclude(judge.prepare(AnswerInput("x", head, unread=unread)), now=0.0)
    assert outcome is not None
    assert (outcome.verdict.word, outcome.code) == (verdict, "finding")
    assert ("nothing can wait here" in outcome.reason) is (verdict == "deny")


@pytest.mark.parametrize("unread", [None, 0, LARGE])
def test_captures_keep_how_much_was_not_read(unread: int | None) -> None:
    redactor = Redactor(scanner(), key=b"k" * 32)
    asked = replace(request("docs.example/x", size=5, come=b"hello you"), unread=unread)
    answer = AnswerInput("x", AnswerHead(200), b"hello you", unread)
    for one in (asked, answer):
        stored = json.loads(json.dumps(encode_input(one, redactor)))
        back = decode_input(stored, "x", scanner().sample_for)
        assert isinstance(back, RequestInput | AnswerInput)
        assert (back.unread, back.body) == (
            unread, b"hello you" if unread is None else b"hello xxx")  # fmt: skip


@pytest.mark.parametrize("before", ["a text that is cut in ", "a=b&key=", '{"key":"'])
def test_of_a_secret_that_is_cut_captures_keep_nothing(before: str) -> None:
    secret = "ghp_" + "aB3dE6gH9jK2mN5p"  # of 40 characters
    for form in ("text/plain", "application/x-www-form-urlencoded", JSON):
        asked = request("docs.example/x", size=LARGE, come=f"{before}{secret}".encode(),
                        content_type=form)  # fmt: skip
        stored = json.dumps(encode_input(asked, Redactor(scanner(), key=b"k" * 32)))
        assert secret[4:] not in stored
        whole = json.dumps(encode_input(replace(asked, unread=None), Redactor(scanner(), key=b"k")))
        # Whole it is no key: a stand-in for what looks random, where no name says more of it.
        assert "0000000" in whole or before.endswith(("=", '"')), "the control"


CARD = "docs.example/.well-known/agent-card.json"
OCTETS = (("content-type", "application/octet-stream"),)
# sentence: the request that is answered, the head of the answer, whether it passes unread
ANSWERS: dict[str, tuple[RequestInput, AnswerHead, bool]] = {
    "bytes": (request("docs.example/x", "GET", size=0), AnswerHead(200, OCTETS), True),
    "text": (request("docs.example/x", "GET", size=0), AnswerHead(200), True),
    "a stream of events to some": (
        request("docs.example/x", "GET", size=0),
        AnswerHead(200, (("content-type", "image/png;x=Text/Event-Stream"),)), False),
    "a stream of events to others": (
        request("docs.example/x", "GET", size=0),
        AnswerHead(200, (*OCTETS, ("content-type", "text/event-stream"))), False),
    "an agent card": (request(CARD, "GET", size=0), AnswerHead(200, OCTETS), False),
    "the card of a server": (
        request("docs.example/x", "GET", size=0),
        AnswerHead(200, (("content-type", "application/mcp-server-card+json"),)), False),
    "an answer of MCP": (
        request("files.example/mcp", "GET", size=0, accept="text/event-stream"),
        AnswerHead(200, OCTETS), False),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "head", "passes"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_judged_by_what_it_says_is_read(
    asked: RequestInput, head: AnswerHead, passes: bool
) -> None:
    judge = make_judge()
    first = judge.conclude(judge.prepare(replace(asked, unread=None)), now=0.0)
    assert first is not None
    assert first.verdict is Verdict.ALLOW, first.reason
    outcome = judge.conclude(judge.prepare(AnswerInput("x", head, unread=LARGE)), now=0.0)
    assert outcome is not None
    assert (outcome.verdict is Verdict.ALLOW) is passes
    assert passes or outcome.code == "body_too_large"
