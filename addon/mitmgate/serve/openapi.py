"""The OpenAPI document (3.1.1) of the control API, made from the table of its operations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from mitmgate.control.models import Event
from mitmgate.serve.replies import BODY_LIMIT
from mitmgate.serve.routes import LINES, METRICS, OPERATIONS, Operation

_REF = "#/components/schemas/{model}"
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; `code` is a stable word. There may be more members.",
    "required": ["type", "status", "code", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}
_ABOUT = (
    "HTTP over the Unix socket `control.sock` in the state folder. Without the operator key "
    "everything is read-only and no arguments are shown."
)
_ID = {
    "name": "id", "in": "path", "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-z.-]{1,40}$"},
}  # fmt: skip


def document(operations: Iterable[Operation] = OPERATIONS) -> dict[str, Any]:
    """Return the document that describes *operations*."""
    chosen = tuple(operations)
    models, schemas = _schemas(chosen)
    paths: dict[str, dict[str, Any]] = {}
    for operation in chosen:
        described = _described(operation, models)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.1",
        "info": {"title": "mitmgate control API", "version": "1", "description": _ABOUT},
        "servers": [{"url": "http://mitmgate"}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
        },
    }


def text_of(operations: Iterable[Operation] = OPERATIONS) -> str:
    """Return the document as text, the same for the same operations."""
    return json.dumps(document(operations), indent=1, ensure_ascii=False) + "\n"


def _schemas(
    operations: tuple[Operation, ...],
) -> tuple[Mapping[tuple[str, JsonSchemaMode], Any], dict[str, Any]]:
    """Return the schema of each model by its name and mode, and the definitions they refer to."""
    wanted: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {}
    for operation in operations:
        if operation.into is not None:
            wanted[operation.into.__name__, "validation"] = TypeAdapter(operation.into)
        if not isinstance(operation.out, str):
            wanted[operation.out.__name__, "serialization"] = TypeAdapter(operation.out)
    wanted["Event", "serialization"] = TypeAdapter(Event)
    inputs = [(name, mode, adapter) for (name, mode), adapter in wanted.items()]
    models, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return models, definitions.get("$defs", {})


def _described(
    operation: Operation, models: Mapping[tuple[str, JsonSchemaMode], Any]
) -> dict[str, Any]:
    answers = {"200": {"description": "OK", "content": _content(operation.out, models)}}
    for status, meaning in sorted(_codes(operation).items()):
        answers[str(status)] = {
            "description": meaning,
            "content": {"application/problem+json": {"schema": {"$ref": _ref("Problem")}}},
        }
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.says,
        "responses": answers,
    }
    if "{id}" in operation.path:
        described["parameters"] = [_ID]
    if operation.into is not None:
        schema = models[operation.into.__name__, "validation"]
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if operation.key:
        described["security"] = [{"operator": []}]
    return described


def _codes(operation: Operation) -> dict[int, str]:
    codes = dict(operation.codes)
    if operation.key:
        codes[403] = "without the operator key"
    if operation.into is not None:
        codes[413] = f"more than {BODY_LIMIT} bytes"
        codes[415] = "not application/json"
        codes[422] = "not what the schema says, or nothing that this call can have"
    return codes


def _content(
    out: type[BaseModel] | str, models: Mapping[tuple[str, JsonSchemaMode], Any]
) -> dict[str, Any]:
    if not isinstance(out, str):
        return {"application/json": {"schema": models[out.__name__, "serialization"]}}
    if out == LINES:
        line = models["Event", "serialization"]
        schema = {"type": "string", "contentMediaType": "application/json", "contentSchema": line}
        return {out: {"schema": schema}}
    return {out: {"schema": {"type": "string"} if out == METRICS else {"type": "object"}}}


def _ref(name: str) -> str:
    return _REF.format(model=name)


if __name__ == "__main__":
    sys.stdout.write(text_of())
