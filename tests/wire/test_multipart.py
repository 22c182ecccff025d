"""Multipart bodies taken apart: what is in which part, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import gzip
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.multipart import MOST_HEADERS, MOST_PARTS, is_multipart, take_apart

FORM = "multipart/form-data; boundary=b"
LIMIT = 1 << 20


def body_of(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + (
        b"--" + boundary + end
    )


FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\nvalue'
PLAIN = (b"value",)

# The body, its content type, and what its parts hold.
BODIES: dict[str, tuple[bytes, str, tuple[bytes, ...]]] = {
    "one field": (body_of(FIELD), FORM, PLAIN),
    "two fields": (body_of(FIELD, b"X-A: 1\r\n\r\nother"), FORM, (b"value", b"other")),
    "a boundary in quotes": (body_of(FIELD), 'multipart/form-data; boundary="b"', PLAIN),
    "a boundary behind other parameters": (
        body_of(FIELD), "Multipart/Related; type=\"text/xml; x\"; Boundary = b", PLAIN),
    "a part without a head": (body_of(b"\r\nvalue"), FORM, PLAIN),
    "line feeds alone": (body_of(FIELD).replace(b"\r\n", b"\n"), FORM, PLAIN),
    "spaces behind the boundary": (
        body_of(FIELD).replace(b"--b\r\n", b"--b \t\r\n"), FORM, PLAIN),
    "no last boundary": (b"--b\r\n" + FIELD, FORM, PLAIN),
    "base64": (
        body_of(b"Content-Transfer-Encoding: BASE64\r\n\r\n" + base64.encodebytes(b"value")),
        FORM, PLAIN),
    "quoted-printable": (
        body_of(b"Content-Transfer-Encoding: quoted-printable\r\n\r\nv=61lu=\r\ne"), FORM, PLAIN),
    "gzip": (body_of(b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"value")), FORM, PLAIN),
    "a folded header": (
        body_of(b"Content-Transfer-Encoding:\r\n base64\r\n\r\ndmFsdWU="), FORM, PLAIN),
    "parts in a part": (
        body_of(b"Content-Type: multipart/mixed; boundary=bc\r\n\r\n"
                + body_of(FIELD, FIELD, boundary=b"bc")), FORM, PLAIN * 2),
    "a boundary that only begins like ours": (
        body_of(FIELD + b"\r\n--bc\r\nmore"), FORM, (b"value\r\n--bc\r\nmore",)),
    "bytes that are no text": (body_of(b"X: y\r\n\r\n\x00\xff"), FORM, (b"\x00\xff",)),
    "an empty part": (body_of(b"X: y\r\n\r\n"), FORM, (b"",)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "wanted"), BODIES.values(), ids=BODIES)
def test_the_parts_of(body: bytes, kind: str, wanted: tuple[bytes, ...]) -> None:
    assert tuple(part.body for part in take_apart(body, kind, limit=LIMIT).parts) == wanted


def test_a_part_keeps_its_headers_and_says_that_it_was_encoded() -> None:
    given_body = body_of(FIELD, b"Content-Transfer-Encoding: base64\r\n\r\ndmFsdWU=")
    plain, coded = take_apart(given_body, FORM, limit=LIMIT).parts
    assert plain.get("content-disposition") == 'form-data; name="a"'
    assert (plain.encoded, coded.encoded) == (False, True)


def test_what_stands_in_no_part_is_kept() -> None:
    body = b"before\r\n" + body_of(FIELD) + b"after"
    assert take_apart(body, FORM, limit=LIMIT).around == b"before\nafter"


INNER = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n"
DEEP = body_of(FIELD, boundary=b"d")
for _name in (b"c", b"e", b"b"):
    DEEP = body_of(
        b"Content-Type: multipart/mixed; boundary=" + {b"c": b"d", b"e": b"c", b"b": b"e"}[_name]
        + b"\r\n\r\n" + DEEP, boundary=_name)  # fmt: skip

REFUSED: dict[str, tuple[bytes, str]] = {
    "no boundary": (body_of(FIELD), "multipart/form-data"),
    "two boundaries": (body_of(FIELD), "multipart/form-data; boundary=b; boundary=c"),
    "a boundary in pieces": (body_of(FIELD), "multipart/form-data; boundary*0=b"),
    "a boundary in pieces beside a whole one": (
        body_of(FIELD), "multipart/form-data; boundary=b; boundary*=utf-8''c"),
    "an empty boundary": (body_of(FIELD), 'multipart/form-data; boundary=""'),
    "a boundary with a backslash": (body_of(FIELD), 'multipart/form-data; boundary="\\b"'),
    "a quote without its end": (body_of(FIELD), 'multipart/form-data; boundary="b'),
    "a boundary of 71 letters": (
        body_of(FIELD, boundary=b"b" * 71), "multipart/form-data; boundary=" + "b" * 71),
    "a boundary that is not in the body": (b"value", FORM),
    "too many parts": (body_of(*[FIELD] * (MOST_PARTS + 1)), FORM),
    "a head without end": (body_of(b"X: " + b"y" * (64 * 1024)), FORM),
    "base64 that is none": (
        body_of(b"Content-Transfer-Encoding: base64\r\n\r\nabcde"), FORM),
    "a transfer encoding that nobody knows": (
        body_of(b"Content-Transfer-Encoding: rot13\r\n\r\nx"), FORM),
    "parts in parts in parts in parts": (DEEP, FORM),
    "too many parts on two levels": (
        body_of(*[INNER + body_of(*[FIELD] * 100, boundary=b"i")] * (MOST_PARTS // 100)), FORM),
    "too many headers": (body_of(b"X: y\r\n" * (MOST_HEADERS + 1)), FORM),
    "a content type that is too long": (body_of(FIELD), FORM + ";" * 1_000),
    "boundaries that begin no line": (b"x" + b"--b" * 300_000, FORM),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(WireError) as caught:
        take_apart(body, kind, limit=LIMIT)
    assert caught.value.code == "malformed_multipart"


def test_a_part_that_unpacks_to_more_than_the_limit_is_refused() -> None:
    packed = body_of(b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 100_000))
    with pytest.raises(WireError) as caught:
        take_apart(packed, FORM, limit=50_000)
    assert caught.value.code == "body_too_large"


def test_parts_that_unpack_to_more_than_the_limit_together_are_refused() -> None:
    part = b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 30_000)
    with pytest.raises(WireError) as caught:
        take_apart(body_of(part, part), FORM, limit=50_000)
    assert caught.value.code == "body_too_large"


def test_parts_in_parts_unpack_to_no_more_than_the_limit_together() -> None:
    part = b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"\0" * 30_000)
    nested = INNER + body_of(part, boundary=b"i")
    assert len(take_apart(body_of(nested), FORM, limit=50_000).parts) == 1
    with pytest.raises(WireError) as caught:
        take_apart(body_of(nested, nested), FORM, limit=50_000)
    assert caught.value.code == "body_too_large"


def test_parts_in_a_packed_part_count_with_it() -> None:
    inside = gzip.compress(body_of(FIELD + b"y" * 20_000, boundary=b"i"))
    packed = b"Content-Encoding: gzip\r\n" + INNER + inside
    assert len(take_apart(body_of(packed), FORM, limit=50_000).parts) == 1
    with pytest.raises(WireError) as caught:
        take_apart(body_of(packed), FORM, limit=30_000)
    assert caught.value.code == "body_too_large"


def test_parts_in_plain_parts_are_counted_once() -> None:
    nested = body_of(INNER + body_of(FIELD + b"y" * 20_000, boundary=b"i"))
    assert len(take_apart(nested, FORM, limit=len(nested)).parts) == 1


@given(st.binary(max_size=300), st.text(max_size=60))
def test_any_body_is_taken_apart_or_refused(body: bytes, parameters: str) -> None:
    for kind in (FORM, f"multipart/mixed;{parameters}"):
        with contextlib.suppress(WireError):
            take_apart(b"--b\r\n" + body, kind, limit=LIMIT)


@given(st.lists(st.binary(max_size=60).filter(lambda b: b"--b" not in b), max_size=5))
def test_what_was_put_in_comes_out(values: list[bytes]) -> None:
    body = body_of(*(b"X-A: 1\r\n\r\n" + value for value in values))
    found = take_apart(body, FORM, limit=LIMIT).parts
    assert [part.body for part in found] == values


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_the_mail_reader_sees_the_same_parts(values: list[bytes]) -> None:
    parts = [
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(value) for value in values
    ]
    body = body_of(*parts)
    mail = BytesParser(EmailMessage, policy=HTTP).parsebytes(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    )
    theirs = [part.get_payload(decode=True) for part in mail.iter_parts()]
    assert [part.body for part in take_apart(body, FORM, limit=LIMIT).parts] == theirs


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [(FORM, True), (" Multipart/Mixed", True), ("text/plain", False), (None, False)],
)
def test_is_multipart(kind: str | None, wanted: bool) -> None:
    assert is_multipart(kind) is wanted
