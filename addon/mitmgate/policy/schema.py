"""The JSON Schema of policy files and of packs, made from the models, so that editors know them.

It never refuses what the models accept. What they refuse it refuses too, as far as JSON Schema
can say it: the small languages inside of texts (URLs, globs, RE2) only by their outer form.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy import agents, operators, syntax
from mitmgate.policy.conditions import parse_pattern_pointer
from mitmgate.policy.globs import MAX_GLOB, check_glob
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.paths import parse_folder

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

type Schema = dict[str, Any]

_NAME: Final = f"^[A-Za-z0-9._-]{{1,{syntax.MAX_NAME}}}$"
_POINTER: Final = "(/([^~/]|~[01])*)+"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How texts of one small language are written: a word for them, a sentence, a schema.

    The schema takes every text that the parser takes, and some others.
    """

    word: str
    meaning: str
    schema: Mapping[str, Any] = field(default_factory=dict)


_SPELLINGS: Mapping[Callable[[str], object], Spelling] = {
    syntax.parse_name: Spelling(
        "name", "1 to 100 letters, digits, `-`, `_` and `.`", {"pattern": _NAME}
    ),
    syntax.parse_rule_id: Spelling(
        "rule id",
        "a name; those of built-in rules are taken: "
        + ", ".join(f"`{name}`" for name in sorted(syntax.BUILT_IN_RULES)),
        {"pattern": _NAME, "not": {"enum": sorted(syntax.BUILT_IN_RULES)}},
    ),
    agents.parse_agent_name: Spelling(
        "agent name", "a name that looks like no IP address and no token", {"pattern": _NAME}
    ),
    agents.parse_token_hash: Spelling(
        "token hash",
        "`sha256:` and 64 hex digits, as `mitmgate agent add` writes it",
        {"pattern": f"^{agents.HASH_PREFIX}[0-9a-f]{{{agents.HASH_DIGITS}}}$"},
    ),
    syntax.parse_reason: Spelling(
        "sentence",
        f"1 to {syntax.MAX_REASON} characters, none of them a control character",
        {"minLength": 1, "maxLength": syntax.MAX_REASON},
    ),
    parse_pattern_pointer: Spelling(
        "pointer",
        "a JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), as in "
        "`/arguments/force`; `*` in the place of a key stands for every item or member",
        {"pattern": f"^{_POINTER}$"},
    ),
    syntax.parse_redacted: Spelling(
        "pointer or detector",
        "a pointer, or " + " or ".join(f"`{name}`" for name in sorted(syntax.DETECTORS)),
        {"pattern": f"^({'|'.join(sorted(syntax.DETECTORS))}|{_POINTER})$"},
    ),
    syntax.parse_value_hash: Spelling(
        "value hash", "16 hex digits, as `value_hash` in a finding", {"pattern": "^[0-9a-f]{16}$"}
    ),
    syntax.parse_pack_path: Spelling(
        "path", "a file that ends in `.yaml`", {"pattern": r"\.ya?ml$"}
    ),
    syntax.parse_static_name: Spelling("host name", "one exact host", {"minLength": 1}),
    syntax.parse_address: Spelling("IP address", "as in `127.0.0.1` or `::1`", {"minLength": 1}),
    syntax.parse_network: Spelling(
        "network", "an IP address and a prefix, as in `10.0.0.0/8`", {"minLength": 1}
    ),
    syntax.parse_server_url: Spelling(
        "URL",
        "`https://host[:port]/path`, also `http`, `wss` and `ws`; `/**` at the end for all below",
        {"pattern": "^(https?|wss?)://"},
    ),
    syntax.parse_duration: Spelling(
        "duration", "a whole number and `s`, `m` or `h`", {"pattern": "^[0-9]{1,5}[smh]$"}
    ),
    syntax.parse_length: Spelling(
        "length of time",
        "a whole number and `s`, `m` or `h`, up to 24h",
        {"pattern": "^[0-9]{1,5}[smh]$"},
    ),
    syntax.parse_http_method: Spelling(
        "HTTP method", "in capitals, as in `GET`", {"pattern": "^[A-Z]+$"}
    ),
    syntax.parse_path_prefix: Spelling(
        "path of a URL",
        "as in `/simple`: the path itself and all below it; no query, no `..`, nothing encoded",
        {"pattern": r"^/[^%?#;*\\ ]*$"},
    ),
    syntax.parse_size: Spelling(
        "size",
        "a whole number and `B`, `KB` (1,024 bytes), `MB` or `GB`",
        {"pattern": "^[0-9]{1,5}[KMG]?B$"},
    ),
    syntax.parse_clock: Spelling(
        "time of day",
        '`"HH:MM"` in quotes, from `"00:00"` to `"24:00"`',
        {"pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"},
    ),
    syntax.parse_zone: Spelling(
        "time zone", "of the IANA database, as in `Europe/Berlin`, or `UTC`", {"minLength": 1}
    ),
    syntax.parse_extended: Spelling(
        "pack", "a name that `mitmgate packs` shows, or the path of a YAML file", {"minLength": 1}
    ),
    check_glob: Spelling(
        "glob",
        "`*` (any characters) and `?` (one) over the whole name; upper and lower case differ",
        {"minLength": 1, "maxLength": MAX_GLOB, "pattern": r"^[^\s\[\]{}\\]*$"},
    ),
    operators.check_text_glob: Spelling(
        "text glob",
        "`*` (any characters) and `?` (one) over the whole text, blanks allowed",
        {"minLength": 1, "maxLength": MAX_GLOB, "pattern": r"^[^\[\]{}\\]*$"},
    ),
    operators.check_command_glob: Spelling(
        "command glob",
        "a text glob over the words of a command, one blank between them",
        {"minLength": 1, "maxLength": MAX_GLOB, "pattern": r"^[^\[\]{}\\]*$"},
    ),
    operators.compile_pattern: Spelling(
        "RE2 pattern",
        "in the [syntax of RE2](https://github.com/google/re2/wiki/Syntax); found anywhere",
        {"minLength": 1, "maxLength": operators.MAX_PATTERN},
    ),
    parse_folder: Spelling(
        "folder", "a plain absolute path, as in `/workspace` or `C:/work`", {"minLength": 1}
    ),
    parse_domain_pattern: Spelling(
        "host pattern",
        "an exact host, or `*.example.com` for all names below it and not `example.com` itself",
        {"minLength": 1},
    ),
}


