"""The policy file as pydantic models: every key that exists, its type and its default.

What one value means alone is checked here; what two places say about each other
(ids, names of servers) in ``mitmgate.policy.load``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy import syntax
from mitmgate.policy.globs import check_glob


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(value)
    raise ValueError("must be text, or a list of texts")


def _number_not_bool(value: Any) -> Any:
    if type(value) is not int:  # to Python, and so to pydantic, true and 1.0 equal 1
        raise ValueError("must be 1")
    return value


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that runs *check* and keeps the text as it was written."""

    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


type _Many[T] = Annotated[tuple[T, ...], BeforeValidator(_one_or_many), Field(min_length=1)]

Verb = Literal["allow", "ask", "deny"]
Effect = Literal["log", "ask", "deny"]
EditingEffect = Literal["log", "redact", "ask", "deny"]
Name = Annotated[str, _checked(syntax.parse_name)]
RuleId = Annotated[str, _checked(syntax.parse_rule_id)]
Reason = Annotated[str, _checked(syntax.parse_reason)]
Pointer = Annotated[str, _checked(syntax.parse_pointer)]
HostName = Annotated[str, _checked(syntax.parse_static_name)]
Address = Annotated[str, _checked(syntax.parse_address)]
Cidr = Annotated[str, _checked(syntax.parse_network)]
Url = Annotated[str, _checked(syntax.parse_server_url)]
Duration = Annotated[str, _checked(syntax.parse_duration)]
Glob = Annotated[str, _checked(check_glob)]
HostPattern = Annotated[str, _checked(parse_domain_pattern)]
HttpMethod = Annotated[str, _checked(syntax.parse_http_method)]


class Section(BaseModel):
    """Base of all parts of a policy file: frozen, typed strictly, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NetworkSection(Section):
    """Names with fixed addresses, and the private networks that may be dialled."""

    resolve: dict[HostName, Address] = Field(default_factory=dict)
    allow_private: tuple[Cidr, ...] = ()


class ServerEntry(Section):
    """An MCP server that the policy gives a name."""

    url: Url


class WhereEntry(Section):
    """What must stand at a JSON pointer of params."""

    equals: Any


class McpRuleEntry(Section):
    """A rule for MCP calls; every condition that is given must hold."""

    id: RuleId
    server: _Many[Name] | None = None
    tool: _Many[Glob] | None = None
    method: _Many[Glob] | None = None
    where: Annotated[dict[Pointer, WhereEntry], Field(min_length=1)] | None = None
    then: Verb
    hide: bool = False
    reason: Reason | None = None


class McpSection(Section):
    """What agents may do on MCP servers."""

    unknown_servers: Verb = "ask"
    rules: tuple[McpRuleEntry, ...] = ()
    otherwise: Verb = "ask"


class EgressRuleEntry(Section):
    """A rule for traffic that is not MCP."""

    id: RuleId
    host: _Many[HostPattern]
    methods: _Many[HttpMethod] | None = None
    oauth: bool = False
    then: Verb
    reason: Reason | None = None


class EgressSection(Section):
    """Where else agents may go."""

    rules: tuple[EgressRuleEntry, ...] = ()
    otherwise: Verb = "deny"


class SecretsEffects(Section):
    """What a found credential does, surface by surface.

    Redaction is offered only where the receiver can live with an edited text.
    """

    arguments: EditingEffect = "deny"
    results: EditingEffect = "redact"
    definitions: Effect = "log"
    egress_request: EditingEffect = "deny"
    egress_response: Effect = "log"
    model_request: EditingEffect = "redact"


class InjectionEffects(Section):
    """What a found injection does, surface by surface. It is never edited away.

    Text with one sentence cut out of it is still the attacker's text.
    """

    arguments: Effect = "log"
    results: Effect = "ask"
    definitions: Effect = "log"
    egress_request: Effect = "log"
    egress_response: Effect = "log"
    model_request: Effect = "log"


class ScanSection(Section):
    """What findings do."""

    secrets: SecretsEffects = SecretsEffects()
    injection: InjectionEffects = InjectionEffects()


class HoldSection(Section):
    """How long a call waits for a person, and what happens with nobody attached."""

    wait: Duration = "45s"
    unattended: Literal["deny", "wait"] = "deny"


class PolicyFile(Section):
    """A whole policy file, version 1."""

    version: Annotated[Literal[1], BeforeValidator(_number_not_bool)]
    mode: Literal["enforce", "shadow"] = "enforce"
    network: NetworkSection = NetworkSection()
    servers: dict[Name, ServerEntry] = Field(default_factory=dict)
    mcp: McpSection = McpSection()
    egress: EgressSection = EgressSection()
    scan: ScanSection = ScanSection()
    hold: HoldSection = HoldSection()
