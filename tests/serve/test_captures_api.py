"""A row becomes a capture over the control socket, where its bodies were kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from audit_rows import changed_policy, reads, write_capture
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from mitmgate.serve.captures_api import CapturesApi
from mitmgate.serve.replaying import run_files

OPERATOR = {"authorization": "Bearer k"}


def asked(folder: Path, body: object, headers: dict[str, str] = OPERATOR) -> tuple[int, Any]:
    captures = folder / "captures"
    api = CapturesApi(
        captures if captures.exists() else None, folder / "fixtures",
        lambda request: request.headers.get("authorization") == OPERATOR["authorization"],
    )  # fmt: skip
    client = TestClient(Starlette(routes=[Route("/v1/captures", api.make, methods=["POST"])]))
    answered = client.post("/v1/captures", json=body, headers=headers)
    return answered.status_code, answered.json()


@pytest.mark.parametrize("row", ["r-2.0", "r-2"])
def test_a_row_becomes_a_capture_that_replays_the_same(row: str, tmp_path: Path) -> None:
    write_capture(tmp_path / "captures", reads(4))
    status, made = asked(tmp_path, {"id": row})
    assert (status, made) == (200, {"path": str(tmp_path / "fixtures" / "r-2.jsonl"), "carried": 0})
    compared = run_files([Path(made["path"])], changed_policy())
    assert (compared.exchanges, compared.exit_code) == (1, 0)


REFUSED: dict[str, tuple[object, dict[str, str], int, str]] = {
    "without the key": ({"id": "r-2"}, {}, 403, "operator_key_required"),
    "a row that no capture has": ({"id": "zz-9.0"}, OPERATOR, 409, "not_kept"),
    "a path": ({"id": "../../x"}, OPERATOR, 422, "bad_request"),
    "no id": ({}, OPERATOR, 422, "bad_request"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str, tmp_path: Path) -> None:
    body, headers, status, code = REFUSED[what]
    write_capture(tmp_path / "captures", reads(3))
    found, told = asked(tmp_path, body, headers)
    assert (found, told["code"]) == (status, code)
    assert not (tmp_path / "fixtures").exists()


def test_without_captures_it_says_what_to_do(tmp_path: Path) -> None:
    status, told = asked(tmp_path, {"id": "r-2"})
    assert (status, told["code"], "--capture DIR" in told["detail"]) == (409, "not_kept", True)


def test_a_capture_that_is_there_is_kept(tmp_path: Path) -> None:
    write_capture(tmp_path / "captures", reads(3))
    assert asked(tmp_path, {"id": "r-1"})[0] == 200
    before = (tmp_path / "fixtures" / "r-1.jsonl").read_bytes()
    status, told = asked(tmp_path, {"id": "r-1"})
    assert (status, told["code"]) == (409, "not_written")
    assert (tmp_path / "fixtures" / "r-1.jsonl").read_bytes() == before
