"""Answers of the control API, and bodies that are not longer than they can be."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
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


async def parsed[T: BaseModel](request: Request, model: type[T]) -> T | Response:
    """Return the body of *request* as *model*, or the problem document that refuses it."""
    body = await bounded(request)
    if body is None:
        return problem(413, "body_too_large", f"An answer has at most {BODY_LIMIT} bytes.")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        return problem(422, "bad_request", "; ".join(e["msg"] for e in error.errors()))


def json_of(model: BaseModel, status: int = 200) -> Response:
    """Return *model* as an answer."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """Return an RFC 9457 problem document; *more* are members beyond the usual ones."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "code": code, "detail": detail, **more},
        status,
        media_type="application/problem+json",
    )
