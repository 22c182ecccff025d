"""What an operator may look at closer: rows, rules, times, and what differs from before."""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import KEY, SERVER, answer, call, event, post, request, result
from piping import Capture, Rig, first_pending, make_rig
from starlette.testclient import TestClient

from mitmgate.control.models import State
from mitmgate.serve.api import ControlApi
from mitmgate.serve.changes import Approved
from mitmgate.serve.detail import shortened
from mitmgate.serve.exhibits import Exhibits
from mitmgate.serve.health import KEPT, Times
from mitmgate.serve.switch import KillSwitch
from mitmgate.serve.waiting import Given

OPERATOR = {"authorization": "Bearer an-operator-key"}
SECRET_HEADERS = (
    ("content-type", "application/json"), ("authorization", f"Bearer {KEY}"),
    ("cookie", "session=hush"), ("x-api-key", KEY),
)  # fmt: skip


@pytest.fixture
def rig() -> Rig:
    return make_rig()


@pytest.fixture
def client(rig: Rig, tmp_path: Path) -> TestClient:
    def state() -> State:
        return State(version="0", listen="l", mode="enforce", policy="p", pending=0, operators=0,
                     decisions=0, denied=0, healthy=True)  # fmt: skip

    switch = KillSwitch(rig.pipeline, tmp_path, lambda: 0)
    return TestClient(ControlApi(rig.pipeline, state, "an-operator-key", switch=switch).app())


def detail(client: TestClient, row: str) -> dict[str, Any]:
    answered = client.get(f"/v1/rows/{row}", headers=OPERATOR)
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def test_a_row_has_its_request_its_answer_and_why(rig: Rig, client: TestClient) -> None:
    rig.pipeline.judge_now(call("get_x", {"path": "a"}, exchange="e-1"))
    rig.pipeline.judge_now(answer(result({"content": []}), exchange="e-1"))
    shown = detail(client, "e-1.0")
    assert shown["row"]["tool"] == "get_x"
    assert shown["request"]["body"]["params"] == {"name": "get_x", "arguments": {"path": "a"}}
    assert (shown["request"]["method"], shown["request"]["url"]) == (
        "POST", f"https://{SERVER}/mcp",
    )  # fmt: skip
    assert (shown["answer"]["status"], shown["answer"]["body"]["result"]) == (200, {"content": []})
    assert shown["trace"][0].startswith("allow by reads")
    assert "   no-force: the tool is not push" in shown["trace"]
    assert "-> reads: every condition holds" in shown["trace"]


def test_a_request_that_is_not_mcp_says_which_rules_were_tried(
    rig: Rig, client: TestClient
) -> None:
    rig.pipeline.judge_now(request("GET", "paste.example", "/a?b=c", exchange="e-1"))
    shown = detail(client, "e-1.0")
    assert shown["trace"][-1] == "-> paste: every condition holds"
    assert shown["request"]["url"] == "https://paste.example/a?b=c"


def test_no_secret_is_shown_nor_copied(rig: Rig, client: TestClient) -> None:
    given = post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "get_x", "arguments": {"a": KEY, "password": "hush"}}},
        headers=SECRET_HEADERS, exchange="e-1")  # fmt: skip
    rig.pipeline.judge_now(given)
    rig.pipeline.judge_now(answer(result({"token": "hush", "text": KEY}), exchange="e-1"))
    rig.pipeline.judge_now(event(result({"text": KEY}), exchange="e-1"))
    shown = detail(client, "e-1.0")
    assert KEY not in json.dumps(shown)
    assert "hush" not in json.dumps(shown)
    assert len(shown["events"]) == 1
    words = shlex.split(shown["curl"])
    assert words[:5] == ["curl", "--globoff", "-X", "POST", f"https://{SERVER}/mcp"]
    assert not any("authorization" in word or "cookie" in word for word in words)
    assert "content-type: application/json" in words


def test_what_is_not_kept_is_404(rig: Rig, client: TestClient) -> None:
    rig.pipeline.judge_now(call("get_x", exchange="e-1"))
    for row in ("e-1.7", "e-2.0", "e-1", "x", "e-1.", "e-1.\u0661", "e-1.99999999999999"):
        refused = client.get(f"/v1/rows/{row}", headers=OPERATOR)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_kept"), row
    assert client.get("/v1/rows/e-1.0").status_code == 403


def test_a_long_text_is_cut_inside_and_says_how_long_it_was() -> None:
    shown = shortened({"a": "x" * 5_000_000, "b": list(range(1000)), "c": 1})
    assert shown["a"].endswith("… (5000000 characters in all)")
    assert (len(shown["a"]) < 20_000, shown["b"][-1], shown["c"]) == (True, "… (500 items more)", 1)


