"""The control API is what its OpenAPI document says, and the document is committed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from judging import POLICY, call
from remembering import Gate, made
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    missing_required_header,
    positive_data_acceptance,
)
from starlette.requests import Request
from starlette.testclient import TestClient

from mitmgate.control.models import State
from mitmgate.serve import api as api_module
from mitmgate.serve.api import ControlApi, Past
from mitmgate.serve.openapi import document, text_of
from mitmgate.serve.routes import OPERATIONS
from mitmgate.serve.switch import KillSwitch

KEY = "an-operator-key-of-these-tests"
HEADERS = {"authorization": f"Bearer {KEY}"}
COMMITTED = Path(__file__).parents[2] / "docs" / "control-api.json"


def state() -> State:
    return State(version="0", listen="l", mode="enforce", policy="p", pending=0, operators=0,
                 decisions=0, denied=0, healthy=True)  # fmt: skip


def make_api(folder: Path) -> tuple[ControlApi, Gate]:
    """Return the API with everything that the program offers."""
    gate = made(folder, POLICY.replace("unattended: wait", "unattended: deny"))
    gate.pipeline.judge_now(call("get_file", {"path": "a"}, exchange="abc-1"))
    switch = KillSwitch(gate.pipeline, folder, lambda: 0)
    api = ControlApi(gate.pipeline, state, KEY, gate.reloader, switch=switch)
    audit = folder / "audit.jsonl"
    audit.touch()
    api.past = Past(audit, None, folder / "fixtures")
    return api, gate


_folder = tempfile.TemporaryDirectory()
_api, _gate = make_api(Path(_folder.name))
_whole = schemathesis.openapi.from_asgi("/v1/openapi.json", _api.app())
schema = _whole.exclude(path="/v1/events")  # never ends: it has its own test below
_numbers = count()


def entry() -> str:
    """Return the id of a call that nobody waits behind, so that it needs no loop."""
    kept = _gate.pipeline.holding.detached
    if not kept:
        _gate.pipeline.judge.halt = None
        number = next(_numbers)
        given = call("push", {"v": number}, exchange=f"p-{number}")
        asyncio.run(_gate.pipeline.decide(given, connection="c"))
    return next(iter(kept))


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_what_the_document_says(case: Any) -> None:
    # Each case is sent with the key; what comes without it is a test of its own below.
    excluded = [ignored_auth, missing_required_header]
    if case.operation.path == "/v1/whatif":
        excluded.append(positive_data_acceptance)  # 422 too: a policy with mistakes
    if case.operation.path.startswith("/v1/pending/"):
        excluded.append(positive_data_acceptance)  # 422 too: a scope that the call has not
        well_formed = case.meta.generation.mode is GenerationMode.POSITIVE
        if well_formed and next(_numbers) % 2:  # chance finds none that waits
            case.path_parameters["id"] = entry()
    answer = case.call(headers=HEADERS)
    if answer.status_code == 413:  # a right answer to what is wrong, and schemathesis knows it not
        assert answer.json()["code"] == "body_too_large"
        return
    case.validate_response(answer, excluded_checks=excluded)


TOOL = {"decision": "deny", "on": "tool"}
REAL: dict[str, tuple[str, str, Any, int]] = {
    "an approval": ("POST", "/v1/pending/{id}", {"decision": "allow"}, 200),
    "an approval for a time": (
        "POST", "/v1/pending/{id}", {"decision": "allow", "lasting": "time", "on": "call"}, 200),
    "a scope that there is not": (
        "POST", "/v1/pending/{id}", {"decision": "allow", "lasting": "time", "on": "url"}, 422),
    "another call": ("POST", "/v1/pending/{id}", {"decision": "allow", "fingerprint": "f"}, 409),
    "a preview": ("POST", "/v1/pending/{id}/preview", TOOL, 200),
    "for ever without a preview": (
        "POST", "/v1/pending/{id}", {**TOOL, "lasting": "ever", "preview": "x"}, 409),
    "what waits": ("GET", "/v1/pending", None, 200),
    "a row": ("GET", "/v1/rows/{id}", None, 200),
    "what is remembered": ("GET", "/v1/grants", None, 200),
    "the policy": ("GET", "/v1/policy", None, 200),
    "a policy that does not wait": ("POST", "/v1/policy/confirm", {"policy": "sha256:x"}, 409),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status"), REAL.values(), ids=REAL)
def test_an_answer_about_what_there_is(method: str, path: str, body: Any, status: int) -> None:
    rest = {} if body is None else {"body": body, "media_type": "application/json"}
    waiting = entry()
    case = _whole[path][method].Case(
        path_parameters={"id": waiting} if "{id}" in path else {}, **rest
    )
    answer = case.call(headers=HEADERS)
    assert answer.status_code == status
    case.validate_response(answer, excluded_checks=[ignored_auth, missing_required_header,
                                                    positive_data_acceptance])  # fmt: skip


def test_the_committed_document_is_that_of_the_program() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text_of(), "run: make docs"


def test_the_document_has_every_operation_once() -> None:
    described = {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {one.id: (one.method, one.path) for one in OPERATIONS}


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(make_api(tmp_path)[0].app())


KEYED = [one for one in OPERATIONS if one.key]


@pytest.mark.parametrize("operation", KEYED, ids=[one.id for one in KEYED])
@pytest.mark.parametrize("key", [None, "Bearer x", f"Bearer {KEY[:-1]}", f"Basic {KEY}"])
def test_without_the_key_it_is_refused_before_anything_is_read(
    operation: Any, key: str | None, client: TestClient
) -> None:
    headers = {} if key is None else {"authorization": key}
    path = operation.path.replace("{id}", "abc-1.0")
    answer = client.request(operation.method, path, headers=headers, content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (403, "operator_key_required")


REFUSED: dict[str, tuple[str, str, dict[str, str], bytes, int, str]] = {
    "an unknown path": ("GET", "/v1/nothing", {}, b"", 404, "not_found"),
    "an unknown method": ("PUT", "/v1/switch", {}, b"", 405, "method_not_allowed"),
    "HEAD of a stream": ("HEAD", "/v1/events", {}, b"", 405, ""),
    "a form": ("POST", "/v1/switch", {"content-type": "application/x-www-form-urlencoded"},
               b"on=true", 415, "not_json"),
    "no content type": ("POST", "/v1/switch", {}, b'{"on":true}', 415, "not_json"),
    "a word for a truth value": ("POST", "/v1/switch", {"content-type": "application/json"},
                                 b'{"on":"yes"}', 422, "bad_request"),
    "a body without end": ("POST", "/v1/switch", {"content-type": "application/json"},
                           b" " * 17_000, 413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"), REFUSED.values(), ids=REFUSED
)
def test_what_is_refused_is_a_problem_document(
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    code: str,
    client: TestClient,
) -> None:
    answer = client.request(method, path, headers=headers | HEADERS, content=body)
    assert answer.status_code == status
    if code:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == code
    if status == 405:
        offered = sorted(one.method for one in OPERATIONS if one.path == path)
        assert sorted(answer.headers["allow"].split(", ")) == offered


async def test_the_lines_of_the_event_stream_are_what_the_document_says(tmp_path: Path) -> None:
    api, rig = make_api(tmp_path)
    described = document()
    content = described["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]
    line_schema = content["application/x-ndjson"]["schema"]["contentSchema"]
    validator = jsonschema.Draft202012Validator({**line_schema, **described})
    lines: list[bytes] = []
    stream = api.events(operator=True)
    async for chunk in stream:
        lines += chunk.splitlines()
        if len(lines) >= 4:
            break
        rig.pipeline.judge_now(call("get_file", {"path": "a"}, exchange=f"e-{len(lines)}"))
        rig.pipeline.judge_now(call("drop", {"path": "a"}, exchange=f"d-{len(lines)}"))
    for line in lines:
        validator.validate(json.loads(line))
    assert {json.loads(line)["type"] for line in lines} >= {"snapshot", "row"}


def test_the_document_is_made_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/v1/openapi.json")
    monkeypatch.setattr(api_module, "text_of", lambda _: pytest.fail("made again"))
    assert client.get("/v1/openapi.json").text == first.text


async def test_so_many_read_along_and_none_takes_the_place_of_an_operator(tmp_path: Path) -> None:
    api, gate = make_api(tmp_path)

    def asks(key: str | None) -> Request:
        headers = [] if key is None else [(b"authorization", f"Bearer {key}".encode())]
        return Request({"type": "http", "headers": headers})

    with ExitStack() as readers:
        for _ in range(api_module.MOST_READERS):
            assert (await api.get_events(asks(None))).status_code == 200
            readers.enter_context(gate.pipeline.hub.attached(operator=False))
        refused = await api.get_events(asks(None))
        assert (refused.status_code, b"too_many_readers" in refused.body) == (503, True)
        for _ in range(api_module.MOST_OPERATORS):
            assert (await api.get_events(asks(KEY))).status_code == 200
            readers.enter_context(gate.pipeline.hub.attached(operator=True))
        assert (await api.get_events(asks(KEY))).status_code == 503
    assert (await api.get_events(asks(None))).status_code == 200


async def test_rules_of_operators_are_told_with_the_key_only(tmp_path: Path) -> None:
    api, gate = make_api(tmp_path)
    await gate.ruled(call("push", {"v": 1}, exchange="a"))
    await gate.say("a.0")
    gate.pipeline.judge_now(call("unknown_tool", exchange="b"))
    client = TestClient(api.app())
    public, mine = (client.get("/v1/rules", headers=one).json()["rules"] for one in ({}, HEADERS))
    assert "ever-allow-push" in {rule["id"] for rule in mine}
    assert "ever-allow-push" not in {rule["id"] for rule in public}
    hits = {rule["section"]: rule["hits"] for rule in public if rule["id"] == "otherwise"}
    assert hits == {"mcp": 1, "egress": 0}
