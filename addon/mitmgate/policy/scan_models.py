"""The ``scan`` section of a policy as pydantic models: what findings do, and what is let be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mitmgate.policy import syntax
from mitmgate.policy.fields import (
    EditingEffect,
    Effect,
    Glob,
    HostPattern,
    Many,
    Name,
    Reason,
    Section,
    checked,
)

DefinitionEffect = Literal["log", "hide", "ask", "deny"]
Detector = Literal["secrets", "injection", "poisoning", "pii", "canary", "limits"]
SurfaceName = Literal[
    "arguments", "results", "definitions", "egress_request", "egress_response", "model_request"
]
PackPath = Annotated[str, checked(syntax.parse_pack_path)]
ValueHash = Annotated[str, checked(syntax.parse_value_hash)]


class SecretsEffects(Section):
    """What a found credential does, surface by surface.

    Redaction is offered only where the receiver can live with an edited text.
    """

    arguments: EditingEffect = Field(
        default="deny", description="In what a client sends to an MCP server.", examples=["redact"]
    )
    results: EditingEffect = Field(
        default="redact", description="In what an MCP server answers.", examples=["redact"]
    )
    definitions: DefinitionEffect = Field(
        default="log",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["hide"],
    )
    egress_request: EditingEffect = Field(
        default="deny", description="In requests that are not MCP.", examples=["deny"]
    )
    egress_response: Effect = Field(
        default="log", description="In answers that are not MCP.", examples=["deny"]
    )
    model_request: EditingEffect = Field(
        default="redact", description="In requests to known model APIs.", examples=["redact"]
    )


class InjectionEffects(Section):
    """What a found injection does, surface by surface. It is never edited away.

    Text with one sentence cut out of it is still the attacker's text.
    """

    arguments: Effect = Field(
        default="log", description="In what a client sends to an MCP server.", examples=["deny"]
    )
    results: Effect = Field(
        default="ask", description="In what an MCP server answers.", examples=["deny"]
    )
    definitions: DefinitionEffect = Field(
        default="hide",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["hide"],
    )
    egress_request: Effect = Field(
        default="log", description="In requests that are not MCP.", examples=["deny"]
    )
    egress_response: Effect = Field(
        default="ask",
        description="In answers that are not MCP; in those of model APIs it is only logged.",
        examples=["deny"],
    )
    model_request: Effect = Field(
        default="log", description="In requests to known model APIs.", examples=["log"]
    )


class PoisoningEffects(Section):
    """What a poisoned definition does: text in a list that steers the model past its user."""

    arguments: Effect = Field(
        default="log", description="In what a client sends to an MCP server.", examples=["log"]
    )
    results: Effect = Field(
        default="log", description="In what an MCP server answers.", examples=["ask"]
    )
    definitions: DefinitionEffect = Field(
        default="hide",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["deny"],
    )
    egress_request: Effect = Field(
        default="log", description="In requests that are not MCP.", examples=["log"]
    )
    egress_response: Effect = Field(
        default="log", description="In answers that are not MCP.", examples=["ask"]
    )
    model_request: Effect = Field(
        default="log", description="In requests to known model APIs.", examples=["log"]
    )


class PiiEffects(Section):
    """What found personal data does, surface by surface."""

    arguments: EditingEffect = Field(
        default="log", description="In what a client sends to an MCP server.", examples=["redact"]
    )
    results: EditingEffect = Field(
        default="log", description="In what an MCP server answers.", examples=["redact"]
    )
    definitions: DefinitionEffect = Field(
        default="log",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["log"],
    )
    egress_request: EditingEffect = Field(
        default="log", description="In requests that are not MCP.", examples=["deny"]
    )
    egress_response: Effect = Field(
        default="log", description="In answers that are not MCP.", examples=["ask"]
    )
    model_request: EditingEffect = Field(
        default="log", description="In requests to known model APIs.", examples=["redact"]
    )


class CanaryEffects(Section):
    """What the sight of a canary does, surface by surface: a credential planted as bait."""

    arguments: EditingEffect = Field(
        default="deny", description="In what a client sends to an MCP server.", examples=["deny"]
    )
    results: EditingEffect = Field(
        default="redact", description="In what an MCP server answers.", examples=["deny"]
    )
    definitions: DefinitionEffect = Field(
        default="hide",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["deny"],
    )
    egress_request: EditingEffect = Field(
        default="deny", description="In requests that are not MCP.", examples=["deny"]
    )
    egress_response: Effect = Field(
        default="log", description="In answers that are not MCP.", examples=["deny"]
    )
    model_request: EditingEffect = Field(
        default="redact", description="In requests to known model APIs.", examples=["redact"]
    )


class LimitsEffects(Section):
    """What a message does that is too much to scan: more work than its size is worth."""

    arguments: Effect = Field(
        default="deny", description="In what a client sends to an MCP server.", examples=["ask"]
    )
    results: Effect = Field(
        default="ask", description="In what an MCP server answers.", examples=["deny"]
    )
    definitions: Effect = Field(
        default="deny",
        description="In lists of tools, prompts, resources, and `instructions`.",
        examples=["ask"],
    )
    egress_request: Effect = Field(
        default="deny", description="In requests that are not MCP.", examples=["ask"]
    )
    egress_response: Effect = Field(
        default="log", description="In answers that are not MCP.", examples=["ask"]
    )
    model_request: Effect = Field(
        default="log", description="In requests to known model APIs.", examples=["log"]
    )


class AllowedEntry(Section):
    """Findings that are let be: all that is given has to fit."""

    reason: Reason = Field(
        description="Why this is no danger; people will ask.",
        examples=["the test key of the vendor's documentation"],
    )
    value: ValueHash | None = Field(
        default=None,
        description="One exact value: its `value_hash` in the audit log of this installation.",
        examples=["0501b30107726983"],
    )
    rule: Many[Glob] | None = Field(
        default=None,
        description="Ids of scanner rules, or globs of them.",
        examples=["secret.jwt"],
    )
    surface: Many[SurfaceName] | None = Field(
        default=None, description="Where the text stands.", examples=["results"]
    )
    pointer: Many[Glob] | None = Field(
        default=None,
        description="JSON pointers of the text in its message, or globs of them.",
        examples=["/params/arguments/signature"],
    )
    server: Many[Name] | None = Field(
        default=None, description="Names of MCP servers.", examples=["github"]
    )
    tool: Many[Glob] | None = Field(
        default=None,
        description="Tools, prompts or URIs of resources, or globs of them.",
        examples=["create_token"],
    )
    host: Many[HostPattern] | None = Field(
        default=None, description="Hosts, as in egress rules.", examples=["*.corp.example"]
    )


class ScanSection(Section):
    """What findings do."""

    secrets: SecretsEffects = Field(
        default=SecretsEffects(),
        description="Found credentials.",
        examples=[{"arguments": "deny", "results": "redact"}],
    )
    injection: InjectionEffects = Field(
        default=InjectionEffects(),
        description="Found instructions to the model.",
        examples=[{"results": "ask"}],
    )
    poisoning: PoisoningEffects = Field(
        default=PoisoningEffects(),
        description="Found instructions in what defines tools, prompts and resources.",
        examples=[{"definitions": "hide"}],
    )
    pii: PiiEffects = Field(
        default=PiiEffects(),
        description="Found personal data.",
        examples=[{"egress_request": "redact"}],
    )
    canary: CanaryEffects = Field(
        default=CanaryEffects(),
        description="Planted credentials that came back.",
        examples=[{"egress_request": "deny"}],
    )
    limits: LimitsEffects = Field(
        default=LimitsEffects(),
        description="Messages that are too much to scan.",
        examples=[{"results": "deny"}],
    )
    allow: tuple[AllowedEntry, ...] = Field(
        default=(),
        description="Findings that are let be, each with its reason. They are still recorded.",
        examples=[[{"rule": "secret.jwt", "server": "github", "reason": "short-lived"}]],
    )
    packs: tuple[PackPath, ...] = Field(
        default=(),
        description="Files of your own scanner rules, relative to this file.",
        examples=[["./acme-secrets.yaml"]],
    )
