"""Parsed policy files to a policy ready to be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy import syntax
from mitmgate.policy.agents import AgentTable
from mitmgate.policy.allowances import Allowance
from mitmgate.policy.compiled import Policy, ScanEffect, ScanPack
from mitmgate.policy.conditions import compile_where
from mitmgate.policy.egress_models import EgressRuleEntry
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.models import (
    AllowedEntry,
    McpRuleEntry,
    PolicyFile,
    RuleEntry,
    RulesFile,
    ScanSection,
    WindowEntry,
)
from mitmgate.policy.rules import ALWAYS, Circumstances, Effects, McpRule, RuleSet
from mitmgate.policy.syntax import ServerUrl
from mitmgate.policy.verdict import Verdict
from mitmgate.policy.window import DAYS, Window

type Layer = tuple[str, RulesFile]
"""The name of a file of rules, and what it says."""


def compile_policy(
    file: PolicyFile,
    digest: str,
    packs: Iterable[Layer] = (),
    locked: Iterable[Layer] = (),
    scan_packs: Iterable[ScanPack] = (),
) -> Policy:
    """Return the policy of *file* and the *packs* that it extends, under the *locked* layer.

    *scan_packs* are the files of scanner rules that it names.
    """
    urls = {name: syntax.parse_server_url(entry.url) for name, entry in file.servers.items()}
    static = {
        syntax.parse_static_name(name): syntax.parse_address(address)
        for name, address in file.network.resolve.items()
    }
    layers: list[tuple[str, PolicyFile | RulesFile]] = [("", file), *packs]
    floors: list[tuple[str, PolicyFile | RulesFile]] = [*locked]
    rules, floor = _mcp_rules(layers), _mcp_rules(floors, locked=True)
    return Policy(
        hash=digest,
        base=digest,
        mode=file.mode,
        contact=file.contact,
        static_names=MappingProxyType(static),
        private_networks=tuple(map(syntax.parse_network, file.network.allow_private)),
        server_urls=MappingProxyType(urls),
        servers_by_host=_by_host(urls),
        agents=AgentTable.of(file.agents),
        require_agents=file.network.require_agents,
        unknown_servers=Verdict.from_word(file.mcp.unknown_servers),
        mcp_rules=rules,
        calls=RuleSet(rules, "call"),
        results=RuleSet(rules, "result"),
        locked_calls=RuleSet(floor, "call"),
        locked_results=RuleSet(floor, "result"),
        mcp_otherwise=Verdict.from_word(file.mcp.otherwise),
        egress_rules=_egress_rules(layers),
        locked_egress=_egress_rules(floors),
        egress_otherwise=Verdict.from_word(file.egress.otherwise),
        effects=_effects(file.scan),
        allowances=tuple(map(_allowance, file.scan.allow)),
        packs=tuple(scan_packs),
        hold_wait=syntax.parse_duration(file.hold.wait),
        unattended=file.hold.unattended,
        ticket=syntax.parse_length(file.hold.ticket),
        allow_for=syntax.parse_length(file.hold.allow_for),
        deny_for=syntax.parse_length(file.hold.deny_for),
        delegated=file.mcp.delegated,
        auth_hosts=MappingProxyType(_auth_hosts(file)),
    )


def _auth_hosts(file: PolicyFile) -> dict[str, DomainSet]:
    return {
        name: DomainSet.of(map(parse_domain_pattern, entry.auth))
        for name, entry in file.servers.items()
    }


def _mcp_rules(
    layers: Sequence[tuple[str, PolicyFile | RulesFile]], *, locked: bool = False
) -> tuple[McpRule, ...]:
    return tuple(
        mcp_rule(entry, name, locked=locked) for name, file in layers for entry in file.mcp.rules
    )


def _egress_rules(
    layers: Sequence[tuple[str, PolicyFile | RulesFile]],
) -> tuple[EgressRule, ...]:
    return tuple(egress_rule(entry, name) for name, file in layers for entry in file.egress.rules)


def _by_host(urls: Mapping[str, ServerUrl]) -> Mapping[str, tuple[tuple[str, ServerUrl], ...]]:
    """Return the servers of each host, the most specific URL first."""
    found: dict[str, list[tuple[str, ServerUrl]]] = {}
    for name, url in sorted(urls.items(), key=lambda item: item[1].specificity, reverse=True):
        found.setdefault(url.host, []).append((name, url))
    return MappingProxyType({host: tuple(entries) for host, entries in found.items()})


def mcp_rule(entry: McpRuleEntry, layer: str = "", *, locked: bool = False) -> McpRule:
    """Return the rule that *entry* of the file *layer* spells.

    A *locked* one without ``server`` is for every server, named or not: else a policy could get
    round it by naming none.
    """
    redact = entry.redact or ()
    overrides: dict[str, str] = dict[str, str](entry.scan.items())
    overrides.update((one, "redact") for one in redact if one in syntax.DETECTORS)
    return McpRule(
        id=entry.id,
        servers=_names(entry.server),
        tools=_globs(entry.tool),
        methods=_globs(entry.method),
        where=compile_where(entry.where or {}),
        effects=_effects_of(entry),
        circumstances=_circumstances(entry),
        annotations=None
        if entry.annotations is None
        else dict[str, bool](entry.annotations.items()),
        revisions=_names(entry.revision),
        transports=_names(entry.transport),
        phase=entry.phase,
        hide=entry.hide,
        redact=tuple(one for one in redact if one not in syntax.DETECTORS),
        overrides=MappingProxyType(overrides),
        layer=layer,
        anywhere=locked and entry.server is None,
    )


def _names(texts: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if texts is None else frozenset(texts)


def _globs(texts: tuple[str, ...] | None) -> GlobSet | None:
    return None if texts is None else GlobSet.of(texts)


def _effects_of(entry: RuleEntry) -> Effects:
    return Effects(
        verdict=Verdict.from_word(entry.then),
        reason=entry.reason,
        note=entry.note,
        severity=entry.severity,
        shadow=entry.mode == "shadow",
        wait=None if entry.hold is None else syntax.parse_duration(entry.hold.wait),
    )


def _circumstances(entry: RuleEntry) -> Circumstances:
    given = Circumstances(_globs(entry.agent), _names(entry.group), _window(entry.time))
    return ALWAYS if given == ALWAYS else given


def _window(entry: WindowEntry | None) -> Window | None:
    if entry is None:
        return None
    start, end = syntax.parse_clock(entry.start), syntax.parse_clock(entry.end)
    return Window(start, end, frozenset(map(DAYS.index, entry.days)), entry.zone)


def egress_rule(entry: EgressRuleEntry, layer: str = "") -> EgressRule:
    """Return the rule that *entry* of the file *layer* spells."""
    return EgressRule(
        id=entry.id,
        hosts=DomainSet.of(map(parse_domain_pattern, entry.host)),
        methods=_names(entry.methods),
        oauth=entry.oauth,
        ports=None if entry.ports is None else frozenset(entry.ports),
        paths=None if entry.paths is None else tuple(map(syntax.parse_path_prefix, entry.paths)),
        protocols=_names(entry.protocol),
        max_request=None if entry.max_request is None else syntax.parse_size(entry.max_request),
        max_session=None if entry.max_session is None else syntax.parse_size(entry.max_session),
        websocket=entry.websocket,
        dns=entry.dns,
        inspect=entry.inspect,
        effects=_effects_of(entry),
        circumstances=_circumstances(entry),
        layer=layer,
    )


def _effects(scan: ScanSection) -> Mapping[tuple[str, str], ScanEffect]:
    table: dict[tuple[str, str], ScanEffect] = {}
    for detector in syntax.DETECTORS:
        table.update(((detector, surface), effect) for surface, effect in getattr(scan, detector))
    return MappingProxyType(table)


def _allowance(entry: AllowedEntry) -> Allowance:
    given = entry.model_dump(exclude={"reason"}, exclude_none=True)
    return Allowance(
        words=", ".join(
            f"{key} {value if isinstance(value, str) else ' or '.join(value)}"
            for key, value in given.items()
        ),
        value=entry.value,
        rules=_globs(entry.rule),
        surfaces=None if entry.surface is None else frozenset(entry.surface),
        pointers=_globs(entry.pointer),
        servers=_names(entry.server),
        tools=_globs(entry.tool),
        hosts=None if entry.host is None else DomainSet.of(map(parse_domain_pattern, entry.host)),
    )
