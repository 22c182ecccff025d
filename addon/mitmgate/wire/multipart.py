"""Bodies of several parts taken apart (RFC 2046 section 5.1, RFC 7578).

The standard library's reader is for mail: it takes whatever comes and guesses. Here a body has one
boundary and one way to be cut at it, or none.
"""

from __future__ import annotations

import base64
import binascii
import quopri
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from mitmgate.errors import WireError
from mitmgate.wire.body import decode_body

MOST_PARTS = 1_000
LARGEST_HEAD = 64 * 1024
MOST_HEADERS = 100
DEEPEST = 3
_LONGEST_TYPE = 1_000
_LONGEST_BOUNDARY = 70
_BOUNDARY = frozenset(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? "
)  # RFC 2046 section 5.1.1, bchars


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, names in lower case, and its bytes once its encodings are undone.

    ``encoded`` says that the bytes on the wire were others.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    encoded: bool = False

    def get(self, name: str) -> str | None:
        """Return the first value of header *name* (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Parts:
    """A body taken apart, parts in parts put in their places; ``around`` is what is in no part."""

    parts: tuple[Part, ...]
    around: bytes


def is_multipart(content_type: str | None) -> bool:
    """Tell whether *content_type* announces a body of several parts."""
    return (content_type or "").lstrip().lower().startswith("multipart/")


def take_apart(body: bytes, content_type: str, *, limit: int) -> Parts:
    """Return the parts of *body*, all of them together no larger than *limit* bytes decoded.

    ``WireError('malformed_multipart')`` where it cannot be cut in one way: no boundary or two, none
    of it in the body, more than ``MOST_PARTS`` parts on all levels, a head that is too large or
    never ends, parts more than ``DEEPEST`` levels deep; ``'body_too_large'`` above *limit*.
    """
    around: list[bytes] = []
    parts = tuple(_apart(body, content_type, _Budget(limit), around, 1))
    return Parts(parts, b"\n".join(around))


@dataclass(slots=True)
class _Budget:
    """What the parts of all levels together may still take."""

    size: int
    parts: int = MOST_PARTS

    def count(self, number: int) -> None:
        self.parts -= number
        if self.parts < 0:
            raise _malformed(f"there are more than {MOST_PARTS} parts")

    def take(self, size: int) -> None:
        self.size -= size
        if self.size < 0:
            raise WireError("body_too_large", "the parts of the body are larger than the limit")


def _apart(
    body: bytes, content_type: str, budget: _Budget, around: list[bytes], depth: int
) -> Iterator[Part]:
    if depth > DEEPEST:
        raise _malformed(f"parts stand in parts more than {DEEPEST} levels deep")
    pieces, outside = _cut(body, _boundary(content_type))
    budget.count(len(pieces))
    around += outside
    for piece in pieces:
        part = _part(piece, budget.size)
        kind = part.get("content-type")
        inner = kind if is_multipart(kind) else None
        if part.encoded or inner is None:  # else its parts are counted
            budget.take(len(part.body))
        if inner is None:
            yield part
        else:
            yield from _apart(part.body, inner, budget, around, depth + 1)


def _boundary(content_type: str) -> bytes:
    """Return the one boundary that *content_type* names (RFC 2046 section 5.1.1)."""
    if len(content_type) > _LONGEST_TYPE:
        raise _malformed(f"a content type has more than {_LONGEST_TYPE} characters")
    found: list[str] = []
    for name, value in _parameters(content_type.partition(";")[2]):
        if name.rstrip("*0123456789") == "boundary" and name != "boundary":
            raise _malformed("the boundary is written in pieces (RFC 2231)")
        if name == "boundary":
            found.append(value)
    if len(found) != 1:
        raise _malformed("the content type names no boundary, or two")
    boundary = found[0]
    good = 0 < len(boundary) <= _LONGEST_BOUNDARY and _BOUNDARY.issuperset(boundary)
    if not good or boundary.endswith(" "):
        raise _malformed("the boundary is none")
    return boundary.encode("ascii")


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    while text:
        name, equals, text = text.partition("=")
        if ";" in name or not equals:
            text = f"{name.partition(';')[2]}{equals}{text}" if ";" in name else ""
            continue
        text = text.lstrip()
        if text.startswith('"'):
            value, mark, text = text[1:].partition('"')
            if "\\" in value or not mark:
                raise _malformed("a parameter of the content type can be read in two ways")
            text = text.partition(";")[2]
        else:
            value, _, text = text.partition(";")
        yield name.strip().lower(), value.strip()


def _cut(body: bytes, boundary: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the pieces of *body* between lines of *boundary*, and what is outside of them all."""
    mark, ended = b"--" + boundary, False
    pieces: list[bytes] = []
    outside: list[bytes] = []
    start: int | None = None
    for begin, end, line in _lines_with(body, mark):
        rest = line[len(mark) :].strip(b" \t\r\n")
        if rest not in (b"", b"--"):
            continue  # a longer boundary, of a part in this one
        before = _without_break(body[start or 0 : begin])
        (outside if start is None else pieces).append(before)
        if len(pieces) > MOST_PARTS:
            raise _malformed(f"there are more than {MOST_PARTS} parts")
        start = end
        if rest == b"--":
            ended = True
            break
    if start is None:
        raise _malformed("the boundary does not stand in the body")
    (outside if ended else pieces).append(body[start:])
    return pieces, outside


