"""Answers of the control API, and bodies that are not longer than they can be."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

BODY_LIMIT = 16 * 1024


async def bounded(request: Request) -> bytes | None:
    """Return the body of *request*, None where it is longer than an answer can be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return body


def json_of(model: BaseModel, status: int = 200) -> Response:
    """Return *model* as an answer."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def problem(status: int, code: str, detail: str) -> Response:
    """Return an RFC 9457 problem document."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "code": code, "detail": detail},
        status,
        media_type="application/problem+json",
    )
