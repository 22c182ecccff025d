"""What the models of policy files share: their base, and the small types of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy import syntax
from mitmgate.policy.conditions import WhereEntry, parse_pattern_pointer
from mitmgate.policy.globs import check_glob


def one_or_many(value: Any) -> Any:
    """Return a text or a number alone as a list of it."""
    if isinstance(value, str) or type(value) is int:
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    raise ValueError("must be text, or a list of texts")


def number_not_bool(value: Any) -> Any:
    """Refuse what only equals the number 1."""
    if type(value) is not int:  # to Python, and so to pydantic, true and 1.0 equal 1
        raise ValueError("must be 1")
    return value


def port_number(value: Any) -> Any:
    """Refuse what only equals a number."""
    if type(value) is not int:
        raise ValueError("must be a port, 1 to 65535")
    return value


def checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that runs *check* and keeps the text as it was written."""

    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


type Many[T] = Annotated[tuple[T, ...], BeforeValidator(one_or_many), Field(min_length=1)]

Text = Annotated[str, Field(min_length=1)]
Verb = Literal["allow", "ask", "deny"]
Effect = Literal["log", "ask", "deny"]
EditingEffect = Literal["log", "redact", "ask", "deny"]
Mode = Literal["enforce", "shadow"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Transport = Literal["streamable_http", "sse", "websocket"]
Hint = Literal["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]
Name = Annotated[str, checked(syntax.parse_name)]
RuleId = Annotated[str, checked(syntax.parse_rule_id)]
Reason = Annotated[str, checked(syntax.parse_reason)]
Pointer = Annotated[str, checked(parse_pattern_pointer)]
Redacted = Annotated[str, checked(syntax.parse_redacted)]
HostName = Annotated[str, checked(syntax.parse_static_name)]
Address = Annotated[str, checked(syntax.parse_address)]
Cidr = Annotated[str, checked(syntax.parse_network)]
Url = Annotated[str, checked(syntax.parse_server_url)]
Duration = Annotated[str, checked(syntax.parse_duration)]
Length = Annotated[str, checked(syntax.parse_length)]
Glob = Annotated[str, checked(check_glob)]
HostPattern = Annotated[str, checked(parse_domain_pattern)]
HttpMethod = Annotated[str, checked(syntax.parse_http_method)]
PathPrefix = Annotated[str, checked(syntax.parse_path_prefix)]
Size = Annotated[str, checked(syntax.parse_size)]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(port_number)]
Protocol = Literal["http", "websocket", "a2a"]
Clock = Annotated[str, checked(syntax.parse_clock)]
Zone = Annotated[str, checked(syntax.parse_zone)]
Extended = Annotated[str, checked(syntax.parse_extended)]
Where = Annotated[dict[Pointer, WhereEntry], Field(min_length=1)]


class Section(BaseModel):
    """Base of all parts of a policy file: frozen, typed strictly, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # After, not before: what a validator in Python has seen, strict mode no longer takes as JSON.
    @field_validator("*")
    @classmethod
    def _no_null(cls, value: Any, info: ValidationInfo) -> Any:
        # `tool:` with nothing behind it would be no condition, and an allow for every tool.
        if value is None and info.field_name != "result":
            raise ValueError("a key without a value says nothing; remove the key")
        return value
