"""The texts of a request beside its message: where it goes, its headers, the parts of its body."""

from __future__ import annotations

from collections.abc import Iterator

from mitmgate.errors import WireError
from mitmgate.judge.inputs import RequestInput
from mitmgate.wire.body import decode_text
from mitmgate.wire.mirror import decode_value
from mitmgate.wire.multipart import Part, Parts
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, Text, walk_json

HOST = "#host"
SHORTEST = 16
"""Characters: no credential is shorter."""
_OWN_LABELS = 2  # of a name: what somebody registered

# "#url", "#header/..." and the like are no JSON pointers (RFC 6901): no edit is ever made there.


def head_texts(request: RequestInput) -> Iterator[Text]:
    """Yield what the head of *request* says: its URL, its host's labels, its longer headers."""
    head = request.head
    yield Text(Surface.EGRESS_REQUEST, "#url", head.target)
    labels = labels_of(head.host)
    if len(labels) >= SHORTEST:
        yield Text(Surface.EGRESS_REQUEST, HOST, labels)
    for name, value in head.headers:
        if len(value) >= SHORTEST:
            mirrors = name == "mcp-name" or name.startswith("mcp-param-")
            text = (decode_value(value) or value) if mirrors else value
            yield Text(Surface.EGRESS_REQUEST, f"#header/{name}", text)


def labels_of(host: str) -> str:
    """Return the labels of *host* that its owner chooses for each request, put together.

    Data in a name stands in labels of at most 63 letters each (RFC 1035 section 2.3.4).
    """
    return "".join(host.split(".")[:-_OWN_LABELS])


def part_texts(surface: Surface, parts: Parts, *, seen: bool) -> Iterator[Text]:
    """Yield what stands in *parts*.

    *seen* says that the whole body is text that is scanned by itself: then only the parts that
    say something else once they are decoded.
    """
    if not seen:
        yield Text(surface, "#part/around", _lenient(parts.around))
    for number, part in enumerate(parts.parts):
        place = f"#part/{number}"
        if not seen:
            yield Text(surface, f"{place}/head", "\n".join(value for _, value in part.headers))
        yield from _body_texts(surface, part, place, seen=seen)


def _body_texts(surface: Surface, part: Part, place: str, *, seen: bool) -> Iterator[Text]:
    try:
        text = decode_text(part.body, part.get("content-type"))
    except WireError:
        text = _lenient(part.body)
    if seen and not part.encoded and text == _lenient(part.body):
        return
    if text.lstrip().startswith(("{", "[")):
        try:
            yield from walk_json(surface, parse_json(text), place)
        except WireError:
            pass
        else:
            return
    yield Text(surface, place, text)


def _lenient(data: bytes) -> str:
    # One byte that is no UTF-8 must not hide the rest.
    return data.decode("utf-8", "replace").replace("\0", "")
