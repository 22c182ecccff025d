"""Rules for traffic that is not MCP, as pydantic models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mitmgate.policy.fields import (
    HostPattern,
    HttpMethod,
    Many,
    PathPrefix,
    Port,
    Protocol,
    Section,
    Size,
    Text,
)
from mitmgate.policy.rule_models import RuleEntry


class EgressSampleEntry(Section):
    """A request that shows what an egress rule means."""

    url: Text = Field(
        description="The URL, with its port where that is none of the scheme.",
        examples=["https://docs.python.org/3/"],
    )
    method: HttpMethod = Field(default="GET", description="The HTTP method.", examples=["POST"])
    protocol: Protocol = Field(default="http", description="What is spoken.", examples=["a2a"])


class EgressSamplesEntry(Section):
    """What shows that an egress rule means what it should."""

    match: tuple[EgressSampleEntry, ...] = Field(
        default=(),
        description="Requests that it matches.",
        examples=[[{"url": "https://docs.python.org/3/"}]],
    )
    other: tuple[EgressSampleEntry, ...] = Field(
        default=(),
        description="Requests that it does not match.",
        examples=[[{"url": "https://docs.python.org/3/", "method": "POST"}]],
    )


class EgressRuleEntry(RuleEntry):
    """A rule for traffic that is not MCP."""

    host: Many[HostPattern] = Field(
        description="Exact names, or `*.x` for every name below x and not x itself.",
        examples=[["docs.python.org", "*.readthedocs.io"]],
    )
    methods: Many[HttpMethod] | None = Field(
        default=None, description="HTTP methods; without it all.", examples=[["GET", "HEAD"]]
    )
    ports: Many[Port] | None = Field(
        default=None,
        description="Ports. Without it a rule that allows is for the web's (80, 443, 8080, 8443), "
        "one that asks or denies for all. A port that is none of the web's is open where a rule "
        "that allows or asks names it.",
        examples=[[443]],
    )
    paths: Many[PathPrefix] | None = Field(
        default=None,
        description="The path or all below it, whole segments; a path that can be read in two "
        "ways meets no allow, and every ask and deny.",
        examples=[["/simple", "/packages"]],
    )
    protocol: Many[Protocol] | None = Field(
        default=None,
        description="What is spoken there; without it anything that is not MCP.",
        examples=["a2a"],
    )
    max_request: Size | None = Field(
        default=None,
        description="The largest body of a request; a larger one is denied.",
        examples=["1MB"],
    )
    max_session: Size | None = Field(
        default=None,
        description="How much an agent may send there within an hour, URLs and headers included; "
        "what goes beyond is denied.",
        examples=["20MB"],
    )
    websocket: Literal["text", "any"] | None = Field(
        default=None,
        description="Let WebSockets be opened: with text messages, or with binary ones too.",
        examples=["text"],
    )
    dns: bool = Field(
        default=False,
        description="Let DNS over HTTPS through, which is denied else.",
        examples=[True],
    )
    inspect: Literal["body", "headers", "none"] = Field(
        default="body",
        description="What is read: everything; of bodies above 32 MiB only the heads, so that they "
        "pass as they come; or nothing, since TLS is not opened (one exact host, port 443).",
        examples=["headers"],
    )
    oauth: bool = Field(
        default=False,
        description="These hosts issue tokens: a token request may carry assertions there.",
        examples=[True],
    )
    samples: EgressSamplesEntry = Field(
        default=EgressSamplesEntry(),
        description="Requests that the rule must match, and must not; `mitmgate check` tries them.",
        examples=[{"match": [{"url": "https://docs.python.org/3/"}]}],
    )


class EgressRules(Section):
    """The egress rules of a pack or of the locked layer."""

    rules: tuple[EgressRuleEntry, ...] = Field(
        default=(),
        description="From top to bottom, the first that matches decides.",
        examples=[[{"id": "docs", "host": "docs.python.org", "methods": ["GET"], "then": "allow"}]],
    )
