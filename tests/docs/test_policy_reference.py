"""docs/policy-reference.md is what the models say, names every key, and its examples load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import BaseModel

from mitmgate.policy.load import load_policy
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.reference import example_of, flow, reference, sections
from mitmgate.policy.schema import Schema, pack_schema, policy_schema, spellings
from mitmgate.strictyaml import load, load_model

PAGE = Path(__file__).parents[2] / "docs" / "policy-reference.md"
RULESETS = Path(__file__).parents[2] / "rules" / "mitmgate_rules" / "rulesets"

# What the example of a key needs beside it, to be a policy: section, key -> its neighbours.
BESIDE: dict[str, dict[str, Any]] = {
    "mcp.rules[]": {"id": "r", "then": "allow"},
    "mcp.rules[] hold": {"then": "ask"},
    "mcp.rules[] hide": {"then": "deny", "tool": "admin_*"},
    "mcp.rules[].time": {"from": "09:00", "to": "17:00"},
    "mcp.rules[].samples.match[].repeat": {"at": "/arguments/path", "text": "./", "times": 2},
    "mcp.rules[].where.POINTER match": {"exists": True},
    "egress.rules[]": {"id": "r", "then": "allow", "host": "docs.example"},
    "egress.rules[] hold": {"then": "ask"},
    "egress.rules[].samples.match[]": {"url": "https://docs.example/"},
    "scan.allow[]": {"reason": "r", "rule": "secret.*"},
    "servers.NAME": {"url": "https://mcp.example/mcp"},
}
COMMON = {
    "version": 1,
    "servers": {"github": {"url": "https://github.example/mcp"}},
    "agents": {"ci": {"groups": ["bots"]}},
}
PLACES = {"agents.NAME": "one", "servers.NAME": "one", "where.POINTER": "/arguments/one/*"}


def examples(schema: Schema) -> Iterator[tuple[str, str, Any]]:
    """Yield section, key and value of every example there is."""
    for section in sections(schema):
        for key in section.keys:
            for example in key.schema.get("examples", [key.example]):
                yield section.path, key.name, example


def assembled(path: str, key: str, value: Any) -> dict[str, Any]:
    """Return a small policy with *value* at *key* of the section at *path*."""
    node: Any = {key: value}
    steps = path.split(".") if path else []
    while True:
        here = ".".join(steps)
        node = {**BESIDE.get(here, {}), **BESIDE.get(f"{here} {next(iter(node))}", {}), **node}
        if not steps:
            return {**COMMON, **node}
        step = steps.pop()
        if step.isupper():
            node = {PLACES[f"{steps[-1]}.{step}"]: node}
        elif step.endswith("[]"):
            node = {step.removesuffix("[]"): [node]}
        else:
            node = {step: node}


def keys_of(model: type[BaseModel], seen: set[type]) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield every key of *model* and of the models inside of it, as the file spells it."""
    if model in seen:
        return
    seen.add(model)
    for name, spec in model.model_fields.items():
        yield model, spec.alias or name
        for inner in models_in(spec.annotation):
            yield from keys_of(inner, seen)


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in (*get_args(kind), getattr(kind, "__value__", None)):
        if part is not None and part is not kind:
            yield from models_in(part)


ALL_KEYS = [*keys_of(PolicyFile, set()), *keys_of(RulesFile, set())]
POLICY_EXAMPLES = list(examples(policy_schema()))


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `make docs`"


def test_every_key_of_every_model_is_on_the_page_in_the_order_of_the_model() -> None:
    listed: dict[str, list[str]] = {}
    for schema, root in ((policy_schema(), PolicyFile), (pack_schema(), RulesFile)):
        for section in sections(schema):
            listed[section.model or root.__name__] = [key.name for key in section.keys]
    spelled: dict[str, list[str]] = {}
    for model, key in dict.fromkeys(ALL_KEYS):
        spelled.setdefault(model.__name__, []).append(key)
    assert listed == spelled


def test_every_key_has_a_row_and_an_example_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    fences = [one.content for one in MarkdownIt().parse(text) if one.type == "fence"]
    blocks = [one for one in fences if one.startswith("# one example")]
    shown = [line.partition(": ")[0] for one in blocks for line in one.splitlines()[1:]]
    assert rows == shown
    assert {key for _, key in ALL_KEYS} == set(rows)


def test_every_block_of_examples_is_yaml_for_the_examples_of_the_models() -> None:
    blocks = [
        one.content
        for one in MarkdownIt().parse(PAGE.read_text("utf-8"))
        if one.type == "fence" and one.content.startswith("# one example")
    ]
    found = [load(one, file="page").value for one in blocks]
    wanted = [
        {key.name: key.example for key in section.keys}
        for schema in (policy_schema(), pack_schema())
        for section in sections(schema)
    ]
    assert all(block in wanted for block in found)


@pytest.mark.parametrize(
    ("path", "key", "example"),
    POLICY_EXAMPLES,
    ids=[
        f"{path or 'top'} {key} {number}" for number, (path, key, _) in enumerate(POLICY_EXAMPLES)
    ],
)
def test_every_example_is_a_policy_together_with_little(
    path: str, key: str, example: Any, tmp_path: Path
) -> None:
    if key == "extends":
        (tmp_path / "team.yaml").write_text("version: 1\n", "utf-8")
        assert set(example) == {"destructive-commands", "./team.yaml"}
        shipped = {pack.stem for pack in RULESETS.glob("*.yaml")}
        example = [name for name in example if name in shipped or name.startswith("./")]
    if (path, key) == ("scan", "packs"):
        (tmp_path / example[0]).write_text("version: 1\n", "utf-8")
    policy = json.dumps(assembled(path, key, example))
    load_policy(policy, file="example", base=tmp_path)


@pytest.mark.parametrize(
    ("key", "example"),
    [(key, example) for path, key, example in examples(pack_schema()) if not path],
)
def test_every_example_of_a_pack_is_a_pack(key: str, example: Any) -> None:
    load_model(RulesFile, json.dumps({"version": 1, key: example}), file="example")


def test_a_key_without_an_example_stops_the_page() -> None:
    with pytest.raises(TypeError, match="has no example: Says nothing"):
        example_of({"$defs": {}}, {"type": "string", "description": "Says nothing"})


def test_every_spelling_has_its_own_word_and_all_are_explained() -> None:
    words = [one.word for one in spellings()]
    assert len(words) == len(set(words))
    text = PAGE.read_text("utf-8")
    assert [word for word in words if f"\n| {word} | " not in text] == []


texts = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts | st.text("az-*: ")
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("az-*: "), inner),
    max_leaves=8,
)


@given(values)
def test_an_example_in_one_line_means_the_same_value(value: Any) -> None:
    line = f"key: {flow(value)}"
    assert "\n" not in line
    assert load(line, file="line").value == {"key": value}
