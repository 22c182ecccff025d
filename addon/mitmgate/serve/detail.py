"""All that is known of a row, secrets replaced: made on request, in a thread."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mitmgate.control.detail import Detail
from mitmgate.errors import WireError
from mitmgate.judge.codec import encode_input
from mitmgate.judge.inputs import AnswerInput, EventInput, MessageInput, RequestInput
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.call import Call, request_call
from mitmgate.policy.load import Policy
from mitmgate.policy.trace import Step, trace, trace_egress
from mitmgate.record.lines import encode_line
from mitmgate.record.redact import Redactor, Scans
from mitmgate.serve.exhibits import Exhibit
from mitmgate.serve.views import row_of
from mitmgate.wire.methods import is_housekeeping
from mitmgate.wire.strictjson import parse_json

_LONGEST = 16 * 1024
_MOST_ITEMS = 500
_DEEPEST = 60
_COPIED = frozenset(
    {"accept", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name", "user-agent"}
)
_NOT_SHOWN = "(not shown: secrets in it cannot be told apart from the rest)"

type Message = RequestInput | AnswerInput | EventInput | MessageInput


def detail_of(exhibit: Exhibit, outcome: Outcome, time: float, scanner: Scans) -> Detail:
    """Return the detail of the row of *outcome*; *time* in seconds since the epoch."""
    reader = _Reader(scanner)
    request = None if exhibit.request is None else reader.stored(exhibit.request)
    return Detail(
        row=row_of(outcome, time=time, scanner=scanner),
        request=_shown_request(request),
        answer=None if exhibit.answer is None else _shown_answer(reader.stored(exhibit.answer)),
        events=tuple(_shown_event(reader.stored(one)) for one in tuple(exhibit.events)),
        trace=tuple(_trace(exhibit, outcome)),
        curl=_curl(request),
    )


class _Reader:
    """Reads messages as a capture would store them."""

    def __init__(self, scanner: Scans) -> None:
        self._redactor = Redactor(scanner, key=secrets.token_bytes(32))

    def stored(self, given: Message) -> dict[str, Any] | None:
        """Return *given* without secrets, None where that cannot be made sure."""
        try:
            record = encode_input(given, self._redactor)
            return record if self._redactor.clean(encode_line(record).decode()) else None
        except Exception:  # noqa: BLE001 - what defeats the redaction is not shown
            return None


def _shown_request(record: Mapping[str, Any] | None) -> Any:
    if record is None:
        return None
    head = record["head"]
    return {
        "method": head["method"], "url": _url(head), "headers": _headers(head),
        "body": _body(record["body"]),
    }  # fmt: skip


def _shown_answer(record: Mapping[str, Any] | None) -> Any:
    if record is None:
        return _NOT_SHOWN
    head = record["head"]
    return {"status": head["status"], "headers": _headers(head), "body": _body(record["body"])}


def _shown_event(record: Mapping[str, Any] | None) -> Any:
    if record is None:
        return _NOT_SHOWN
    about = {"event": record["event"]} if "event" in record else (
        {"from_client": record["from_client"]}
    )  # fmt: skip
    return about | {"data": _body(record["data"])}


def _url(head: Mapping[str, Any]) -> str:
    host = f"[{head['host']}]" if ":" in head["host"] else head["host"]
    usual = 443 if head["scheme"] == "https" else 80
    port = "" if head["port"] == usual else f":{head['port']}"
    return f"{head['scheme']}://{host}{port}{_text(head['target'])}"


def _headers(head: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in head["headers"]:
        known = found.get(_text(name))
        found[_text(name)] = _text(value) if known is None else f"{known}, {_text(value)}"
    return found


def _text(stored: Any) -> str:
    if isinstance(stored, str):
        return stored
    text = stored.get("text") if isinstance(stored, Mapping) else None
    return text if isinstance(text, str) else _NOT_SHOWN


def _body(stored: Any) -> Any:
    """Return a stored body as JSON where it is that, long parts of it cut."""
    text = stored if isinstance(stored, str) else stored.get("text")
    if not isinstance(text, str):
        why = stored.get("incomplete", "not kept")
        return f"({why}, {stored.get('length', '?')} bytes)"
    if not text:
        return None
    try:
        return shortened(parse_json(text))
    except WireError:
        return shortened(text)


def shortened(value: Any, depth: int = 0) -> Any:
    """Return *value* with long strings and lists in it cut, saying how much there was."""
    if isinstance(value, str):
        cut = len(value) > _LONGEST
        return f"{value[:_LONGEST]} … ({len(value)} characters in all)" if cut else value
    if depth > _DEEPEST and isinstance(value, Mapping | list):
        return f"({len(value)} members)"
    if isinstance(value, Mapping):
        kept = {name: shortened(value[name], depth + 1) for name in list(value)[:_MOST_ITEMS]}
        more = len(value) - len(kept)
        return kept | ({"…": f"({more} members more)"} if more else {})
    if isinstance(value, list):
        items = [shortened(item, depth + 1) for item in value[:_MOST_ITEMS]]
        more = len(value) - len(items)
        return [*items, f"… ({more} items more)"] if more else items
    return value


def _curl(record: Mapping[str, Any] | None) -> str | None:
    """Return the request as a command without credentials; None where it cannot be said as one."""
    if record is None:
        return None
    head, body = record["head"], record["body"]
    text = body if isinstance(body, str) else body.get("text")
    if not isinstance(text, str) or len(text) > _LONGEST or _NOT_SHOWN in _url(head):
        return None
    parts = ["curl", "--globoff", "-X", head["method"], _url(head)]
    for name, value in _headers(head).items():
        if name in _COPIED and value != _NOT_SHOWN:
            parts += ["-H", f"{name}: {value}"]
    if text:
        parts += ["--data-raw", text]
    command = shlex.join(parts)
    return command if command.isprintable() else None


def _trace(exhibit: Exhibit, outcome: Outcome) -> Iterator[str]:
    yield f"{outcome.verdict.word} by {outcome.rule} ({outcome.code}): {outcome.reason}"
    if outcome.kind != "request" or exhibit.request is None or outcome.parts:
        return
    for step in _steps(exhibit.policy, exhibit.request, outcome):
        where = f" ({step.layer})" if step.layer else ""
        yield f"{'->' if step.matched else '  '} {step.rule}{where}: {step.why}"


def _steps(policy: Policy, request: RequestInput, outcome: Outcome) -> list[Step]:
    subject = outcome.subject
    groups = policy.agents.groups_of(subject.agent)
    if subject.channel == "egress":
        try:
            call = request_call(request.head.url, request.head.method, subject.agent)
        except WireError:
            return []
        protocol = subject.protocol or "http"
        return trace_egress(policy, replace(call, groups=groups, protocol=protocol,
                                            size=len(request.body)))  # fmt: skip
    return trace(policy, Call(
        subject.agent, subject.server, subject.method, subject.tool, _params(request.body),
        housekeeping=is_housekeeping(subject.method), groups=groups,
        revision=subject.protocol_version,
    ))  # fmt: skip


def _params(body: bytes) -> dict[str, Any] | None:
    try:
        params = json.loads(body).get("params")
    except (ValueError, AttributeError, RecursionError):
        return None
    return params if isinstance(params, dict) else None
