"""What a body hands over to its receiver: MCP servers to call, and what is told of their tools.

Pure, and linear in the text: any thread may run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.delegated import LONGEST_LABEL, Delegated, Delegation, delegations
from mitmgate.wire.delegated_text import may_delegate
from mitmgate.wire.multipart import is_multipart, take_apart
from mitmgate.wire.strictjson import parse_json

_LIST = "mcp_list_tools"


@dataclass(frozen=True, slots=True)
class Handed:
    """The servers that a body hands over; ``problem`` says why they cannot be read in one way."""

    given: Delegated = field(default=Delegated(), repr=False)
    problem: WireError | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """What a model API tells of the tools of the server that it was handed as ``label``."""

    label: str
    item: Mapping[str, Any] = field(repr=False)


NOTHING = Handed()


def read_handed(text: str | None, unread: str | None = None, *, content_type: str) -> Handed:
    """Return what *text*, a body of *content_type*, hands over.

    A body that is no text is None, and *unread* what a lenient decoder makes of it: no edit can be
    made there.
    """
    editable = text is not None
    if text is None:
        text = None if unread is None else unread.replace("\ufffd", "")
    if text is None:
        return NOTHING
    try:
        if is_multipart(content_type) and may_delegate(text):
            return Handed(Delegated(tuple(_in_parts(text, content_type))))
        given = delegations(text, json_type="json" in content_type.lower())
    except WireError as problem:
        return Handed(problem=problem)
    return Handed(given if editable else replace(given, value=None))


def _in_parts(text: str, content_type: str) -> Iterator[Delegation]:
    """Yield what stands in the parts of a body, each read by itself."""
    raw = text.encode("utf-8", "replace")
    for part in take_apart(raw, content_type, limit=len(raw)).parts:
        # Batches are lines of JSON, and what a session shall be may be written on many lines.
        given = part.body.decode("utf-8", "ignore")
        yield from delegations(given, json_type=False).servers


def read_listed(text: str | None) -> tuple[Listed, ...]:
    """Return what *text*, an answer of a model API or an event of one, tells of tools."""
    if text is None or f'"{_LIST}"' not in text:
        return ()
    try:
        value = parse_json(text)
    except WireError:
        return ()
    return tuple(
        Listed(label[:LONGEST_LABEL], item)
        for item in _items(value)
        if item.get("type") == _LIST and isinstance(label := item.get("server_label"), str)
    )


def _items(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the items of an answer of OpenAI's Responses API, whole or as an event."""
    if not isinstance(value, Mapping):
        return
    for holder in (value, value.get("response")):
        output = holder.get("output") if isinstance(holder, Mapping) else None
        if isinstance(output, list):
            yield from (one for one in output if isinstance(one, Mapping))
    if isinstance(value.get("item"), Mapping):
        yield value["item"]
