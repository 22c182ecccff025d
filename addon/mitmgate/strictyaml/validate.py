"""Documents to pydantic models, and pydantic's errors to problems in our own words."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeAliasType, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mitmgate.errors import Problem
from mitmgate.strictyaml.document import Document, KeyPath, did_you_mean, refuse
from mitmgate.strictyaml.reader import load


def load_model[M: BaseModel](model: type[M], text: str, *, file: str) -> M:
    """Return *text* as a *model*, or raise ConfigError with every problem found."""
    document = load(text, file=file)
    loaded, problems = validate(model, document)
    if loaded is None:
        raise refuse(problems)
    return loaded


def validate[M: BaseModel](model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """Return *document* as a *model*, or None and every problem that speaks against it."""
    if not isinstance(document.value, dict):
        hint = f"known keys: {', '.join(_keys_at(model, ()))}"
        return None, [document.problem((), "must be a mapping of keys to values", hint=hint)]
    try:
        # By way of JSON: pydantic's strict mode then takes lists for tuples and nothing else.
        return model.model_validate_json(json.dumps(document.value), strict=True), []
    except ValidationError as error:
        problems = {_explain(model, document, detail): None for detail in error.errors()}
        return None, list(problems)


_WORDS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "missing": "this key is missing",
    "extra_forbidden": "unknown key",
}


def _explain(model: type[BaseModel], document: Document, detail: ErrorDetails) -> Problem:
    """Return pydantic's *detail* in our words, at the line it is about."""
    path = _path_in(document, detail)
    context = detail.get("ctx", {})
    kind = detail["type"]
    hint = context.get("hint")
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        nearest = did_you_mean(str(path[-1]), known) if path else None
        hint = f"did you mean {nearest}?" if nearest else f"known keys: {', '.join(known)}"
    elif kind == "missing":
        hint = "add it"
    elif kind == "literal_error" and isinstance(detail["input"], str):
        nearest = did_you_mean(detail["input"], _quoted_words(context.get("expected", "")))
        hint = f"did you mean {nearest}?" if nearest else None
    elif kind == "string_type" and isinstance(detail["input"], bool | int | float):
        hint = f'quote it: "{json.dumps(detail["input"])}"'
    return document.problem(path, _message(detail), hint=str(hint) if hint else None)


def _message(detail: ErrorDetails) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "literal_error":
        return f"must be {context.get('expected')}"
    if kind == "value_error" and "error" in context:
        return str(context["error"])
    return detail["msg"].replace("Input should be", "must be").replace("Input should", "must")


def _quoted_words(expected: str) -> list[str]:
    return expected.split("'")[1::2]


def _path_in(document: Document, detail: ErrorDetails) -> KeyPath:
    """Return where *detail* is about, without the steps that exist only inside pydantic."""
    path: KeyPath = ()
    steps = detail["loc"]
    for number, step in enumerate(steps):
        here = (*path, step)
        if here in document.lines:
            path = here
        elif detail["type"] == "missing" and number == len(steps) - 1:
            return here
    return path


def _keys_at(model: Any, path: KeyPath) -> list[str]:
    """Return the keys that *model* knows at *path*."""
    kinds = [model]
    for step in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, step)]
    plain = [leaf for kind in kinds for leaf in _options(kind)]
    return [key for kind in plain if _is_model(kind) for key in _field_types(kind)]


def _inside(kind: Any, step: str | int) -> list[Any]:
    """Return the types that may stand at key or index *step* of a *kind*."""
    found: list[Any] = []
    for option in _options(kind):
        if _is_model(option):
            found += [inner for key, inner in _field_types(option).items() if key == step]
        elif isinstance(step, int):
            found += [inner for inner in get_args(option) if inner is not Ellipsis]
        else:
            found += get_args(option)[1:]
    return found


def _options(kind: Any) -> list[Any]:
    """Return the plain types behind aliases, annotations and unions."""
    if isinstance(kind, TypeAliasType):
        return _options(kind.__value__)
    origin = get_origin(kind)
    if origin is Annotated:
        return _options(get_args(kind)[0])
    if isinstance(origin, TypeAliasType):
        return _options(origin.__value__)
    if origin is not None and getattr(origin, "__name__", "") in ("Union", "UnionType"):
        return [option for inner in get_args(kind) for option in _options(inner)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _field_types(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
