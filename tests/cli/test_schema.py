"""``mitmgate schema``: the committed schemas are what it prints, and agree with the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from mitmgate.cli.schema import schema
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.schema import DIALECT, Generator, pack_schema, policy_schema, schema_text
from mitmgate.strictyaml import load

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules"
SHIPPED = RULES / "mitmgate_rules"
POLICIES = sorted((SHIPPED / "policies").glob("*.yaml"))
PACKS = sorted((SHIPPED / "rulesets").glob("*.yaml"))
CHECKED = {False: policy_schema(), True: pack_schema()}
MODELS: dict[bool, type[BaseModel]] = {False: PolicyFile, True: RulesFile}


def taken_by_schema(document: Any, *, pack: bool = False) -> bool:
    return bool(Draft202012Validator(CHECKED[pack]).is_valid(document))


def taken_by_model(document: Any, *, pack: bool = False) -> bool:
    try:
        MODELS[pack].model_validate_json(json.dumps(document), strict=True)
    except ValidationError:
        return False
    return True


def policy(text: str) -> Any:
    return load(f"version: 1\n{text}", file="policy").value


def rule(text: str) -> Any:
    return policy(f"mcp: {{rules: [{{id: r, then: deny, {text}}}]}}")


def where(text: str) -> Any:
    return rule(f"where: {{/arguments/x: {text}}}")


@pytest.mark.parametrize(("pack", "name"), [(False, "policy"), (True, "pack")])
def test_the_committed_schema_is_what_the_command_prints(
    pack: bool, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    schema(pack=pack)
    printed = capsys.readouterr().out
    assert (RULES / f"{name}.schema.json").read_text("utf-8") == printed, "run `make docs`"
    assert printed == schema_text(CHECKED[pack])


@pytest.mark.parametrize("pack", [False, True])
def test_it_is_a_schema_of_the_dialect_that_it_names(pack: bool) -> None:
    Draft202012Validator.check_schema(CHECKED[pack])
    assert next(iter(CHECKED[pack].items())) == ("$schema", DIALECT)
    assert "$id" not in CHECKED[pack]


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from mappings(inner)
    if isinstance(node, dict):
        yield node


@pytest.mark.parametrize("pack", [False, True])
def test_every_section_is_closed_and_has_a_title_and_every_reference_leads_somewhere(
    pack: bool,
) -> None:
    whole = CHECKED[pack]
    for section in (whole, *whole["$defs"].values()):
        assert section["additionalProperties"] is False
        assert section["title"]
        assert section["description"]
    references = {str(one["$ref"]) for one in mappings(whole) if "$ref" in one}
    assert references == {f"#/$defs/{name}" for name in whole["$defs"]}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_a_shipped_policy_fits(path: Path) -> None:
    document = load(path.read_text("utf-8"), file=path.name).value
    assert [one.message for one in Draft202012Validator(CHECKED[False]).iter_errors(document)] == []


def test_every_shipped_pack_fits() -> None:
    for path in PACKS:
        document = load(path.read_text("utf-8"), file=path.name).value
        errors = Draft202012Validator(CHECKED[True]).iter_errors(document)
        assert [f"{path.name}: {one.message}" for one in errors] == []


RIGHT = {
    "a version alone": policy(""),
    "one tool as a text": rule("tool: get_*"),
    "tools as a list": rule("tool: [get_*, list_*]"),
    "one pack as a text": policy("extends: shells"),
    "no pack at all": policy("extends: []"),
    "a time under its YAML names": rule('time: {from: "09:00", to: "24:00", days: mon}'),
    "an operand of in": where("{in: [1, null, text]}"),
    "equals null": where("{equals: null}"),
    "contains null": where("{contains: null}"),
    "not": where("{not: {prefix: [a, b]}}"),
    "not inside of not": where("{not: {not: {gt: 1.5}}}"),
    "exists true and more": where("{exists: true, type: string}"),
    "exists false alone": where("{exists: false}"),
    "match with an operator": where("{match: any, le: 3}"),
    "a pointer with escapes and a wildcard": rule('where: {"/a~1b/*/~0": {equals: 1}}'),
    "a redaction by pointer and detector": rule("redact: [/arguments/x, secrets]"),
    "hints of a tool": rule("annotations: {readOnlyHint: true}"),
    "a finding that does something else here": rule("scan: {injection: log}"),
    "a sample with any arguments": rule("samples: {match: [{arguments: {a: [1, {b: null}]}}]}"),
    "a sample with a result that is null": rule("samples: {match: [{result: null}]}"),
    "an egress rule": policy("egress: {rules: [{id: e, host: '*.example.com', then: ask}]}"),
    "methods of HTTP": policy("egress: {rules: [{id: e, host: a.b, methods: GET, then: ask}]}"),
    "an agent without tokens": policy("agents: {ci: {groups: [bots]}}"),
    "an address for a name": policy("network: {resolve: {mcp.example.com: 127.0.0.1}}"),
    "a WebSocket": policy("servers: {db: {url: wss://db.example/mcp}}"),
    "a reason in two lines": policy('mcp: {rules: [{id: r, then: ask, reason: "a\\nb"}]}'),
}
WRONG = {
    "no version": {"mode": "enforce"},
    "another version": {"version": 2},
    "true for a version": {"version": True},
    "a text for a version": {"version": "1"},
    "a list": [],
    "an unknown section": policy("rules: []"),
    "an unknown key of a rule": rule("tools: x"),
    "an unknown operator": where("{equal: 1}"),
    "no id": policy("mcp: {rules: [{then: deny}]}"),
    "no decision": policy("mcp: {rules: [{id: r}]}"),
    "the id of a built-in rule": policy("mcp: {rules: [{id: otherwise, then: deny}]}"),
    "an id with a blank": policy('mcp: {rules: [{id: "a b", then: deny}]}'),
    "an unknown decision": policy("mcp: {otherwise: block}"),
    "no tool at all": rule("tool: []"),
    "a number for a tool": rule("tool: 5"),
    "a number in a list of tools": rule("tool: [a, 5]"),
    "an empty tool": rule('tool: ""'),
    "brackets in a glob": rule('tool: "[ab]*"'),
    "an empty where": rule("where: {}"),
    "a pointer without its slash": rule("where: {arguments: {equals: 1}}"),
    "a pointer with a bad escape": rule('where: {"/a~2": {equals: 1}}'),
    "an entry without operators": where("{}"),
    "an entry with match alone": where("{match: any}"),
    "exists false and more": where("{exists: false, type: string}"),
    "exists inside of not": where("{not: {exists: true}}"),
    "match inside of not": where("{not: {match: any, gt: 1}}"),
    "one value for in": where("{in: 1}"),
    "no value for in": where("{in: []}"),
    "true for a number": where("{gt: true}"),
    "a text for a number": where('{gt: "1"}'),
    "a length below zero": where("{min_length: -1}"),
    "an unknown JSON type": where("{type: text}"),
    "an empty prefix": where('{prefix: ""}'),
    "null for an operator": where("{prefix: null}"),
    "an unknown hint": rule("annotations: {readonly: true}"),
    "no hint": rule("annotations: {}"),
    "a hint that is a text": rule('annotations: {readOnlyHint: "true"}'),
    "a window without its end": rule('time: {from: "09:00"}'),
    "a window by the names of the code": rule('time: {start: "09:00", end: "10:00"}'),
    "an hour of one digit": rule('time: {from: "9:00", to: "10:00"}'),
    "an hour after the last": rule('time: {from: "24:01", to: "10:00"}'),
    "a redaction of a word": rule("redact: token"),
    "an injection that is edited away": policy("scan: {injection: {results: redact}}"),
    "a wait without a unit": policy('hold: {wait: "45"}'),
    "a wait as a number": policy("hold: {wait: 45}"),
    "an egress rule without a host": policy("egress: {rules: [{id: e, then: deny}]}"),
    "a method of HTTP in small letters": policy(
        "egress: {rules: [{id: e, host: a.b, methods: get, then: ask}]}"
    ),
    "a token in the place of its hash": policy("agents: {ci: {tokens: [secret]}}"),
    "a server with a blank in its name": policy('servers: {"a b": {url: "https://x.example/"}}'),
    "a server without a URL": policy("servers: {a: {}}"),
    "a URL of another scheme": policy("servers: {a: {url: ftp://x.example/}}"),
    "an empty reason": rule('reason: ""'),
    "a reason that is too long": rule(f"reason: {'a' * 501}"),
    "a key without a value": policy("mcp:"),
    "a hide without a value": rule("hide: null"),
}
# An empty condition would be no condition: a rule that allows would allow everything.
NULLS = {key: rule(f"{key}: null") for key in (
    "agent", "group", "time", "reason", "note", "severity", "server", "tool", "method",
    "annotations", "revision", "transport", "where", "redact",
)}  # fmt: skip


@pytest.mark.parametrize("document", RIGHT.values(), ids=RIGHT)
def test_schema_and_models_take(document: Any) -> None:
    assert (taken_by_schema(document), taken_by_model(document)) == (True, True)


@pytest.mark.parametrize("document", WRONG.values(), ids=WRONG)
def test_schema_and_models_refuse(document: Any) -> None:
    assert (taken_by_schema(document), taken_by_model(document)) == (False, False)


@pytest.mark.parametrize("document", NULLS.values(), ids=NULLS)
def test_a_condition_without_a_value_is_refused(document: Any) -> None:
    assert not taken_by_schema(document)


PACK_CASES = {
    "rules and what they are for": ({"description": "x", "mcp": {"rules": []}}, True),
    "a pack that extends another": ({"extends": "./more.yaml"}, True),
    "a pack that says what else happens": ({"mcp": {"otherwise": "allow"}}, False),
    "a pack that names servers": ({"servers": {}}, False),
    "a pack that is only shadowed": ({"mode": "shadow"}, False),
}


@pytest.mark.parametrize(("more", "fits"), PACK_CASES.values(), ids=PACK_CASES)
def test_a_pack_has_rules_only(more: dict[str, Any], fits: bool) -> None:
    document = {"version": 1, **more}
    assert (taken_by_schema(document, pack=True), taken_by_model(document, pack=True)) == (
        fits,
        fits,
    )


def shouted(text: Any) -> Any:
    return text.upper()


@pytest.mark.parametrize(
    "validator", [AfterValidator(shouted), BeforeValidator(shouted)], ids=["after", "before"]
)
def test_a_validator_that_the_schema_does_not_know_stops_it(
    validator: AfterValidator | BeforeValidator,
) -> None:
    class Odd(BaseModel):
        text: Annotated[str, validator]

    with pytest.raises(TypeError, match=r"say in mitmgate\.policy\.schema what .*shouted"):
        Odd.model_json_schema(schema_generator=Generator)
