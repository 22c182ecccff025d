"""A policy ready to be asked: immutable, normalised, with fast matchers instead of texts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mitmgate.net.addresses import METADATA_ADDRESSES, AddressClass, classify, unmap
from mitmgate.net.domains import DomainSet
from mitmgate.policy.agents import AgentTable
from mitmgate.policy.allowances import Allowance
from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.remembered import Remembered
from mitmgate.policy.rules import McpRule, RuleSet
from mitmgate.policy.syntax import Network, ServerUrl, is_plain_path
from mitmgate.policy.verdict import Decision, Verdict

type Mode = Literal["enforce", "shadow"]
type Unattended = Literal["deny", "wait"]
type Delegated = Literal["allow", "ask", "deny", "strip"]
type Watcher = Callable[[Call | EgressCall, Any, Literal["call", "result", "egress"]], None]
"""Takes what is decided on: the call, its params or its result, and the phase."""
type ScanEffect = Literal["log", "redact", "hide", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class ScanPack:
    """A file of scanner rules that the policy names, as it was read."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator wrote, as the judge asks for it. ``hash`` names the exact files.

    ``calls`` and ``results`` are ``mcp_rules`` by phase, ready to be tried; ``locked_*`` is the
    floor that the locked layer sets: nothing can be laxer than it. ``packs`` are the files of
    scanner rules that come beside the installed ones. ``delegated`` is for MCP servers that a model
    API shall call, ``auth_hosts`` are those of each server's authorization server. ``decided``
    remembers the decisions that only depend on the target of a call, None for others.
    ``watchers`` are told of everything that is to be decided, before it is.
    ``remembered`` are the answers for ever, and ``base`` is the hash of the files without them.
    """

    hash: str
    mode: Mode
    static_names: Mapping[str, str]
    private_networks: tuple[Network, ...]
    server_urls: Mapping[str, ServerUrl]
    servers_by_host: Mapping[str, tuple[tuple[str, ServerUrl], ...]]
    unknown_servers: Verdict
    agents: AgentTable
    require_agents: bool
    mcp_rules: tuple[McpRule, ...]
    calls: RuleSet
    results: RuleSet
    locked_calls: RuleSet
    locked_results: RuleSet
    mcp_otherwise: Verdict
    egress_rules: tuple[EgressRule, ...]
    locked_egress: tuple[EgressRule, ...]
    egress_otherwise: Verdict
    effects: Mapping[tuple[str, str], ScanEffect]
    allowances: tuple[Allowance, ...]
    packs: tuple[ScanPack, ...]
    hold_wait: float
    unattended: Unattended
    ticket: float = 600.0
    allow_for: float = 900.0
    deny_for: float = 3600.0
    base: str = ""
    remembered: Remembered | None = None
    delegated: Delegated = "ask"
    auth_hosts: Mapping[str, DomainSet] = field(default_factory=dict)
    contact: str | None = None
    decided: dict[tuple[object, ...], Decision | None] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    watchers: list[Watcher] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def rule_count(self) -> int:
        """The number of rules for MCP and egress together."""
        return len(self.mcp_rules) + len(self.egress_rules)

    def resolve(self, host: str) -> str | None:
        """Return the static address of the normalised *host*, or None: ask DNS."""
        return self.static_names.get(host)

    def private_allowed(self, address: str) -> bool:
        """Say whether ``network.allow_private`` opens *address*.

        A metadata address is opened only by its own /32 or /128: whoever opens a whole
        private network does not mean to hand out the credentials of the machine.
        """
        try:
            parsed = unmap(ipaddress.ip_address(address))
        except ValueError:
            return False
        exact = classify(address) is AddressClass.METADATA or str(parsed) in METADATA_ADDRESSES
        return any(
            parsed in network and (not exact or network.prefixlen == network.max_prefixlen)
            for network in self.private_networks
        )

    def server_for(self, scheme: str, host: str, port: int, path: str) -> str | None:
        """Return the server that the normalised URL belongs to; the scheme makes no difference.

        The most specific URL wins. A path that servers may read in several ways belongs to
        none, so ``/mcp/../admin`` is an unknown endpoint and no part of ``/mcp/**``.
        """
        entries = self.servers_by_host.get(host)
        if entries is None or scheme not in ("http", "https") or not is_plain_path(path):
            return None
        for name, url in entries:  # most specific first
            if port in url.ports and url.covers(path):
                return name
        return None

    def serves_origin(self, host: str, port: int) -> bool:
        """Say whether a server of the policy stands at the normalised *host* and *port*."""
        return any(port in url.ports for _, url in self.servers_by_host.get(host, ()))
