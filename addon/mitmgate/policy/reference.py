"""Writes ``docs/policy-reference.md`` from the models: ``python -m mitmgate.policy.reference``.

The page is made from the JSON Schema (``mitmgate.policy.schema``), so that both say the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mitmgate.errors import ConfigError
from mitmgate.policy.schema import Schema, pack_schema, policy_schema, spellings
from mitmgate.strictyaml import load

_INTRODUCTION = """\
<!-- Made by `make docs` from the models in addon/mitmgate/policy. Change the text there. -->

# Every key of the policy file

What a policy means is told in [the policy file](policy.md). Here is every key, in the order of the
file. A key that the tables do not name is an error, and a key without a value is one too. Every
example is for one key; most do not belong together.

Many editors complete the keys and mark mistakes once they know the JSON Schema:

```sh
mitmgate schema > policy.schema.json
mitmgate schema --pack > pack.schema.json
```

Then the first line of the policy names it, as
[YAML language servers](https://github.com/redhat-developer/yaml-language-server) read it:

```yaml
# yaml-language-server: $schema=policy.schema.json
version: 1
```

The schema knows the form of a file. `mitmgate check` knows more: what two places say about each
other, and whether URLs, hosts and patterns are right.
"""
_REF: Final = "#/$defs/"
_PLAIN_EXTRA: Final = frozenset(" -_./*?")
_PLAIN_WORDS: Final = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section: how it is written, what it may be, and an example."""

    name: str
    schema: Schema
    meaning: str
    required: bool
    example: Any


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping that a file may hold, at *path*; a rule of a list is at ``rules[]``."""

    path: str
    model: str
    schema: Schema
    keys: tuple[Key, ...] = field(repr=False)


def sections(schema: Schema) -> Iterator[Section]:
    """Yield every section below *schema* in the order of the file, each model once."""
    waiting = [("", "", schema)]
    seen: set[str] = set()
    while waiting:
        path, model, section = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        yield Section(path, model, section, tuple(_keys(schema, section)))
        below = [
            (f"{path}.{name}{suffix}".lstrip("."), inner, schema["$defs"][inner])
            for name, one in section["properties"].items()
            for suffix, inner in _models_in(one)
        ]
        waiting += reversed(below)


def _keys(whole: Schema, section: Schema) -> Iterator[Key]:
    required = section.get("required", ())
    for name, schema in section["properties"].items():
        # Where a key and its section say the same, the section says it.
        said = schema if "description" in schema else _resolved(whole, schema)
        yield Key(name, schema, said["description"], name in required, example_of(whole, schema))


def _resolved(whole: Schema, schema: Schema) -> Schema:
    found: Schema = whole["$defs"][schema["$ref"].removeprefix(_REF)]
    return found


def _models_in(schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield the models that a value of *schema* is made of, and the steps that lead to them."""
    if "$ref" in schema:
        yield "", schema["$ref"].removeprefix(_REF)
    elif "$ref" in (items := schema.get("items", {})):
        yield "[]", items["$ref"].removeprefix(_REF)
    elif isinstance(more := schema.get("additionalProperties"), dict) and "$ref" in more:
        yield f".{_placeholder(schema)}", more["$ref"].removeprefix(_REF)


def _placeholder(schema: Schema) -> str:
    word: str = schema.get("propertyNames", {}).get("title", "key")
    return word.rpartition(" ")[2].upper()


def example_of(whole: Schema, schema: Schema) -> Any:
    """Return the first example of *schema*; of a list of sections, one with what is required."""
    if "examples" in schema:
        return schema["examples"][0]
    for suffix, model in _models_in(schema):
        section = whole["$defs"][model]
        one = {
            name: example_of(whole, section["properties"][name])
            for name in section.get("required", ())
        }
        return [one] if suffix == "[]" else one
    raise TypeError(f"a key has no example: {schema.get('description', schema)}")


# --- the page ----------------------------------------------------------------------------------


def reference() -> str:
    """Return the page of all keys."""
    policy, pack = list(sections(policy_schema())), list(sections(pack_schema()))
    known = {section.model: _anchor(_heading(section.path)) for section in policy}
    own = [section for section in pack if not section.model or section.model not in known]
    more = {section.model: _anchor(_heading(section.path, of_pack=True)) for section in own}
    parts = [_INTRODUCTION, _spellings()]
    parts += [_section(section, _heading(section.path), known) for section in policy]
    parts += [
        _section(section, _heading(section.path, of_pack=True), {**known, **more})
        for section in own
    ]
    return "\n".join(parts)


def _heading(path: str, *, of_pack: bool = False) -> str:
    if of_pack:
        return f"`{path}` of a pack" if path else "Packs and the locked layer"
    return f"`{path}`" if path else "Top level"


def _anchor(heading: str) -> str:
    kept = (char for char in heading.lower() if char.isalnum() or char in " -_")
    return "".join(kept).replace(" ", "-")


def _spellings() -> str:
    rows = [f"| {one.word} | {one.meaning} |" for one in spellings()]
    return "\n".join(["## How values are written", "", "| a | is |", "|---|---|", *rows, ""])


def _section(section: Section, heading: str, anchors: Mapping[str, str]) -> str:
    lines = [f"## {heading}", "", section.schema["description"], ""]
    lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
    lines += [_row(key, anchors) for key in section.keys]
    # With a comment first: a block that begins with its version is a whole file, and tried as one.
    examples = [f"{key.name}: {flow(key.example)}" for key in section.keys]
    return "\n".join([*lines, "", "```yaml", "# one example for each key", *examples, "```", ""])


def _row(key: Key, anchors: Mapping[str, str]) -> str:
    default = "required" if key.required else _default(key.schema)
    cells = (f"`{key.name}`", _values(key.schema, anchors), default, key.meaning)
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return f"`{flow(default)}`" if default not in (None, [], {}) else ""


def _values(schema: Schema, anchors: Mapping[str, str]) -> str:
    for suffix, model in _models_in(schema):
        link = f"[keys](#{anchors[model]})"
        if suffix == "[]":
            return f"list of mappings, {link}"
        return link if not suffix else f"{schema['propertyNames']['title']}: {link}"
    if "oneOf" in schema:
        return f"{_values(schema['oneOf'][0], anchors)}, or a list"
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{flow(one)}`" for one in schema.get("enum", [schema.get("const")]))
    return _of_type(schema, anchors)


def _of_type(schema: Schema, anchors: Mapping[str, str]) -> str:
    match schema.get("type"):
        case "boolean":
            return "`true`, `false`"
        case "array":
            inner = _values(schema["items"], anchors)
            return f"list of: {inner}"
        case "object":
            more = schema.get("additionalProperties")
            inner = _values(more, anchors) if isinstance(more, dict) else "anything"
            names = schema.get("propertyNames", {"title": "any key"})
            return f"{_values(names, anchors)}: {inner}"
        case "integer":
            return "whole number"
        case "number":
            return "number"
        case _:
            word: str = schema.get("title", "text" if "type" in schema else "anything")
            return word


# --- examples as YAML --------------------------------------------------------------------------


def flow(value: Any) -> str:
    """Return the JSON *value* as YAML in one line, texts quoted where they must be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _is_plain(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    # JSON leaves DEL, C1 and the like as they are; YAML does not allow them.
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def _is_plain(text: str) -> bool:
    """Say whether every reader of YAML takes *text* for this text, in one line and in a list."""
    simple = all(char.isalnum() or char in _PLAIN_EXTRA for char in text)
    if not simple or text in _PLAIN_WORDS:
        return False
    with suppress(ConfigError):
        return bool(load(f"[{text}]", file="").value == [text])
    return False


if __name__ == "__main__":
    sys.stdout.write(reference())
