"""Who an agent would be, and whether a host could be dialled, as far as a record tells.

A record has neither the credentials that an agent showed nor the addresses of a name. Each function
returns every possibility for two policies in step: a pair for the first and the second of them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mitmgate.net.addresses import AddressClass, classify
from mitmgate.policy.compiled import Policy
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.rules import McpRule
from mitmgate.policy.syntax import Network

type Standing = Literal["known", "other", "agent_required", "agent_refused"]
"""An agent is known by the name in the record, by another one, or refused."""

type Standings = tuple[Standing, Standing]

KNOWN: Final[Standings] = ("known", "known")
REACHED: Final = (True, True)
_EITHER: Final = (True, False)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Credentials for *name*, None: of nobody; ``good`` says which policies have their token."""

    name: str | None
    good: tuple[bool, bool]


def standings(before: Policy, after: Policy, agent: str, made_by: str) -> list[Standings]:
    """Return what each policy can make of who sent what the record calls *agent*.

    *made_by* is the hash of the policy that decided then, and let this agent in.
    """
    both = before, after
    if (before.require_agents, before.agents) == (after.require_agents, after.agents):
        return [KNOWN]
    shown: list[_Shown | None] = [*_of_name(both, agent, made_by)]
    shown = shown or [*_of_address(both, made_by)]
    # Where no rule names agents, the same ones are for it, whatever it is called.
    other: Standing = "other" if any(map(_names_agents, both)) else "known"
    pairs = ((_standing(before, agent, one, 0), _standing(after, agent, one, 1)) for one in shown)
    found = ((_put(first, other), _put(second, other)) for first, second in pairs)
    return list(dict.fromkeys(found))


def _put(standing: Standing, other: Standing) -> Standing:
    return other if standing == "other" else standing


def _of_name(both: tuple[Policy, Policy], agent: str, made_by: str) -> Iterator[_Shown]:
    """Yield the tokens of *agent* with which it can have shown its name, by who knows them."""
    first, second = (_tokens(policy, agent) for policy in both)
    for good, tokens in (
        ((True, True), first & second),
        ((True, False), first - second),
        ((False, True), second - first),
    ):
        refused = any(
            policy.hash == made_by and not fits for policy, fits in zip(both, good, strict=True)
        )
        if tokens and not refused:
            yield _Shown(agent, good)
    named = any(agent in policy.agents.names for policy in both)
    if named and made_by not in {policy.hash for policy in both}:
        yield _Shown(agent, (False, False))  # an older one


def _of_address(both: tuple[Policy, Policy], made_by: str) -> Iterator[_Shown | None]:
    """Yield what an agent without a name can have shown: a policy without agents ignores it."""
    yield None
    if any(policy.hash == made_by and policy.agents for policy in both):
        return
    yield _Shown(None, (False, False))
    names = frozenset[str]().union(*(policy.agents.names for policy in both))
    tables = [[_tokens(policy, name) for name in sorted(names)] for policy in both]
    known = [frozenset[str]().union(*table) for table in tables]
    if known[0] & known[1]:
        yield _Shown(None, (True, True))
    if known[0] - known[1]:
        yield _Shown(None, (True, False))
    if known[1] - known[0]:
        yield _Shown(None, (False, True))


def _standing(policy: Policy, agent: str, shown: _Shown | None, place: int) -> Standing:
    if not policy.agents or shown is None:
        if policy.require_agents:
            return "agent_required"
        return "known" if shown is None or shown.name is None else "other"
    if not shown.good[place]:
        return "agent_refused"
    return "known" if shown.name == agent else "other"


def _tokens(policy: Policy, agent: str) -> frozenset[str]:
    return frozenset(policy.agents._hashes.get(agent, ()))


def _names_agents(policy: Policy) -> bool:
    rules: list[McpRule | EgressRule] = [*policy.mcp_rules, *policy.locked_calls.rules]
    rules += [*policy.locked_results.rules, *policy.egress_rules, *policy.locked_egress]
    named = (one.circumstances.agents or one.circumstances.groups for one in rules)
    return policy.remembered is not None or any(one is not None for one in named)


def reaches(before: Policy, after: Policy, host: str, made_by: str) -> list[tuple[bool, bool]]:
    """Return whether each policy can dial *host*, a name or an address.

    *made_by* is the hash of the policy that decided then. That the host was refused then is told
    by a record of its own.
    """
    both = before, after
    if not other_addresses(before, after):
        return [REACHED]
    if _is_address(host):
        return [(_opens(before, host), _opens(after, host))]
    fixed = [policy.resolve(host) is not None for policy in both]
    if all(fixed):
        return [REACHED]
    wider = [not any(fixed) and _covers(one, other) for one, other in (both, both[::-1])]
    if all(wider):
        return [REACHED]
    then = [policy.hash == made_by for policy in both]
    sure = [known or decided for known, decided in zip(fixed, then, strict=True)]
    firsts, seconds = ((True,) if one else _EITHER for one in sure)
    return [
        (first, second)
        for first in firsts
        for second in seconds
        if not (wider[0] and second and not first) and not (wider[1] and first and not second)
    ]


def other_addresses(before: Policy, after: Policy) -> bool:
    """Tell whether the policies differ in the addresses that may be dialled."""
    return (before.private_networks, dict(before.static_names)) != (
        after.private_networks, dict(after.static_names),
    )  # fmt: skip


def _opens(policy: Policy, address: str) -> bool:
    return classify(address) is AddressClass.PUBLIC or policy.private_allowed(address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _covers(outer: Policy, inner: Policy) -> bool:
    """Tell whether *outer* opens every private address that *inner* opens."""
    return all(_is_inside(network, outer.private_networks) for network in inner.private_networks)


def _is_inside(network: Network, others: Iterable[Network]) -> bool:
    # A metadata address is opened by its own entry only, so an entry of one address wants itself.
    if network.prefixlen == network.max_prefixlen:
        return network in others
    return any(
        network.network_address in one and network.broadcast_address in one for one in others
    )