def test_what_is_kept_is_bounded_by_bytes_and_by_number(rig: Rig) -> None:
    kept = Exhibits(most_bytes=100_000, most=5)
    judged = rig.pipeline.judge_now(call("get_x", exchange="e-0"))
    assert judged is not None
    policy, outcome = rig.pipeline.judge.policy, judged.outcome
    for number in range(20):
        one = replace(outcome, exchange=f"e-{number}")
        kept.add(call("get_x", {"a": "x" * 30_000}, exchange=one.exchange), one, policy, 0.0)
        assert kept.bytes <= 100_000
        assert len(kept) <= 5
    assert kept.find("e-19.0") is not None
    assert kept.find("e-0.0") is None
    kept.add(call("get_x", {"a": "x" * 200_000}, exchange="e-99"),
             replace(outcome, exchange="e-99"), policy, 0.0)  # fmt: skip
    assert (len(kept), kept.bytes) == (0, 0)


def test_rules_tell_how_often_they_decided(rig: Rig, client: TestClient) -> None:
    for number in range(3):
        rig.pipeline.judge_now(call("get_x", exchange=f"e-{number}"))
    rules = {rule["id"]: rule for rule in client.get("/v1/rules").json()["rules"]}
    reads, never = rules["reads"], rules["no-force"]
    assert (reads["hits"], reads["never"], reads["last_hit"] > 1e9) == (3, False, True)
    assert (never["hits"], never["never"], never["last_hit"]) == (0, True, None)
    assert (never["section"], never["verdict"], never["layer"]) == ("mcp.rules", "deny", "policy")
    assert never["text"].splitlines()[:2] == ["id: no-force", "tool: push"]
    assert rules["docs"]["text"].splitlines()[1] == 'host: "docs.example"'
    assert [rule for rule in client.get("/v1/rules").json()["rules"] if rule["id"] == "otherwise"]


def test_health_tells_times_and_numbers(rig: Rig, client: TestClient) -> None:
    asyncio.run(rig.pipeline.decide(call("get_x", exchange="e-1"), connection="c"))
    health = client.get("/v1/health").json()
    assert set(health["stages"]) == {"prepare", "conclude", "record", "whole"}
    assert all(0 < one["p50"] <= one["p95"] < 5 for one in health["stages"].values())
    assert health["calls_per_second"] > 0
    assert (health["audit"], health["policy"], health["halt"]["on"]) == (None, None, False)
    rig.audit.broken = True
    rig.pipeline.judge_now(call("get_x", exchange="e-2"))
    assert "cannot be written" in client.get("/v1/health").json()["audit"]


def test_health_tells_what_is_missing_in_the_capture(rig: Rig, client: TestClient) -> None:
    assert client.get("/v1/health").json()["capture"] is None
    rig.pipeline._capture = capture = Capture()
    capture.failure = "cannot be written: No space left on device"  # type: ignore[attr-defined]
    capture.dropped = 3  # type: ignore[attr-defined]
    assert client.get("/v1/health").json()["capture"] == (
        "cannot be written: No space left on device; 3 inputs did not fit and were left out"
    )


def test_the_rate_of_calls_forgets_and_does_not_grow() -> None:
    times = Times()
    for number in range(3 * KEPT):
        times.called(number / 1000, number / 1000)
    assert 900 < times.rate(3.0) < 1100
    assert times.rate(60.0) == 0.0
    assert len(times.whole.values()) == KEPT


async def test_a_call_tells_how_it_differs_from_the_last_approved_one(rig: Rig) -> None:
    async def asked(arguments: dict[str, Any], reply: str, exchange: str) -> Any:
        given = call("push", arguments, exchange=exchange)
        task = asyncio.create_task(rig.pipeline.decide(given, connection="c"))
        held = await first_pending(rig.pipeline)
        changed = rig.pipeline.pending[held].changed
        rig.pipeline.answer(held, Given("allow" if reply == "allow" else "deny", "console"))
        await task
        if changed is None:
            return None
        return [(one.pointer, one.before, one.after) for one in changed]

    assert await asked({"a": 1, "b": [1, 2]}, "allow", "e-1") is None
    assert await asked({"a": 1, "b": [1, 2]}, "deny", "e-2") == []
    assert await asked({"a": 2, "b": [1]}, "deny", "e-3") == [
        ("/arguments/a", 1, 2), ("/arguments/b/1", 2, None),
    ]  # fmt: skip
    assert await asked({"c/d": "x"}, "allow", "e-4") == [
        ("/arguments/a", 1, None), ("/arguments/b", [1, 2], None), ("/arguments/c~1d", None, "x"),
    ]  # fmt: skip
    rig.pipeline.close()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(before=st.dictionaries(st.text(max_size=3), _JSON), after=_JSON)
def test_only_what_is_equal_has_no_difference(before: Any, after: Any) -> None:
    rig_row = _ROW
    approved = Approved()
    approved.note(rig_row.row, {"arguments": before})
    compared = approved.compared(
        rig_row.model_copy(update={"arguments": {"arguments": after, "_meta": {"t": 1}}})
    )
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert compared.changed is not None
    assert (compared.changed == ()) is same


def _a_pending() -> Any:
    from mitmgate.control.models import Pending
    from mitmgate.serve.views import row_of

    rig = make_rig()
    judged = rig.pipeline.judge_now(call("push", {"a": 1}))
    assert judged is not None
    row = row_of(judged.outcome, time=0.0, scanner=rig.pipeline.judge.scanner)
    return Pending(id="x.0", row=row, since=0.0, deadline=1.0)


_ROW = _a_pending()
