"""What-if over the control socket: for operators, one at a time, with a bounded body."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_rows import READS, READS_ASK, changed_text, reads, recorded, write_audit
from judging import make_judge
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from mitmgate.control.whatif import MOST_TEXT, WhatIfView, sentence
from mitmgate.policy.source import PolicySource
from mitmgate.serve import whatif_api
from mitmgate.serve.whatif import whatif
from mitmgate.serve.whatif_api import WhatIfApi

OPERATOR = {"authorization": "Bearer k"}
type Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def api(tmp_path: Path) -> WhatIfApi:
    audit = write_audit(tmp_path, [recorded(one, now=time.time() - 60) for one in reads(3)])
    return WhatIfApi(
        make_judge(), PolicySource(None), audit,
        lambda request: request.headers.get("authorization") == OPERATOR["authorization"],
    )  # fmt: skip


@pytest.fixture
def ask(api: WhatIfApi) -> Ask:
    client = TestClient(Starlette(routes=[Route("/v1/whatif", api.ask, methods=["POST"])]))

    def asked(body: object, headers: dict[str, str] = OPERATOR) -> tuple[int, dict[str, Any]]:
        answered = client.post("/v1/whatif", json=body, headers=headers)
        found: dict[str, Any] = answered.json()
        return answered.status_code, found

    return asked


def test_an_operator_is_told_what_a_policy_would_have_changed(ask: Ask) -> None:
    status, told = ask({"policy": changed_text((READS, READS_ASK))})
    assert status == 200
    assert (told["exit"], told["asked"], told["decisions"], told["partial"]) == (1, 3, 3, False)
    said = sentence(WhatIfView.model_validate_json(json.dumps(told)))
    assert said == "in 1 day this would have asked for 3 more (3.0 a day) of 3 decisions"


# sentence: the body, the headers, the status, the code
REFUSED: dict[str, tuple[object, dict[str, str], int, str]] = {
    "without the key": ({"policy": ""}, {}, 403, "operator_key_required"),
    "a policy that is none": ({"policy": "version: 9"}, OPERATOR, 422, "unusable"),
    "no policy": ({}, OPERATOR, 422, "bad_request"),
    "a time that is too long": ({"policy": "", "seconds": 10**9}, OPERATOR, 422, "bad_request"),
    "an unknown key": ({"policy": "", "more": 1}, OPERATOR, 422, "bad_request"),
    "a text that is too long": ({"policy": "x" * 2 * MOST_TEXT, "more": "y" * 2000}, OPERATOR,
                                413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str, ask: Ask) -> None:
    body, headers, status, code = REFUSED[what]
    found, told = ask(body, headers)
    assert (found, told["code"]) == (status, code)


def test_without_an_audit_file_it_says_so(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "audit" / "audit.jsonl").unlink()
    assert ask({"policy": changed_text()}) == (422, {
        "type": "about:blank", "status": 422, "code": "unusable",
        "detail": "The audit file cannot be read: No such file or directory."})  # fmt: skip


def test_the_second_question_at_a_time_is_refused_and_the_loop_goes_on(
    api: WhatIfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Any:
        begun.set()
        assert go.wait(10)
        return whatif(*given, **more)

    monkeypatch.setattr(whatif_api, "whatif", slow)
    app = Starlette(routes=[Route("/v1/whatif", api.ask, methods=["POST"])])

    async def both() -> tuple[int, int]:
        import httpx

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            body = {"policy": changed_text()}
            first = asyncio.create_task(client.post("/v1/whatif", json=body, headers=OPERATOR))
            await asyncio.to_thread(begun.wait, 10)
            second = await client.post("/v1/whatif", json=body, headers=OPERATOR)
            go.set()
            return (await first).status_code, second.status_code

    assert asyncio.run(both()) == (200, 409)
