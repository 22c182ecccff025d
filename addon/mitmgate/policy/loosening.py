"""Does a changed policy let through more? What may, in sentences for the operator who decides.

No sentence means: whatever the call, its verdict is not laxer, as much is edited, and as much is
hidden. A sentence means that this could not be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from mitmgate.net.domains import DomainSet
from mitmgate.policy.agents import AgentTable
from mitmgate.policy.compiled import Policy
from mitmgate.policy.egress_rule import WEB_PORTS, EgressRule
from mitmgate.policy.guards import domains_cover
from mitmgate.policy.laxness import EgressKind, McpKind, effect_holds, opens_more
from mitmgate.policy.loosening_rules import Pairs, Versions
from mitmgate.policy.syntax import Network, ServerUrl
from mitmgate.policy.verdict import Verdict

_PASSES = (Verdict.ALLOW, Verdict.ALLOW)


def loosened(old: Policy, new: Policy) -> tuple[str, ...]:
    """Return a sentence for each change from *old* to *new* that may let through more.

    They name rules, servers, hosts, agents and keys, never a token or its hash.
    """
    pairs = Pairs()
    return tuple(
        chain(
            _settings(old, new),
            remembered_loosened(old, new),
            _scan(old, new),
            _network(old, new),
            _agents(old, new),
            _servers(old, new),
            _mcp_rules(old, new, pairs),
            _egress_rules(old, new, pairs),
        )
    )


def _settings(old: Policy, new: Policy) -> Iterator[str]:
    if new.mode == "shadow" and old.mode != "shadow":
        yield "mode is shadow"
    if new.unattended == "wait" and old.unattended != "wait":
        yield "hold.unattended waits"
    if new.ticket > old.ticket:
        yield f"hold.ticket: {new.ticket:.0f} s, was {old.ticket:.0f} s"
    if new.allow_for > old.allow_for:
        yield f"hold.allow_for: {new.allow_for:.0f} s, was {old.allow_for:.0f} s"
    if new.deny_for < old.deny_for:
        yield f"hold.deny_for: {new.deny_for:.0f} s, was {old.deny_for:.0f} s"
    lasts = {
        "mcp.unknown_servers": (old.unknown_servers, new.unknown_servers),
        "mcp.otherwise": (old.mcp_otherwise, new.mcp_otherwise),
        "egress.otherwise": (old.egress_otherwise, new.egress_otherwise),
    }
    for key, (before, now) in lasts.items():
        if now < before:
            yield f"{key}: {now.word}, was {before.word}"
    if new.delegated not in (old.delegated, "deny") and old.delegated != "allow":
        yield f"mcp.delegated: {new.delegated}, was {old.delegated}"


def remembered_loosened(old: Policy, new: Policy) -> Iterator[str]:
    """Yield a sentence for each answer for ever that is new and allows, or gone and denied."""
    before = () if old.remembered is None else old.remembered.rules
    now = () if new.remembered is None else new.remembered.rules
    known, left = {rule.meaning for rule in before}, {rule.meaning for rule in now}
    for rule in now:
        if rule.then == "allow" and rule.meaning not in known:
            yield f"remembered rule {rule.id} is new and allows"
    for rule in before:
        if rule.then == "deny" and rule.meaning not in left:
            yield f"remembered rule {rule.id} is gone, it denied"


def _scan(old: Policy, new: Policy) -> Iterator[str]:
    for (detector, surface), effect in old.effects.items():
        given = new.effects[detector, surface]
        if not effect_holds(effect, given):
            yield f"scan.{detector}.{surface}: {given}, was {effect}"
    for allowance in new.allowances:
        if allowance not in old.allowances:
            yield f"scan.allow lets findings be: {allowance.words}"
    for pack in old.packs:
        if pack not in new.packs:
            gone = pack.file not in {one.file for one in new.packs}
            yield f"scan.packs: {pack.file} {'is gone' if gone else 'is another'}"


def _network(old: Policy, new: Policy) -> Iterator[str]:
    for host, address in new.static_names.items():
        before = old.static_names.get(host)
        if before != address:
            yield f"network.resolve: {host} is {address}, was {before or 'left to DNS'}"
    for host, address in old.static_names.items():
        if host not in new.static_names:
            yield f"network.resolve: {host} is left to DNS, was {address}"
    for network in new.private_networks:
        if not _is_open(old, network):
            yield f"network.allow_private opens {network}"


def _is_open(policy: Policy, network: Network) -> bool:
    if (
        network.prefixlen == network.max_prefixlen
    ):  # what opens a metadata address, and nothing else
        return policy.private_allowed(str(network.network_address))
    return any(
        network.network_address in one and network.broadcast_address in one
        for one in policy.private_networks
    )


def _agents(old: Policy, new: Policy) -> Iterator[str]:
    if old.require_agents and not new.require_agents:
        yield "network.require_agents is gone"
    before, now = _tokens(old.agents), _tokens(new.agents)
    for name, tokens in now.items():
        known = before.get(name, frozenset())
        if tokens and name not in before:
            yield f"agent {name} is new"
        elif tokens - known:
            yield f"agent {name} has a new token"
        elif tokens and old.agents.groups_of(name) != new.agents.groups_of(name):
            yield f"agent {name} is in other groups"
    # An agent that is gone is refused. With none left nobody is asked, and its address counts.
    if old.agents and not new.agents and not new.require_agents:
        yield "no agents are left, so that all are known by their addresses"


def _tokens(table: AgentTable) -> dict[str, frozenset[str]]:
    return {name: frozenset(hashes) for name, hashes in table._hashes.items()}


def _servers(old: Policy, new: Policy) -> Iterator[str]:
    for name, url in new.server_urls.items():
        if name not in old.server_urls:
            yield f"server {name} is new"
        elif url != old.server_urls[name]:
            yield f"server {name} has another URL"
    for name, hosts in new.auth_hosts.items():
        before = old.auth_hosts.get(name)
        if before is not None and not _is_part(hosts, before):
            yield f"server {name} has another host in auth"
    for name, url in old.server_urls.items():
        if name not in new.server_urls and not _is_shut(new, url):
            yield f"server {name} is gone"


def _is_part(hosts: DomainSet, of: DomainSet) -> bool:
    return hosts.exact <= of.exact and set(hosts.suffixes) <= set(of.suffixes)


def _is_shut(policy: Policy, url: ServerUrl) -> bool:
    """Say whether *url*, which names no server any more, can surely not be reached at all."""
    return (
        policy.unknown_servers is Verdict.DENY
        and url.host not in policy.servers_by_host
        and policy.egress_otherwise is Verdict.DENY
        and all(
            rule.verdict is Verdict.DENY or rule.effects.shadow or not rule.hosts.matches(url.host)
            for rule in policy.egress_rules
        )
    )


def _mcp_rules(old: Policy, new: Policy, pairs: Pairs) -> Iterator[str]:
    lasts = (old.mcp_otherwise, new.mcp_otherwise)
    phases = (
        (old.calls, new.calls, lasts, False),
        (old.results, new.results, _PASSES, False),
        (old.locked_calls, new.locked_calls, _PASSES, True),
        (old.locked_results, new.locked_results, _PASSES, True),
    )
    for before, now, last, locked in phases:
        rules = (before.rules, now.rules)
        kind = McpKind.of(old, new, rules, lasts=last, locked=locked)
        yield from Versions(*rules, kind, pairs, locked).sentences()


def _egress_rules(old: Policy, new: Policy, pairs: Pairs) -> Iterator[str]:
    layers = (
        (old.egress_rules, new.egress_rules, (old.egress_otherwise, new.egress_otherwise), False),
        (old.locked_egress, new.locked_egress, _PASSES, True),
    )
    for before, now, lasts, locked in layers:
        kind = EgressKind(
            lasts,
            tunnels=new.unknown_servers is not Verdict.DENY,
            opening=any(map(opens_more, now)),
        )
        yield from Versions(before, now, kind, pairs, locked).sentences()
    yield from _ports(old, new, pairs)


def _ports(old: Policy, new: Policy, pairs: Pairs) -> Iterator[str]:
    """Yield a sentence for each rule that opens a port, whatever decides on what goes there."""
    before = [rule for rule in old.egress_rules if _is_opener(rule)]
    for rule in new.egress_rules:
        if not _is_opener(rule) or rule in before:
            continue
        pairs.left -= len(before)
        known = (
            other for other in before if pairs.left > 0 and domains_cover(other.hosts, rule.hosts)
        )
        opened = sorted((rule.ports or frozenset()) - WEB_PORTS - _all_ports(known))
        if opened:
            more = "s" if len(opened) > 1 else ""
            yield f"rule {rule.id} opens port{more} {', '.join(map(str, opened))}"


def _all_ports(rules: Iterable[EgressRule]) -> frozenset[int]:
    return frozenset().union(*(rule.ports or () for rule in rules))


def _is_opener(rule: EgressRule) -> bool:
    opens = bool((rule.ports or frozenset()) - WEB_PORTS)
    return opens and not rule.effects.shadow and rule.verdict is not Verdict.DENY
