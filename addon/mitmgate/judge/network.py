"""Conclude on CONNECT targets and on the addresses that a name resolved to."""

from __future__ import annotations

from mitmgate.errors import WireError
from mitmgate.judge.agents import identify
from mitmgate.judge.hello import HelloInput, judge_hello
from mitmgate.judge.inputs import ConnectInput, DialInput
from mitmgate.judge.outcome import Subject
from mitmgate.judge.state import Exchange
from mitmgate.net.addresses import AddressClass, classify
from mitmgate.net.authority import normalise_authority
from mitmgate.policy.egress import connect_denied
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict


def judge_connect(policy: Policy, given: ConnectInput) -> tuple[Subject, Decision] | None:
    """Return the refusal of a CONNECT, or None: what is inside TLS will be judged there.

    Of a ClientHello: what lets it pass unread, or None.
    """
    if isinstance(given, HelloInput):
        return judge_hello(policy, given)
    agent, refusal = identify(policy, given)
    try:
        authority = normalise_authority(given.authority)
    except WireError as problem:
        subject = Subject(agent, "egress", "", 0, "", "CONNECT")
        return subject, _deny(problem.code, str(problem))
    port = authority.port if authority.port is not None else 443
    subject = Subject(agent, "egress", authority.host, port, f"{authority.host}:{port}", "CONNECT")
    decision = refusal or connect_denied(policy, authority.host, port)
    return None if decision is None else (subject, decision)


def judge_dial(
    policy: Policy, given: DialInput, exchange: Exchange | None
) -> tuple[Subject, Decision] | None:
    """Return the refusal of the addresses of a name, or None when every one may be dialled.

    One bad address among good ones refuses all: an answer that mixes public and private
    ones is how a name is rebound (DNS rebinding).
    """
    subject = exchange.subject if exchange is not None else _subject(given)
    if not given.addresses:
        return subject, _deny("unresolvable", f"{given.host} has no address")
    for address in given.addresses:
        problem = _problem(policy, given, address)
        if problem is not None:
            return subject, problem
    return None


def _problem(policy: Policy, given: DialInput, address: str) -> Decision | None:
    if _is_own(address, given):
        return _deny("own_address", f"{given.host} is this proxy itself")
    kind = classify(address)
    if kind is AddressClass.PUBLIC or given.static or policy.private_allowed(address):
        return None
    return _deny(
        "private_address",
        f"{given.host} resolves to a {kind.value.replace('_', '-')} address; "
        "network.allow_private or network.resolve permits it",
        f"{given.host} resolves to an address that is not public.",
    )


def _is_own(address: str, given: DialInput) -> bool:
    if (address, given.port) in given.own:
        return True
    # Who listens on every address listens on this one: a call to itself would go round for ever.
    everywhere = any(port == given.port and host in ("0.0.0.0", "::") for host, port in given.own)
    return everywhere and classify(address) is AddressClass.LOOPBACK


def _subject(given: DialInput) -> Subject:
    endpoint = f"{given.host}:{given.port}"
    return Subject(given.agent, "egress", given.host, given.port, endpoint, "CONNECT")


def _deny(code: str, reason: str, agent_reason: str | None = None) -> Decision:
    return Decision(Verdict.DENY, code, code, reason, agent_reason or f"Refused: {reason}.")
