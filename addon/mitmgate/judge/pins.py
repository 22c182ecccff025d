"""Agent cards that were accepted: the first is kept, and another one in its place asks.

An agent card (A2A 1.0 section 8) tells agents what another agent does and where to send what:
whoever changes it steers them. What is compared is the SHA-256 of its canonical JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.a2a import CARDS, PROTOCOL, PUBLIC_CARD, REST_CARDS
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, answer_refused
from mitmgate.judge.inputs import EventInput
from mitmgate.judge.prepare import PreparedAnswer
from mitmgate.policy.decide import agent_sentence, strictest, with_remembered
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.a2a import card_digest, plain_path
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface

CODE = "card_changed"


def as_card(context: Context, prepared: PreparedAnswer) -> PreparedAnswer:
    """Return *prepared*, its findings on the surface of definitions where a card was asked for.

    Members that a card lacks do not change what its reader takes it for.
    """
    if not _is_card(context, prepared):
        return prepared
    findings = tuple(
        replace(f, surface=Surface.DEFINITIONS)
        if f.surface is Surface.EGRESS_RESPONSE and not f.pointer.startswith("#header")
        else f
        for f in prepared.findings
    )
    return replace(prepared, findings=findings)


def with_pins(context: Context, prepared: PreparedAnswer, concluded: Concluded) -> Concluded:
    """Return *concluded*, on the answer *prepared*, stricter where it is a card that changed."""
    allowed = concluded.weighed.decision.verdict is Verdict.ALLOW
    if not allowed or not _is_card(context, prepared):
        return concluded
    try:
        pins = list(_pins(context, prepared))
    except WireError as problem:
        return replace(concluded, weighed=Weighed(answer_refused(problem, code="parse_error")))
    cards = context.memory.inventory.cards
    for place, digest in pins:
        known = cards.accepted(place)
        if known is not None and known != digest:
            changed = _changed(context, concluded, place, (known, digest))
            if changed is not None:
                return changed
        cards.accept(place, digest)
    return concluded


def _is_card(context: Context, prepared: PreparedAnswer) -> bool:
    subject = context.exchange.subject
    asked = subject.protocol == PROTOCOL and subject.tool in CARDS
    return asked and 200 <= prepared.input.head.status < 300


def _pins(context: Context, prepared: PreparedAnswer) -> Iterator[tuple[str, str]]:
    """Yield place and digest of each card; ``WireError`` where a client may read what we cannot."""
    given, text, subject = prepared.input, prepared.body.text, context.exchange.subject
    if isinstance(given, EventInput):
        raise WireError("not_json", "an agent card is no event stream")
    if not given.body:
        return
    if text is None:
        told = "an agent card is JSON in UTF-8, and its server has to say application/json"
        raise WireError("not_json", told)
    if text.lstrip().startswith("<"):
        return  # a page, as of a server that has no card
    # An extended card is for whom it was given to.
    who = "" if subject.tool == PUBLIC_CARD else f" for {subject.agent}"
    scheme, _, rest = subject.endpoint.partition("://")
    authority, slash, path = rest.partition("/")
    place = f"{scheme}://{authority}{plain_path(slash + path)}{who}"
    value = parse_json(text)
    if subject.tool in REST_CARDS:
        yield place, card_digest(value)
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping) and "result" in one:
            yield place, card_digest(one["result"])


def _changed(
    context: Context, concluded: Concluded, place: str, digests: tuple[str, str]
) -> Concluded | None:
    """Return *concluded* with the question about the new card, None where it was allowed."""
    before, now = digests
    reason = (
        f"the agent card at {place} is another than the one that was accepted "
        f"(SHA-256 {now[:12]}, was {before[:12]})"
    )
    told = agent_sentence(Verdict.ASK, "change of an agent card")
    asked = Decision(Verdict.ASK, "agent_card", CODE, reason, told, severity="high")
    question = f"card {place} {now}"
    asked = with_remembered(asked, context.memory.remembered(question))
    if asked.verdict is Verdict.ALLOW:
        return None
    if asked.verdict is Verdict.DENY:
        asked = replace(asked, agent_reason=agent_sentence(Verdict.DENY, "agent card"))
    weighed = replace(concluded.weighed, decision=strictest(concluded.weighed.decision, asked))
    return replace(concluded, weighed=weighed, question=question)
