"""Answers for ever: the rule that one would be, and the file that keeps them.

An edit replaces the file whole or not at all, and only if it says what is in force: what somebody
changed by hand waits for its confirmation first.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mitmgate.control.models import DecideRequest, GrantView
from mitmgate.errors import ConfigError
from mitmgate.hold.grants import Scope
from mitmgate.hold.target import Target
from mitmgate.judge.ever import rule_for
from mitmgate.judge.judge import Judge
from mitmgate.policy.remembered import (
    Kept,
    Remembered,
    RememberedRule,
    entry_of,
    key_name,
    parse_remembered,
)
from mitmgate.record.scrub import Scans, scrub
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.reload import Reloader, UnrecordedError
from mitmgate.serve.remembered_file import Edit, NotSavedError
from mitmgate.strictyaml import read_file

FILE = "remembered.yaml"
_MOST_DRAFTS = 64
_HEAD = """\
# Answers that count for ever, written by mitmgate when an operator gives one. `mitmgate undo ID`
# takes one out. A change by hand that loosens waits for `mitmgate policy confirm`.
version: 1
key: "{key}"
rules:
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that an operator was shown: for which entry and answer, and the file's texts.

    ``before`` is None where there is no file.
    """

    entry: str
    asked: DecideRequest
    rule: RememberedRule
    before: str | None
    text: str

    @property
    def hash(self) -> str:
        """The hash of the file's new text."""
        return f"sha256:{hashlib.sha256(self.text.encode('utf-8')).hexdigest()}"

    @property
    def words(self) -> str:
        """The rule as it is written."""
        from mitmgate.strictyaml.listing import item_text  # noqa: PLC0415 - rarely needed

        return item_text(entry_of(self.rule))

    @property
    def diff(self) -> str:
        """The change of the file, as a unified difference."""
        old = (self.before or "").splitlines(keepends=True)
        new = self.text.splitlines(keepends=True)
        origin = "/dev/null" if self.before is None else f"a/{FILE}"
        return "".join(difflib.unified_diff(old, new, origin, f"b/{FILE}", n=2))


