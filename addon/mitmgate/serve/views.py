"""From judgements to what consoles and shells see: rows, pending entries, one log line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mitmgate.control.models import FindingView, On, Pending, Row, ScopeChoice, Switch
from mitmgate.errors import WireError
from mitmgate.hold.target import Target
from mitmgate.judge.halt import Halt
from mitmgate.judge.inputs import ConnectInput, DialInput, EndInput
from mitmgate.judge.judge import Prepared
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.verdict import Verdict
from mitmgate.record.scrub import Scans, scrub
from mitmgate.scan.engine import KEY_MARK
from mitmgate.scan.redact import redactable, redaction_edits
from mitmgate.serve.shortening import LONGEST, bounded, cut, short
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.strictjson import parse_json

_SHOWN = 64 * 1024
_MOST_FINDINGS = 100
_MOST_NAMES = 50
_LONGEST_NAME = 200
_LONGEST_FOLDER = 500
_LONGEST_REASON = 1_000


def row_of(outcome: Outcome, *, time: float, scanner: Scans, held: bool = False) -> Row:
    """Return the live view's row of *outcome*; *time* in seconds since the epoch.

    Peers choose names, paths and pointers: they are cut, and *scanner* takes out those that hold a
    secret.
    """
    row = _row(outcome, time=time, held=held)
    plain = row.model_dump()
    scrubbed = scrub(plain, scanner)
    if scrubbed == plain:
        return row
    return Row.model_validate({**scrubbed, "id": row.id, "channel": row.channel})


def _row(outcome: Outcome, *, time: float, held: bool) -> Row:
    subject = outcome.subject
    found = outcome.findings[:_MOST_FINDINGS]
    place = _places(outcome)
    return Row(
        id=outcome.id,
        time=time,
        kind=outcome.kind,
        channel=subject.channel,
        agent=short(subject.agent),
        server=None if subject.server is None else short(subject.server),
        host=short(subject.host),
        endpoint=short(subject.endpoint, _LONGEST_FOLDER),
        method=short(subject.method),
        tool=None if subject.tool is None else short(subject.tool),
        verdict=_word(outcome.verdict),
        rule=outcome.rule,
        code=outcome.code,
        reason=short(outcome.reason, _LONGEST_REASON),
        enforced=outcome.enforced,
        edits=len(outcome.edits),
        severity=outcome.severity,
        shadow=None
        if outcome.shadow is None
        else (f"{outcome.shadow.verdict.word} by {outcome.shadow.rule}"),
        findings=tuple(
            FindingView(
                detector=f.detector,
                rule=f.rule,
                severity=f.severity,
                surface=f.surface.value,
                pointer=place(f.pointer),
            )
            for f in found
        ),
        held=held,
        grant=outcome.grant,
    )


def _places(outcome: Outcome) -> Callable[[str], str]:
    """Return what makes a pointer short; half a secret in a name must not be what is left."""
    names = {
        f.pointer.removesuffix(KEY_MARK)[:LONGEST]
        for f in outcome.findings[:_MOST_FINDINGS]
        if f.pointer.endswith(KEY_MARK)
    }

    def place(pointer: str) -> str:
        if len(pointer) <= LONGEST:
            return pointer
        name = next((one for one in names if pointer.startswith(one)), None)
        return short(pointer) if name is None else f"{name.rpartition('/')[0]}/*"

    return place


def pending_of(outcome: Outcome, arguments: Any, *, scanner: Scans) -> Pending:
    """Return the pending entry of *outcome*; *arguments* as :func:`arguments_of` gives them."""
    row = row_of(outcome, time=0.0, scanner=scanner, held=True)
    return Pending(id=outcome.id, row=row, since=0.0, deadline=0.0, arguments=arguments)


def without_arguments(pending: Pending) -> Pending:
    """Return *pending* as somebody without the operator key may see it."""
    scopes = tuple(ScopeChoice(on=one.on, covers=one.covers) for one in pending.scopes)
    return pending.model_copy(update={"arguments": None, "scopes": scopes, "changed": None})


def scope_choices(target: Target, row: Row, *, scanner: Scans) -> tuple[ScopeChoice, ...]:
    """Return the ways to remember an answer to the call of *row*, the narrowest first."""
    names = tuple(sorted(target.arguments or ()))
    every = (_choice(on, target, row, names) for on in scopes_offered(target))
    return tuple(ScopeChoice.model_validate(scrub(one.model_dump(), scanner)) for one in every)


def scopes_offered(target: Target) -> tuple[On, ...]:
    """Return what an answer to *target* can cover, as far as a person can choose it.

    Not the values of arguments where some have very long names, or there are very many.
    """
    names = target.arguments or ()
    few = len(names) <= _MOST_NAMES and all(len(name) <= _LONGEST_NAME for name in names)
    without = set() if few else {"values"}
    without |= set() if folders_offered(target) else {"prefix"}
    return tuple(on for on in target.scopes if on not in without)


def folders_offered(target: Target) -> tuple[str, ...]:
    """Return the folders to choose from, the deepest first."""
    return tuple(folder for folder in target.prefixes if len(folder) <= _LONGEST_FOLDER)


def covers_of(on: On, row: Row, names: tuple[str, ...] = (), prefix: str | None = None) -> str:
    """Say in words what an answer to the call of *row* covers."""
    what = f"{row.method} {row.tool}" if row.tool else row.method
    where = row.server or row.endpoint
    match on:
        case "call":
            return f"exactly this {what} on {where}"
        case "values":
            same = f"the same {', '.join(names)}" if names else "the same values"
            return f"{what} on {where} with {same}"
        case "tool":
            return f"every {what} on {where}"
        case "server":
            return f"every call of {where}"
        case "url":
            return f"{row.method} {row.endpoint}, whatever is sent"
        case "prefix":
            return f"{row.method} below {prefix or 'a folder'} on {row.host}"
        case "host":
            return f"every request to {row.host} on this port"


def _choice(on: On, target: Target, row: Row, names: tuple[str, ...]) -> ScopeChoice:
    prefixes = folders_offered(target) if on == "prefix" else ()
    words = covers_of(on, row, prefix=next(iter(prefixes), None))
    return ScopeChoice(
        on=on, covers=words, names=names if on == "values" else (), prefixes=prefixes
    )


def arguments_of(outcome: Outcome, prepared: Prepared) -> Any:
    """Return what the person decides about: the params or the body, secrets replaced.

    What is long in it is cut. Pure, and work for a large body.
    """
    if isinstance(prepared, ConnectInput | DialInput | EndInput) or prepared.body.text is None:
        return None
    if outcome.subject.protocol == "oauth":
        return None  # a token request is nothing but credentials
    secrets = [
        f for f in outcome.findings if f.detector in ("secrets", "canary") and f.pointer[:1] != "#"
    ]
    if not all(redactable(finding) for finding in secrets):
        return "(not shown: a credential stands in the name of a member)"
    text = apply_edits(prepared.body.text, redaction_edits(secrets)) if secrets else (
        prepared.body.text
    )  # fmt: skip
    try:
        value = parse_json(text)
    except WireError:
        return cut(text, _SHOWN)
    if outcome.subject.channel == "mcp" and isinstance(value, dict):
        value = value.get("params", value.get("result", value))
    return bounded(value) if len(text) > _SHOWN else value


def switch_of(halt: Halt | None) -> Switch:
    """Return the kill switch as it is shown."""
    if halt is None:
        return Switch(on=False)
    return Switch(on=True, by=halt.by, since=halt.since, reason=halt.reason)


def log_line(row: Row) -> str:
    """Return the one line that a headless proxy logs for *row*; strangers' text is escaped."""
    what = f"{row.method} {row.tool}" if row.tool else row.method
    where = row.server or row.endpoint
    sign = row.verdict if row.enforced else f"shadow:{row.verdict}"
    if row.edits and row.enforced and row.verdict == "allow":
        sign = "redacted"
    told = f" (shadow: {row.shadow})" if row.shadow else ""
    line = f"{sign:<8} {row.id} {row.agent} {where} {what} [{row.rule}] {row.reason}{told}"
    return printable(line)


def printable(text: str) -> str:
    """Return *text* with everything that a terminal could act on escaped."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _word(verdict: Verdict) -> Any:
    return verdict.word
