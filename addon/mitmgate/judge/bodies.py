"""Bodies as captures store them: decoded text without secrets, or only their length.

A body that cannot be stored exactly or safely is *incomplete*: replay gets bytes of the same
length in its place and compares only what did not depend on them.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.record.expansion import Redacted, Redaction, Sample, expand
from mitmgate.record.redact import Redactor, strings_of
from mitmgate.wire.body import decode_body, decode_text
from mitmgate.wire.http import AnswerHead, RequestHead
from mitmgate.wire.strictjson import parse_json

STORED_LIMIT = 1024 * 1024
_STAND_IN = b"\xff"
_FILL = "x"
_LARGEST_STAND_IN = 64 * 1024 * 1024
_MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE,
          "utf-16-be": codecs.BOM_UTF16_BE}  # fmt: skip
_CHARSETS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "iso-8859-1")


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body for a capture; ``decoded`` says that its content-encoding was undone.

    ``text`` is the body as it came, where it is one.
    """

    record: Mapping[str, Any]
    decoded: bool = True
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Readable:
    """A body that is a text; ``kept`` is the part of it that may be stored."""

    text: str
    kept: str
    form: bool
    charset: tuple[str, bool]
    length: int


def encode_body(
    body: bytes, *, head: RequestHead | AnswerHead, cut: bool, redactor: Redactor
) -> StoredBody:
    """Return what a capture stores of *body*, of a message with *head*; *cut*: it had more."""
    read = read_body(body, head=head, cut=cut)
    if isinstance(read, StoredBody):
        return read
    strings = strings_of(read.kept)
    with redactor.screened(strings):
        redacted = redactor.form(read.kept) if read.form else redactor.document(read.kept, strings)
    if redacted is None:
        return StoredBody(incomplete_body(read.length, "secret"))
    record: dict[str, Any] = {"text": redacted.text}
    charset, mark = read.charset
    if charset != "utf-8" or mark:
        record |= {"charset": charset, "bom": mark}
    return StoredBody(with_redactions(record, redacted), text=read.kept)


def read_body(body: bytes, *, head: RequestHead | AnswerHead, cut: bool) -> Readable | StoredBody:
    """Return *body* as a text, or what is stored of one that cannot be kept."""
    content_type, encoding = head.get("content-type"), head.get("content-encoding")
    if not body:
        return StoredBody({"text": ""}, decoded=False)
    try:
        plain = decode_body(body, encoding, limit=STORED_LIMIT)
    except WireError as problem:
        why = "size" if problem.code == "body_too_large" else "encoding"
        return StoredBody(incomplete_body(len(body), why), decoded=False)
    media = (content_type or "").lstrip().lower()
    if media.startswith("multipart/"):
        # Its fields are named far from their values: what is secret there cannot be told.
        return StoredBody(incomplete_body(len(plain), "multipart"))
    try:
        text = decode_text(plain, content_type)
    except WireError:
        return StoredBody(incomplete_body(len(plain), "binary"))
    found = _charset(plain, text)
    if found is None:
        return StoredBody(incomplete_body(len(plain), "charset"))
    form = media.startswith("application/x-www-form-urlencoded")
    if is_oauth(text, form=form):
        return StoredBody(incomplete_body(len(plain), "oauth"))
    kept = _without_end(text) if cut else text
    if not kept:
        return StoredBody(incomplete_body(len(plain), "cut"))
    return Readable(text, kept, form, found, len(plain))


_OAUTH_FIELDS = ("grant_type=", "client_secret=", "client_assertion=", "code_verifier=",
                 "token=", "assertion=", "refresh_token=")  # fmt: skip
_OAUTH_MEMBERS = frozenset(
    {"access_token", "refresh_token", "id_token", "client_secret", "registration_access_token",
     "client_assertion", "device_code"}
)  # fmt: skip


def is_oauth(text: str, *, form: bool = False) -> bool:
    """Tell whether *text* is a request to, or an answer of, an endpoint of OAuth.

    RFC 6749, 7009, 7591, 7662, 8628: of such a body nothing is stored. What is no JSON may be a
    part of one, or several.
    """
    if form:
        return any(part.startswith(_OAUTH_FIELDS) for part in text.split("&"))
    if not text.lstrip().startswith("{") or not any(f'"{name}"' in text for name in _OAUTH_MEMBERS):
        return False
    try:
        value = parse_json(text)
    except WireError:
        return True
    return isinstance(value, Mapping) and any(
        isinstance(value.get(name), str) for name in _OAUTH_MEMBERS
    )


def _without_end(text: str) -> str:
    """Return *text* without what is behind its last blank, where part of a secret may stand.

    Empty where that is most of it.
    """
    end = len(text)
    while end and not text[end - 1].isspace():
        end -= 1
    return text[:end] + _FILL * (len(text) - end) if end * 2 >= len(text) else ""


def incomplete_body(length: int, why: str) -> dict[str, Any]:
    """Return the record of a body of which only the length is stored, and *why*."""
    return {"length": length, "incomplete": why}


def decode_stored_body(record: Mapping[str, Any], sample: Sample) -> bytes:
    """Return the bytes that replay judges for *record*; raise as ``decode_input`` does."""
    if "incomplete" in record:
        if type(record["length"]) is not int:
            raise TypeError("a length that is not a whole number")
        return _STAND_IN * min(record["length"], _LARGEST_STAND_IN)
    if not isinstance(record["text"], str):
        raise TypeError("a body that is not a text")
    text = expand(record["text"], redactions_of(record), sample)
    charset = record.get("charset", "utf-8")
    if charset not in _CHARSETS:
        raise ValueError(f"unknown charset {charset!r}")
    mark = _MARKS.get(charset, b"") if record.get("bom") else b""
    return mark + text.encode(charset)


def with_redactions(record: dict[str, Any], redacted: Redacted) -> dict[str, Any]:
    """Return *record* with the redactions of *redacted*, if there are any."""
    if redacted.redactions:
        record["redactions"] = [
            {"pointer": r.pointer, "start": r.start, "end": r.end, "rule": r.rule,
             "number": r.number, "quoted": r.quoted, **({"view": r.view} if r.view else {})}
            for r in redacted.redactions
        ]  # fmt: skip
    return record


def redactions_of(record: Mapping[str, Any]) -> tuple[Redaction, ...]:
    """Return the redactions stored in *record*; TypeError or ValueError if damaged."""
    items = record.get("redactions", ())
    for item in items:
        numbers = item["start"], item["end"], item["number"]
        names = item["pointer"], item["rule"], item.get("view", "")
        if {*map(type, numbers)} != {int} or {*map(type, names)} != {str}:
            raise TypeError("a redaction with fields of another type")
    return tuple(Redaction(**item) for item in items)


def _charset(body: bytes, text: str) -> tuple[str, bool] | None:
    """Return the charset and byte order mark with which *text* becomes *body* again."""
    for charset in _CHARSETS:
        try:
            encoded = text.encode(charset)
        except UnicodeEncodeError:
            continue
        if encoded == body:
            return charset, False
        mark = _MARKS.get(charset)
        if mark is not None and mark + encoded == body:
            return charset, True
    return None