class Rules:
    """The rules in the file at *kept*, of the policy of *judge* that *reloader* puts in force."""

    def __init__(self, judge: Judge, reloader: Reloader, kept: Kept) -> None:
        self._judge = judge
        self._reloader = reloader
        self._kept = kept
        self._drafts: OrderedDict[str, Draft] = OrderedDict()
        # Nobody else edits in the state folder of a running proxy: it was killed while it wrote.
        kept.path.with_name(f".{kept.path.name}.edit").unlink(missing_ok=True)

    @property
    def listed(self) -> tuple[RememberedRule, ...]:
        """The rules in force, the oldest first."""
        remembered = self._judge.policy.remembered
        return () if remembered is None else remembered.rules

    def get(self, rule_id: str) -> RememberedRule | None:
        """Return the rule in force with that id."""
        return next((rule for rule in self.listed if rule.id == rule_id), None)

    def covered(self, rule: RememberedRule, targets: Iterable[Target]) -> int:
        """Return how many of *targets* the *rule* is about."""
        alone = Remembered((rule,), self._kept.key)
        return sum(rule_for(alone, target) is not None for target in targets)

    async def drafted(
        self, entry: str, target: Target, scope: Scope, asked: DecideRequest, note: str
    ) -> Draft:
        """Return the rule that the answer *asked* to *entry* would be, and remember that it was
        shown. RefusedError where there can be no such rule.
        """
        rule = self._rule(entry, target, scope, asked, note)
        self._refuse_odd(rule)
        if not self.covered(rule, (target,)):
            raise RefusedError(422, "no_such_scope", "The call has no such arguments or folder.")
        if any(other.meaning == rule.meaning for other in self.listed):
            raise RefusedError(409, "said_before", "There is such a rule already.")
        before = await asyncio.to_thread(self._read)
        text = await asyncio.to_thread(self._added, before, rule)
        draft = Draft(entry, asked, rule, before, text)
        self._drafts[draft.hash] = draft
        if len(self._drafts) > _MOST_DRAFTS:
            self._drafts.popitem(last=False)
        return draft

    def shown(self, entry: str, asked: DecideRequest) -> Draft:
        """Return what was shown of the answer *asked* to *entry*; RefusedError if nothing was."""
        draft = self._drafts.get(asked.preview or "")
        if draft is None or draft.entry != entry or _about(draft.asked) != _about(asked):
            raise _changed()
        return draft

    async def save(self, draft: Draft, operator: str | None, record: Callable[[], bool]) -> None:
        """Put the rule of *draft* into the file and in force, once *record* told of it."""
        self._drafts.pop(draft.hash, None)
        await self._write(draft.before, draft.text, operator, record)

    async def remove(
        self, rule: RememberedRule, operator: str | None, record: Callable[[], bool]
    ) -> None:
        """Take *rule* out of the file and out of force, once *record* told of it."""
        before = await asyncio.to_thread(self._read)
        try:
            text = await asyncio.to_thread(self._removed, before, rule)
        except ConfigError as error:
            raise _unsaved(str(error.problems[0])) from None
        await self._write(before, text, operator, record)

    async def _write(
        self, before: str | None, text: str, operator: str | None, record: Callable[[], bool]
    ) -> None:
        edit = Edit(self._kept, before, text, self._empty)
        try:
            await self._reloader.rewrite(edit, operator, record)
        except NotSavedError as error:
            raise (_changed() if error.changed else _unsaved(str(error))) from None
        except UnrecordedError:
            raise RefusedError(
                503, "not_recorded", "It could not be recorded, so it does not count."
            ) from None

    @property
    def _empty(self) -> str:
        return _HEAD.format(key=key_name(self._kept.key))

    def _read(self) -> str | None:
        try:
            return read_file(self._kept.path) if self._kept.path.exists() else None
        except ConfigError as error:
            raise _unsaved(str(error.problems[0])) from None

    def _added(self, before: str | None, rule: RememberedRule) -> str:
        from mitmgate.strictyaml.listing import with_item  # noqa: PLC0415 - rarely needed

        text = self._empty if before is None else before
        try:
            text = with_item(text, "rules", entry_of(rule), file=FILE)
            parse_remembered(text, key=self._kept.key, file=FILE)
        except ConfigError as error:
            raise RefusedError(
                422, "no_such_rule", f"This cannot be a rule: {error.problems[0]}"
            ) from None
        return text

    def _removed(self, before: str | None, rule: RememberedRule) -> str:
        from mitmgate.strictyaml.listing import without_item  # noqa: PLC0415 - rarely needed

        if before is None:
            raise _changed()
        rules = parse_remembered(before, key=self._kept.key, file=FILE).rules
        place = next((n for n, one in enumerate(rules) if one == rule), None)
        if place is None:
            raise _changed()
        return without_item(before, "rules", place, file=FILE)

    def _rule(
        self, entry: str, target: Target, scope: Scope, asked: DecideRequest, note: str
    ) -> RememberedRule:
        given = target.arguments or {}
        missing = [name for name in scope.names if name not in given]
        if missing or (scope.on == "values" and not scope.names):
            raise RefusedError(422, "no_such_scope", "Name arguments that the call has.")
        key = Remembered((), self._kept.key).keyed
        on, is_mcp = scope.on, target.channel == "mcp"
        named = on in ("tool", "values") or (on == "call" and is_mcp)
        return RememberedRule(
            id=self._fresh_id(asked.decision, target),
            then=asked.decision,
            covers=on,
            agent=target.agent,
            server=target.server if is_mcp else None,
            origin=None if is_mcp else target.origin,
            method=None if on in ("server", "host") else target.method,
            tool=target.tool if named else None,
            prefix=scope.prefix,
            call=key(target.call) if on == "call" and target.call is not None else None,
            url=key(target.url) if on == "url" else None,
            values=tuple((name, key(given[name])) for name in scope.names),
            reason=asked.reason or None,
            note=note if on in ("call", "url", "values") else None,
            by=asked.operator,
            made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            outcome=entry,
        )

    def _fresh_id(self, answer: str, target: Target) -> str:
        host = target.origin.partition("://")[2].partition(":")[0]
        words = target.tool or host or target.method
        plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in words)
        name = f"ever-{answer}-{plain[:40].strip('-') or 'call'}"
        taken = set(self._taken())
        more = (f"{name}-{number}" for number in range(2, len(taken) + 3))
        return name if name not in taken else next(one for one in more if one not in taken)

    def _taken(self) -> Iterator[str]:
        policy = self._judge.policy
        yield from (rule.id for rule in self.listed)
        yield from (rule.id for rule in policy.mcp_rules)
        yield from (rule.id for rule in (*policy.egress_rules, *policy.locked_egress))
        yield from (rule.id for rule in policy.locked_calls.rules)

    def _refuse_odd(self, rule: RememberedRule) -> None:
        plain: dict[str, Any] = entry_of(rule) | {"values": [name for name, _ in rule.values]}
        plain = {key: value for key, value in plain.items() if key not in ("call", "url")}
        if scrub(plain, self._judge.scanner) != plain:
            raise RefusedError(
                422, "holds_secret",
                "What looks like a credential would stand in the rule; choose a time instead.",
            )  # fmt: skip
        texts = [one for one in plain.values() if isinstance(one, str)]
        if not all(text.isprintable() for text in (*texts, *(name for name, _ in rule.values))):
            raise RefusedError(
                422, "no_such_rule",
                "A name in it has characters that cannot be shown; choose a time instead.",
            )  # fmt: skip