def _lines_with(body: bytes, mark: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield start, end and bytes of the lines of *body* that begin with *mark*."""
    at = body.find(mark)
    while at >= 0:
        if at == 0 or body[at - 1 : at] == b"\n":
            end = body.find(b"\n", at) + 1 or len(body)
            yield at, end, body[at:end]
            at = body.find(mark, end)
        else:
            at = body.find(mark, at + 1)


def _without_break(piece: bytes) -> bytes:
    # The line break before a boundary belongs to the boundary.
    return piece.removesuffix(b"\n").removesuffix(b"\r")


def _part(piece: bytes, limit: int) -> Part:
    head, body = _split(piece)
    if len(head) > LARGEST_HEAD:
        raise _malformed(f"the head of a part is larger than {LARGEST_HEAD} bytes")
    fields = tuple(islice(_fields(head), MOST_HEADERS + 1))
    if len(fields) > MOST_HEADERS:
        raise _malformed(f"a part has more than {MOST_HEADERS} headers")
    part = Part(fields, body)
    plain = _decoded(part, limit)
    return part if plain is None else Part(part.headers, plain, encoded=True)


def _split(piece: bytes) -> tuple[bytes, bytes]:
    if piece.startswith((b"\r\n", b"\n")):
        return b"", piece.partition(b"\n")[2]
    ends = [(at, len(end)) for end in (b"\r\n\r\n", b"\n\n") if (at := piece.find(end)) >= 0]
    if not ends:
        return piece, b""
    at, size = min(ends)
    return piece[:at], piece[at + size :]


def _fields(head: bytes) -> Iterator[tuple[str, str]]:
    text = head.decode("utf-8", "replace").replace("\r\n", "\n")
    for fold in ("\n ", "\n\t"):
        text = text.replace(fold, " ")
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()
        elif line.strip():
            yield "", line.strip()


def _decoded(part: Part, limit: int) -> bytes | None:
    """Return the bytes of *part* without its encodings, None where they are what they were."""
    body, coding = part.body, (part.get("content-transfer-encoding") or "").strip().lower()
    if coding == "base64":
        try:
            body = base64.b64decode(body)
        except (binascii.Error, ValueError):
            raise _malformed("a part says it is base64, and is not") from None
    elif coding == "quoted-printable":
        body = quopri.decodestring(body)
    elif coding not in ("", "7bit", "8bit", "binary"):
        raise _malformed("a part has a transfer encoding that nobody knows")
    packed = part.get("content-encoding")
    if packed is not None:
        body = decode_body(body, packed, limit=max(limit, 0))
    return None if body is part.body else body


def _malformed(message: str) -> WireError:
    return WireError("malformed_multipart", f"the multipart body cannot be read: {message}")
