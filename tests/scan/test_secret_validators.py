"""Structures and checksums of credentials, each against what only looks like it."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan.validators import VALIDATORS
from mitmgate.scan.validators.secrets import (
    SECRET_VALIDATORS,
    base58check,
    base64_text,
    basic_auth,
    jwt,
    mnemonic,
    password,
)

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WORDS = "apple river candle orbit lemon tiger velvet anchor pencil quantum harbor mist"


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def token(header: str) -> str:
    return ".".join([urlsafe_b64encode(header.encode()).decode().rstrip("="), "e30", "c2ln"])


def with_checksum(body: bytes) -> str:
    raw = body + sha256(sha256(body).digest()).digest()[:4]
    number, letters = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        letters = _BASE58[digit] + letters
    return letters


@pytest.mark.parametrize(
    "header", ['{"alg":"HS256","typ":"JWT"}', '{"alg":"none"}', '{"alg": "dir", "enc": "A256GCM"}']
)
def test_a_header_that_names_an_algorithm_makes_a_token(header: str) -> None:
    assert jwt(token(header))


@pytest.mark.parametrize(
    "value",
    [
        token('{"typ":"JWT"}'),
        token('{"alg":1}'),
        token("[1]"),
        "eyJ.eyJ.x",
        "",
        "..",
        token("[" * 6000),
    ],
)
def test_other_dotted_texts_are_no_tokens(value: str) -> None:
    assert not jwt(value)


@pytest.mark.parametrize(
    "value", ["qT7wZp2L", "P@ssw0rd$1", "h0pk1ns~21s", "secret", "hunter2", "correct-horse"]
)
def test_a_password_may_be_anything_that_no_manual_writes(value: str) -> None:
    assert password(value)


@pytest.mark.parametrize(
    "value",
    [
        "password",
        "PASSWORD",
        "pass",
        "your-password",
        "changeme",
        "xxxxxxxx",
        "********",
        "aaaa",
        "",
        "${DB_PASSWORD}",
        "$PASS",
        "<password>",
        "{{ vault.pw }}",
        "%PASSWORD%",
        "[PASSWORD]",
        "pre${X}",
        "`cat f`",
    ],
)
def test_templates_and_stand_ins_are_no_passwords(value: str) -> None:
    assert not password(value)


def test_basic_credentials_are_a_user_and_a_password() -> None:
    assert basic_auth(encoded("api:qT7wZp2L"))
    assert basic_auth(encoded("browser:"))
    assert basic_auth(encoded("api:qT7wZp2L").rstrip("="))


@pytest.mark.parametrize(
    "text", ["user:password", "no colon here", ":alone", "bot:${TOKEN}", "\x00\x01:\x02\x03"]
)
def test_base64_of_other_texts_is_no_basic_credential(text: str) -> None:
    assert not basic_auth(encoded(text))


@pytest.mark.parametrize("value", ["Understanding", "not base64!", "", "A"])
def test_what_is_no_base64_is_no_basic_credential(value: str) -> None:
    assert not basic_auth(value)


def test_base64_text_is_printable_and_no_stand_in() -> None:
    assert base64_text(encoded("qT7wZp2LmX9v"))
    assert not base64_text(encoded("password"))
    assert not base64_text(b64encode(bytes(range(40))).decode())


def test_one_wrong_letter_breaks_the_checksum() -> None:
    value = with_checksum(b"\x80" + sha256(b"made up").digest() + b"\x01")
    assert base58check(value)
    wrong = "2" if value[20] != "2" else "3"
    assert not base58check(value[:20] + wrong + value[21:])
    assert not base58check(value[:-1])
    assert not base58check(value[:20] + "0" + value[21:])


def test_a_phrase_has_as_many_words_as_the_standard_allows() -> None:
    assert mnemonic(_WORDS)
    assert mnemonic(f"{_WORDS} {_WORDS}".title())
    assert not mnemonic(_WORDS.rpartition(" ")[0])
    assert not mnemonic("word " * 12)
    assert not mnemonic("have this list with you and keep the words that were given here safe")


@pytest.mark.parametrize("name", sorted(SECRET_VALIDATORS))
@given(value=st.text())
def test_a_validator_is_total(name: str, value: str) -> None:
    assert VALIDATORS[name](value) in {True, False}