def warnings_of(rule: RememberedRule, servers: Container[str]) -> tuple[str, ...]:
    """Return what an operator should know before *rule* counts for ever."""
    return tuple(_warnings(rule, servers))


def _warnings(rule: RememberedRule, servers: Container[str]) -> Iterator[str]:
    with suppress(ValueError):
        ipaddress.ip_address(rule.agent)
        yield f"{rule.agent} is an address: whoever calls from there is meant"
    if rule.server is not None and rule.server not in servers:
        yield "the policy has no name for this server"
    if rule.covers in ("server", "host") and rule.then == "allow":
        yield f"this is for whatever the {rule.covers} offers one day"


def view_of(rule: RememberedRule, scanner: Scans) -> GrantView:
    """Return *rule* as an answer that still counts."""
    made = 0.0
    with suppress(ValueError):
        made = time.mktime(time.strptime(rule.made or "", "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    plain = {
        "id": rule.id, "kind": "rule", "answer": rule.then, "covers": words_of(rule),
        "on": rule.covers, "lasting": "ever", "agent": rule.agent, "operator": rule.by,
        "outcome": rule.outcome or "", "made": max(0.0, made), "left": None,
    }  # fmt: skip
    return GrantView.model_validate(scrub(plain, scanner))


def words_of(rule: RememberedRule) -> str:
    """Say what *rule* covers."""
    what = " ".join(word for word in (rule.method, rule.tool) if word)
    where = rule.server or rule.origin or ""
    match rule.covers:
        case "call" | "url":
            return rule.note or f"exactly one {what} on {where}"
        case "values":
            return rule.note or f"{what} on {where} with the same values"
        case "tool":
            return f"every {what} on {where}"
        case "server" | "host":
            return f"everything on {where}"
        case "prefix":
            return f"{what} below {rule.prefix} on {where}"


def _about(asked: DecideRequest) -> tuple[object, ...]:
    return asked.decision, asked.on, tuple(sorted(asked.names)), asked.prefix


def _changed() -> RefusedError:
    return RefusedError(
        409, "file_changed",
        "The file of remembered answers is another than the one that was shown; look again.",
    )  # fmt: skip


def _unsaved(why: str) -> RefusedError:
    return RefusedError(507, "not_saved", f"Nothing was saved, and nothing counts: {why}.")