def spellings() -> tuple[Spelling, ...]:
    """Return the small languages of policy files, sorted by their words."""
    return tuple(sorted(_SPELLINGS.values(), key=lambda one: one.word.lower()))


# What no type says, and a validator of the whole entry checks.
_EXTRA: Mapping[str, Schema] = {
    "WhereEntry": {
        "not": {"propertyNames": {"const": "match"}},  # no operator at all
        "if": {"properties": {"exists": {"const": False}}, "required": ["exists"]},
        "then": {"maxProperties": 1},
    }
}
_INSIDE_NOT: Final[Schema] = {"anyOf": [{"required": ["exists"]}, {"required": ["match"]}]}


class Generator(GenerateJsonSchema):
    """Pydantic's generator, told what our validators accept before and after the types."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """Return what a value may be before the validator of *schema* has turned it."""
        name = schema["function"]["function"].__name__
        inner = self.generate_inner(schema["schema"])
        if name in ("one_or_many", "_one_or_many"):
            # Pydantic puts the limit of the list outside of this schema: see _tidy.
            return {"oneOf": [inner["items"], inner]}
        if name in ("number_not_bool", "port_number"):
            return {"type": "integer", **inner}
        if name in ("_some_values", "_no_null"):
            return inner
        raise TypeError(f"say in {__name__} what {name} accepts")

    def function_after_schema(
        self, schema: core_schema.AfterValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """Return the schema of a value that the validator of *schema* has checked."""
        inner = self.generate_inner(schema["schema"])
        function = schema["function"]["function"]
        if inner != {"type": "string"} or function.__name__ == "_no_null":
            return inner
        # Every text is checked by a closure around the parser of its language.
        parser = inspect.getclosurevars(function).nonlocals.get("check", function)
        spelling = _SPELLINGS.get(parser)
        if spelling is None:
            raise TypeError(f"say in {__name__} what {parser} accepts")
        return {**inner, "title": spelling.word, **spelling.schema}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema without null: a key that says nothing is left out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema with its default, where that says more than that it is empty."""
        default = schema.get("default")
        if default is None or default == () or isinstance(default, BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a mapping; a key of another form is wrong, not merely unknown."""
        whole = super().dict_schema(schema)
        whole.pop("patternProperties", None)
        # Pydantic's own drops the words for keys and values.
        keys, values = schema.get("keys_schema"), schema.get("values_schema")
        if keys is not None and (names := self.generate_inner(keys)) != {"type": "string"}:
            whole["propertyNames"] = names
        whole["additionalProperties"] = (values is not None and self.generate_inner(values)) or True
        return whole

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        """Return *value* as it is: examples keep the order of a policy."""
        return value

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        """Say no: the key itself is the title."""
        return False


def policy_schema() -> Schema:
    """Return the JSON Schema of a policy file."""
    return _schema_of(PolicyFile, "mitmgate policy")


def pack_schema() -> Schema:
    """Return the JSON Schema of a pack of rules, or of the locked layer."""
    return _schema_of(RulesFile, "mitmgate pack of rules")


def schema_text(schema: Schema) -> str:
    """Return *schema* as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema_of(model: type[BaseModel], title: str) -> Schema:
    whole = model.model_json_schema(by_alias=True, schema_generator=Generator)
    definitions: dict[str, Schema] = whole.pop("$defs")
    sections = {name: one for name, one in definitions.items() if "properties" in one}
    # What is left are aliases such as "one or many names": they stand where they are used.
    aliases = {name: one for name, one in definitions.items() if name not in sections}
    for name, extra in _EXTRA.items():
        sections[name] |= extra
        sections[name]["properties"]["not"]["not"] = _INSIDE_NOT
    named = {name: {**_tidy(one, aliases), "title": _title(name)}
             for name, one in sections.items()}  # fmt: skip
    return {"$schema": DIALECT, **_tidy(whole, aliases), "title": title, "$defs": named}


def _title(name: str) -> str:
    """Return the name of a model in words: ``McpRuleEntry`` is an ``MCP rule``."""
    words = "".join(f" {char}" if char.isupper() else char for char in name).split()
    plain = [word.lower() for word in words if word not in ("Entry", "Section", "Effects")]
    return " ".join(plain).replace("mcp", "MCP")


def _tidy(node: Any, aliases: Mapping[str, Schema]) -> Any:
    """Return *node* with the aliases put in, and limits of lists where the lists are."""
    if isinstance(node, list):
        return [_tidy(item, aliases) for item in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in aliases:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _tidy({**aliases[name], **rest}, aliases)
    tidied = {key: _tidy(value, aliases) for key, value in node.items()}
    if tidied.get("anyOf") == [{"type": "integer"}, {"type": "number"}]:
        tidied |= {"type": tidied.pop("anyOf")[1]["type"]}
    if "oneOf" in tidied and "minLength" in tidied:
        single, many = tidied["oneOf"]
        tidied["oneOf"] = [single, {**many, "minItems": tidied.pop("minLength")}]
    elif tidied.get("type") == "array" and "minLength" in tidied:
        tidied["minItems"] = tidied.pop("minLength")
    return tidied
