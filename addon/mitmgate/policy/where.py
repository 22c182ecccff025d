"""The keys of ``where`` in a policy file: what may be said about one value, as a pydantic model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy import operators
from mitmgate.policy.paths import parse_folder
from mitmgate.policy.syntax import parse_network

_SHOWN_ITEMS = 3
_SHOWN_CHARS = 60

JsonType = Literal["string", "number", "integer", "boolean", "object", "array", "null"]
Match = Literal["any", "all"]


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError("must be text, or a list of texts")


def _some_values(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError("must be a list of values, as in [1, 2]; for one value write equals")


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that runs *check* and keeps the text as it was written."""

    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


type _Many[T] = Annotated[tuple[T, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
_Text = Annotated[str, Field(min_length=1)]
_Pattern = Annotated[str, _checked(operators.compile_pattern)]
_Glob = Annotated[str, _checked(operators.check_text_glob)]
_CommandGlob = Annotated[str, _checked(operators.check_command_glob)]
_Folder = Annotated[str, _checked(parse_folder)]
_HostPattern = Annotated[str, _checked(parse_domain_pattern)]
_Cidr = Annotated[str, _checked(parse_network)]
_Values = Annotated[tuple[Any, ...], BeforeValidator(_some_values), Field(min_length=1)]
_Number = int | FiniteFloat
_Length = Annotated[int, Field(ge=0)]


class WhereEntry(BaseModel):
    """What must stand at a JSON pointer; every operator that is given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    equals: Any = Field(
        default=None,
        description='This JSON value, with its type: `1` is `1.0`, but not `true` and not `"1"`.',
        examples=[True, "main", 3],
    )
    in_: _Values | None = Field(
        default=None,
        alias="in",
        description="One of these JSON values, compared as by `equals`.",
        examples=[["main", "release"]],
    )
    prefix: _Many[_Text] | None = Field(
        default=None,
        description="Text that begins with this, or with one of these.",
        examples=["prod-"],
    )
    suffix: _Many[_Text] | None = Field(
        default=None,
        description="Text that ends with this, or with one of these.",
        examples=[[".key", ".pem"]],
    )
    glob: _Many[_Glob] | None = Field(
        default=None,
        description="Text that one of these globs matches as a whole; `*` also matches `/`.",
        examples=["refs/heads/*"],
    )
    pattern: _Many[_Pattern] | None = Field(
        default=None,
        description="Text in which one of these RE2 expressions is found; write the "
        "anchors that you mean.",
        examples=[r"(?i)\bdrop\s+table\b"],
    )
    contains: Any = Field(
        default=None,
        description="Text with this text in it, an array with this item, or an object "
        "with a member of this name.",
        examples=["--force"],
    )
    exists: bool | None = Field(
        default=None, description="Whether anything stands there, even null.", examples=[False]
    )
    type: _Many[JsonType] | None = Field(
        default=None,
        description="A value of this JSON type, or of one of these; `1.0` is an integer.",
        examples=[["string", "null"]],
    )
    gt: _Number | None = Field(
        default=None, description="A number greater than this.", examples=[0]
    )
    ge: _Number | None = Field(
        default=None, description="A number greater than this, or equal.", examples=[1]
    )
    lt: _Number | None = Field(default=None, description="A number less than this.", examples=[100])
    le: _Number | None = Field(
        default=None, description="A number less than this, or equal.", examples=[99.5]
    )
    min_length: _Length | None = Field(
        default=None, description="At least so many characters, items or members.", examples=[1]
    )
    max_length: _Length | None = Field(
        default=None, description="At most so many characters, items or members.", examples=[500]
    )
    path_within: _Many[_Folder] | None = Field(
        default=None,
        description="An absolute path that is one of these folders or lies below one, `..` "
        "resolved and links not followed.",
        examples=[["/srv/work", "/srv/out"]],
    )
    host_in: _Many[_HostPattern] | None = Field(
        default=None,
        description="A URL or `host[:port]` whose host is one of these, as in `example.com` or "
        "`*.example.com`.",
        examples=[["example.com", "*.example.com"]],
    )
    cidr: _Many[_Cidr] | None = Field(
        default=None,
        description="An IP address within one of these networks, or a URL with such a one; "
        "a name is not resolved.",
        examples=["10.0.0.0/8"],
    )
    command: _Many[_CommandGlob] | None = Field(
        default=None,
        description="A command line, or an array of a program and its arguments, whose "
        "commands these globs match, unquoted and split as a shell would.",
        examples=[["rm *", "git push *--force*"]],
    )
    not_: WhereEntry | None = Field(
        default=None,
        alias="not",
        description="A value that these operators do not hold for.",
        examples=[{"prefix": "/srv/scratch/"}],
    )
    match: Match | None = Field(
        default=None,
        description="With `*` in the pointer: whether any or all values must meet the "
        "operators; all where the rule allows and any elsewhere, unless it is given.",
        examples=["any"],
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in _ANY_VALUE:
            raise ValueError('null says nothing here; remove the key, or write "null" in quotes')
        return value

    @model_validator(mode="after")
    def _some_operator(self) -> Self:
        given = self.model_fields_set - {"match"}
        if not given:
            raise ValueError("at least one operator is needed, as in {equals: true}")
        if self.exists is False and given != {"exists"}:
            raise ValueError("what does not exist has no value; write exists: false alone")
        if self.not_ is not None and self.not_.model_fields_set & {"exists", "match"}:
            raise ValueError("exists and match stand outside of not: a missing value never meets "
                             "not, and match is about the values of one pointer")  # fmt: skip
        return self

    @property
    def given(self) -> Mapping[str, Any]:
        """The operators that were given and their operands, under their names in a file."""
        fields = type(self).model_fields.items()
        return {spec.alias or name: getattr(self, name)
                for name, spec in fields
                if name in self.model_fields_set and name != "match"}  # fmt: skip

    @property
    def text(self) -> str:
        """The entry in a line of plain ASCII, long operands cut: ``gt 0, le 100``."""
        shown = [f"{name} {_shown(operand)}" for name, operand in self.given.items()]
        return ", ".join([*shown, f"match {self.match}"] if self.match else shown)


_ANY_VALUE = frozenset({"equals", "contains"})


def _shown(operand: Any) -> str:
    if isinstance(operand, WhereEntry):
        return f"({operand.text})"
    if not isinstance(operand, tuple):
        return _cut(json.dumps(operand))
    if len(operand) == 1:
        return _shown(operand[0])
    items = [_cut(json.dumps(item)) for item in operand[:_SHOWN_ITEMS]]
    if len(operand) > _SHOWN_ITEMS:
        items.append(f"{len(operand) - _SHOWN_ITEMS} more")
    return f"[{', '.join(items)}]"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
