"""Structures and checksums of credentials."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Mapping
from hashlib import sha256

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LONGEST = 8192
_CHECKSUM = 4
_MNEMONIC_LENGTHS = frozenset({12, 15, 18, 21, 24})
# Short words of ordinary prose that are not in the BIP-39 list.
_PROSE_WORDS = """
the and for are with your from have into was not but its they been were which their has had does
may please should would could these those
"""
# What manuals write where a password goes, without the characters that are no letters or digits.
_STAND_IN_WORDS = """
pass passwd password passwort passphrase pw pwd psw yourpass yourpassword userpass
userpassword dbpass dbpassword token mytoken yourtoken apitoken accesstoken key apikey yourapikey
yourkey user username example test testing foo bar foobar baz changeme changeit placeholder redacted
hidden masked removed none null nil undefined true false string value something somepassword abc yyy
zzz postgres mysql root guest mongo redis credential credentials pat port
"""
_PROSE = frozenset(_PROSE_WORDS.split())
_STAND_INS = frozenset(_STAND_IN_WORDS.split())
_TEMPLATE = ("${", "{{", "$(", "<%", "#{", "%(", "...", "…", "xxxx", "XXXX", "****")
_OPENS_TEMPLATE = "$<[{(%`*"


def jwt(value: str) -> bool:
    """Tell whether *value* is a JSON web token: its header names an algorithm (RFC 7515, 7516)."""
    header = _json(value.partition(".")[0])
    return isinstance(header, dict) and isinstance(header.get("alg"), str)


def password(value: str) -> bool:
    """Tell whether *value* may be a real password: no template, no stand-in of a manual."""
    bare = value.strip("'\"")
    if len(set(bare)) < 3 or bare[0] in _OPENS_TEMPLATE or bare[-1] in ">}%":
        return False
    if any(mark in bare for mark in _TEMPLATE):
        return False
    letters = "".join([c for c in bare.lower() if c.isalnum()])
    return letters not in _STAND_INS and not letters.startswith(("your", "example"))


def basic_auth(value: str) -> bool:
    """Tell whether *value* is base64 of a user, a colon and no stand-in (RFC 7617)."""
    text = _decoded(value)
    user, colon, secret = text.partition(":")
    if not colon or not user or not _printable(text):
        return False
    return not secret or password(secret)


def base64_text(value: str) -> bool:
    """Tell whether *value* is base64 of printable text that is no stand-in."""
    text = _decoded(value)
    return len(text) > 2 and _printable(text) and password(text)


def base58check(value: str) -> bool:
    """Tell whether *value* ends in the checksum of base58check: WIF and extended keys."""
    number = 0
    if not 20 <= len(value) <= 120:
        return False
    for letter in value:
        digit = _BASE58.find(letter)
        if digit < 0:
            return False
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8)
    body, check = raw[:-_CHECKSUM], raw[-_CHECKSUM:]
    return sha256(sha256(body).digest()).digest()[:_CHECKSUM] == check


def mnemonic(value: str) -> bool:
    """Tell whether *value* may be a BIP-39 phrase: as many words as it allows, and no prose.

    The word list itself is not consulted, and the checksum is not verified.
    """
    words = value.lower().split()
    return len(words) in _MNEMONIC_LENGTHS and _PROSE.isdisjoint(words) and len(set(words)) > 5


def _printable(text: str) -> bool:
    good = sum(letter.isprintable() and letter != "�" for letter in text)
    return good >= 0.9 * len(text)


def _decoded(value: str) -> str:
    try:
        return b64decode(_padded(value)).decode("utf-8", "replace")
    except ValueError:
        return ""


def _json(part: str) -> object:
    if len(part) > _LONGEST:
        return None
    try:
        return json.loads(urlsafe_b64decode(_padded(part)))
    except (ValueError, RecursionError):
        return None


def _padded(value: str) -> str:
    body = value.rstrip("=")
    return body + "=" * (-len(body) % 4)


SECRET_VALIDATORS: Mapping[str, Callable[[str], bool]] = {
    "jwt": jwt,
    "password": password,
    "basic_auth": basic_auth,
    "base64_text": base64_text,
    "base58check": base58check,
    "mnemonic": mnemonic,
}
