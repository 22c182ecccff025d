"""The control API is what its OpenAPI document says, and the document is committed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from judging import call
from piping import Rig, make_rig
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    missing_required_header,
    positive_data_acceptance,
)
from starlette.testclient import TestClient

from mitmgate.control.models import State
from mitmgate.serve.api import ControlApi
from mitmgate.serve.openapi import document, text_of
from mitmgate.serve.routes import OPERATIONS
from mitmgate.serve.switch import KillSwitch

KEY = "an-operator-key-of-these-tests"
HEADERS = {"authorization": f"Bearer {KEY}"}
COMMITTED = Path(__file__).parents[2] / "docs" / "control-api.json"


def make_app(folder: Path) -> tuple[Any, Rig]:
    rig = make_rig()
    pipeline = rig.pipeline
    pipeline.judge_now(call("get_file", {"path": "a"}, exchange="abc-1"))

    def state() -> State:
        return State(version="0", listen="l", mode="enforce", policy="p", pending=0, operators=0,
                     decisions=pipeline.decisions, denied=0, healthy=True)  # fmt: skip

    switch = KillSwitch(pipeline, folder, lambda: 0)
    return ControlApi(pipeline, state, KEY, switch=switch).app(), rig


_folder = tempfile.TemporaryDirectory()
_app, _rig = make_app(Path(_folder.name))
_whole = schemathesis.openapi.from_asgi("/v1/openapi.json", _app)
schema = _whole.exclude(path="/v1/events")  # never ends: it has its own test below


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_what_the_document_says(case: Any) -> None:
    # Each case is sent with the key; what comes without it is a test of its own below.
    excluded = [ignored_auth, missing_required_header]
    if case.operation.path.startswith("/v1/pending/"):
        excluded.append(positive_data_acceptance)  # 422 too: a scope that the call has not
    answer = case.call(headers=HEADERS)
    if answer.status_code == 413:  # a right answer to what is wrong, and schemathesis knows it not
        assert answer.json()["code"] == "body_too_large"
        return
    case.validate_response(answer, excluded_checks=excluded)


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
    return TestClient(make_app(tmp_path)[0])


KEYED = [one for one in OPERATIONS if one.key]


@pytest.mark.parametrize("operation", KEYED, ids=[one.id for one in KEYED])
@pytest.mark.parametrize("key", [None, "Bearer x", f"Bearer {KEY[:-1]}", f"Basic {KEY}"])
def test_without_the_key_it_is_refused_before_anything_is_read(
    operation: Any, key: str | None, client: TestClient
) -> None:
    headers = {} if key is None else {"authorization": key}
    path = operation.path.replace("{id}", "abc-1.0")
    answer = client.request(operation.method, path, headers=headers, content=b"{")
    if answer.status_code == 404:  # stock mitmproxy has no such path
        assert operation.id in ("confirm", "preview")
        return
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
    rig = make_app(tmp_path)[1]
    api = ControlApi(rig.pipeline, lambda: State(
        version="0", listen="l", mode="enforce", policy="p", pending=0, operators=0,
        decisions=0, denied=0, healthy=True), KEY)  # fmt: skip
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
