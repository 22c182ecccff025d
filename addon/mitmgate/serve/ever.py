"""Answers for ever to calls that wait: shown before they are saved, counted, and taken back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from mitmgate.control.decisions import Preview, PreviewRequest
from mitmgate.control.models import Decided, DecideRequest, GrantView
from mitmgate.judge.ever import warm
from mitmgate.judge.judge import Judge
from mitmgate.policy.remembered import RememberedRule
from mitmgate.serve.cards import scope_of
from mitmgate.serve.given import given_by, named
from mitmgate.serve.history import history_of
from mitmgate.serve.holding import Holding
from mitmgate.serve.ledger import By, Outlets, RefusedError, grant_of
from mitmgate.serve.peers import Peer
from mitmgate.serve.reload import Reloader
from mitmgate.serve.remembered import Rules, view_of, warnings_of
from mitmgate.serve.views import covers_of
from mitmgate.serve.waiting import Given

_LONGEST_NOTE = 200


class Ever:
    """What operators say for ever of the calls of *holding*; *outlets* are where it is told."""

    def __init__(self, judge: Judge, holding: Holding, outlets: Outlets) -> None:
        self.rules: Rules | None = None
        self._audit: Path | None = None
        self._judge = judge
        self._holding = holding
        self._out = outlets
        self._mine: list[tuple[int, str | None, str]] = []

    def attach(self, reloader: Reloader, *, audit: Path | None = None) -> None:
        """Keep answers for ever where *reloader* reads them, and judge anew what waits when it
        puts another policy in force. In the file *audit* previews look up what would have been.
        """
        self._audit = audit
        warm(self._judge.policy.remembered)
        kept = reloader.source.kept
        if kept is not None:
            self.rules = Rules(self._judge, reloader, kept)
        reloader.changed = self._holding.policy_changed

    async def preview(self, key: str, asked: PreviewRequest, peer: Peer | None = None) -> Preview:
        """Return the rule that an answer for ever to entry *key* would be; RefusedError."""
        rules, holding = self._kept(), self._holding
        said = named(DecideRequest(**asked.model_dump(), lasting="ever"), peer)
        _, card = holding.find(key, said)
        scope, target = scope_of(card, said), card.target
        if target is None:
            raise RefusedError(422, "no_such_scope", "Nothing of this call can be remembered.")
        words = covers_of(scope.on, card.pending.row, scope.names, scope.prefix)
        draft = await rules.drafted(card.ask.id, target, scope, said, words[:_LONGEST_NOTE])
        others = (holding.card(held.id) for held in holding.waiting.queue if held.id != card.ask.id)
        targets = [one.target for one in others if one is not None and one.target is not None]
        audit = self._audit
        history = None if audit is None else await asyncio.to_thread(history_of, draft.rule, audit)
        return Preview(
            history=history,
            rule=draft.words, diff=draft.diff, hash=draft.hash,
            covers=rules.covered(draft.rule, targets),
            warnings=warnings_of(draft.rule, self._judge.policy.server_urls),
        )  # fmt: skip

    async def decide(self, key: str, asked: DecideRequest, peer: Peer | None = None) -> Decided:
        """Take an operator's answer for ever to entry *key*; RefusedError.

        Where it cannot be saved nothing happens, and the call goes on waiting.
        """
        rules, holding, asked = self._kept(), self._holding, named(asked, peer)
        held, card = holding.find(key, asked)
        draft = rules.shown(card.ask.id, asked)
        rule, operator = draft.rule, asked.operator
        given = replace(given_by(asked, peer), grant=rule.id)

        def record() -> bool:
            return holding.has_left(held.id) is None and self._recorded("made", rule, given)

        with holding.decided_by(held, card, operator):
            try:
                await rules.save(draft, operator, record)
            except RefusedError as refused:
                raise holding.has_left(held.id) or refused from None
        self._mine.append((holding.ledger.turn(), operator, rule.id))
        released = holding.settled
        holding.count(card, asked)
        if holding.has_left(held.id) is None:  # not even in the moment after the record
            released += holding.give(held, given)[0]
        return Decided(id=key, answer=asked.decision, released=released, grant=rule.id)

    async def undo(
        self, grant: str | None, operator: str | None, via: str, peer: Peer | None = None
    ) -> GrantView:
        """Take back the answer *grant*, or what *operator* gave last in this run; RefusedError."""
        rule = self._last_said(grant, operator)
        by = By(operator, via, None if peer is None else (peer.uid, peer.pid))
        if rule is None or self.rules is None:
            return self._holding.ledger.undo(grant, operator, via, by.peer)
        shown = view_of(rule, self._judge.scanner)
        await self.rules.remove(rule, operator, lambda: self._recorded("undone", rule, by))
        self._mine = [one for one in self._mine if one[2] != rule.id]
        return shown

    async def listed(self) -> tuple[GrantView, ...]:
        """Return everything that operators said and that still counts, rules first."""
        rules = () if self.rules is None else self.rules.listed
        scanner = self._judge.scanner
        views = await asyncio.to_thread(lambda: tuple(view_of(rule, scanner) for rule in rules))
        return (*views, *self._holding.ledger.listed())

    def _kept(self) -> Rules:
        if self.rules is None:
            raise RefusedError(422, "no_such_scope", "Nothing is kept for ever here.")
        return self.rules

    def _last_said(self, grant: str | None, operator: str | None) -> RememberedRule | None:
        """Return the rule to be taken back, None where it is another kind of answer."""
        if self.rules is None:
            return None
        if grant is not None:
            return self.rules.get(grant)
        rules = self.rules
        mine = [one for one in self._mine if one[1] == operator and rules.get(one[2]) is not None]
        if not mine or self._holding.ledger.last_turn(operator) > mine[-1][0]:
            return None
        return rules.get(mine[-1][2])

    def _recorded(self, event: str, rule: RememberedRule, by: By | Given) -> bool:
        view = view_of(rule, self._judge.scanner)
        return self._out.write(grant_of(event, view, By(by.operator, by.via, by.peer)))
