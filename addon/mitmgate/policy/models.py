"""The policy file as pydantic models: every key that exists, its type, default and meaning.

What one value means alone is checked here; what two places say about each other
(ids, names of servers) in ``mitmgate.policy.crosschecks``. The JSON Schema and the reference page
are made from these models (``mitmgate.policy.reference``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mitmgate.policy.agents import AgentEntry, AgentName
from mitmgate.policy.egress_models import EgressRuleEntry, EgressRules
from mitmgate.policy.fields import (
    Address,
    Cidr,
    Duration,
    Extended,
    HostName,
    HostPattern,
    Length,
    Many,
    Mode,
    Name,
    Reason,
    Section,
    Url,
    Verb,
    number_not_bool,
    one_or_many,
)
from mitmgate.policy.rule_models import (
    McpRuleEntry,
    McpRules,
    RuleEntry,
    SampleEntry,
    SamplesEntry,
    WindowEntry,
)
from mitmgate.policy.scan_models import AllowedEntry, ScanSection

Delegated = Literal["allow", "ask", "deny", "strip"]

__all__ = [
    "AllowedEntry",
    "EgressRuleEntry",
    "EgressRules",
    "McpRuleEntry",
    "McpRules",
    "PolicyFile",
    "RuleEntry",
    "RulesFile",
    "SampleEntry",
    "SamplesEntry",
    "ScanSection",
    "WindowEntry",
]


class NetworkSection(Section):
    """Names with fixed addresses, and the private networks that may be dialled."""

    resolve: dict[HostName, Address] = Field(
        default_factory=dict,
        description="A fixed address for a host name, used before DNS; such a name may be private, "
        "and on loopback it may use any port.",
        examples=[{"mcp.example.com": "127.0.0.1"}],
    )
    allow_private: tuple[Cidr, ...] = Field(
        default=(),
        description="Private networks that may be dialled; all others are refused. A metadata "
        "address of a cloud is opened only by its own /32 or /128.",
        examples=[["10.1.0.0/16"]],
    )
    require_agents: bool = Field(
        default=False,
        description="Clients that show no credentials of an agent are refused (407). Needed to "
        "listen beyond this machine.",
        examples=[True],
    )


class ServerEntry(Section):
    """An MCP server that the policy gives a name."""

    url: Url = Field(
        description="The URL of its endpoint; `/**` at the end stands for all paths below.",
        examples=["https://api.githubcopilot.com/mcp/**"],
    )
    auth: Many[HostPattern] = Field(
        default=(),
        description="Hosts of its authorization server; its OAuth traffic is open there and on "
        "its own origin, and a host that only its metadata names asks once.",
        examples=[["login.example.com"]],
    )


class McpSection(McpRules):
    """What agents may do on MCP servers."""

    unknown_servers: Verb = Field(
        default="ask",
        description="An endpoint that no server names; decided first, once for each agent and "
        "endpoint.",
        examples=["deny"],
    )
    delegated: Delegated = Field(
        default="ask",
        description="MCP servers that a request asks a model API to call, where no rule with "
        "`method: delegate` decides; `strip` takes them out of the request. An ask is one "
        "question for each agent, server and API.",
        examples=["strip"],
    )
    otherwise: Verb = Field(
        default="ask", description="Calls that no rule matched.", examples=["deny"]
    )


class EgressSection(EgressRules):
    """Where else agents may go."""

    otherwise: Verb = Field(
        default="deny", description="Traffic that no rule matched.", examples=["ask"]
    )


class HoldSection(Section):
    """How long a call waits for a person, and what happens with nobody attached."""

    wait: Duration = Field(
        default="45s", description="From 1s to 1h; then the call is denied.", examples=["45s"]
    )
    unattended: Literal["deny", "wait"] = Field(
        default="deny",
        description="What becomes of calls that need a person while no operator is attached.",
        examples=["wait"],
    )
    ticket: Length = Field(
        default="10m",
        description="How long one retry may pass after a call was approved whose client had given "
        "up.",
        examples=["30m"],
    )
    allow_for: Length = Field(
        default="15m",
        description="How long an approval for a time lasts where the operator names none.",
        examples=["1h"],
    )
    deny_for: Length = Field(
        default="1h",
        description="How long a denial for a time lasts where the operator names none.",
        examples=["8h"],
    )


class RulesFile(Section):
    """A pack of rules, or the locked layer of an organisation."""

    version: Annotated[Literal[1], BeforeValidator(number_not_bool)] = Field(
        description="The format of the file.", examples=[1]
    )
    description: Reason | None = Field(
        default=None, description="What the rules are for.", examples=["Commands that destroy data"]
    )
    extends: Annotated[tuple[Extended, ...], BeforeValidator(one_or_many)] = Field(
        default=(),
        description="Packs whose rules come after those of this file: a name that "
        "`mitmgate packs` shows, or the path of a file, relative to this one.",
        examples=[["destructive-commands", "./team.yaml"]],
    )
    mcp: McpRules = Field(
        default=McpRules(),
        description="Rules for MCP.",
        examples=[{"rules": [{"id": "no-rm", "tool": "rm", "then": "deny"}]}],
    )
    egress: EgressRules = Field(
        default=EgressRules(),
        description="Rules for all other traffic.",
        examples=[{"rules": [{"id": "pastes", "host": "paste.example", "then": "deny"}]}],
    )


class PolicyFile(Section):
    """A whole policy file, version 1."""

    version: Annotated[Literal[1], BeforeValidator(number_not_bool)] = Field(
        description="The format of the file.", examples=[1]
    )
    mode: Mode = Field(
        default="enforce",
        description="`shadow`: what the rules and scanners would have done is only recorded. "
        "Locked rules are enforced all the same.",
        examples=["shadow"],
    )
    contact: Reason | None = Field(
        default=None,
        description="Whom to ask, as it stands in every denial of what is not MCP.",
        examples=["security@example.com"],
    )
    extends: Annotated[tuple[Extended, ...], BeforeValidator(one_or_many)] = Field(
        default=(),
        description="Packs whose rules come after those of this file: a name that "
        "`mitmgate packs` shows, or the path of a file, relative to this one.",
        examples=[["destructive-commands", "./team.yaml"]],
    )
    network: NetworkSection = Field(
        default=NetworkSection(),
        description="How names are resolved, and which private addresses may be dialled.",
        examples=[{"allow_private": ["10.1.0.0/16"]}],
    )
    agents: dict[AgentName, AgentEntry] = Field(
        default_factory=dict,
        description="Agents that show who they are, by name; `mitmgate agent` edits them.",
        examples=[{"ci-runner": {"groups": ["bots"]}}],
    )
    servers: dict[Name, ServerEntry] = Field(
        default_factory=dict,
        description="MCP servers by name; an entry opens its URL for MCP and for nothing else.",
        examples=[{"github": {"url": "https://api.githubcopilot.com/mcp/**"}}],
    )
    mcp: McpSection = Field(
        default=McpSection(),
        description="What agents may do on MCP servers.",
        examples=[{"otherwise": "ask"}],
    )
    egress: EgressSection = Field(
        default=EgressSection(),
        description="Where else agents may go.",
        examples=[{"otherwise": "deny"}],
    )
    scan: ScanSection = Field(
        default=ScanSection(),
        description="What findings of the scanners do.",
        examples=[{"injection": {"results": "ask"}}],
    )
    hold: HoldSection = Field(
        default=HoldSection(),
        description="How a call waits for a person.",
        examples=[{"wait": "45s"}],
    )
