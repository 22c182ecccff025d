"""Addresses: of hosts, devices, telephones and wallets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from ipaddress import IPv6Address

from mitmgate.scan.validators.pii_digits import is_uniform, numbers

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {letter: number for number, letter in enumerate(_BASE58)}
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_STEPS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_ENDS = frozenset({1, 0x2BC830A3})
# Version bytes of addresses that base58check spells: Bitcoin, Litecoin, Dogecoin, Dash, Tron.
_VERSIONS = frozenset({0, 5, 48, 50, 30, 22, 76, 16, 65})

# E.164 country codes; one of two digits that is not here opens three digits.
_COUNTRY_1 = frozenset({"1", "7"})
_TWO_DIGITS = (
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 "
    "65 66 81 82 84 86 90 91 92 93 94 95 98"
)
_THREE_DIGITS = (
    "211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 "
    "238 239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 "
    "263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 "
    "371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501 502 "
    "503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676 "
    "677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 856 870 "
    "878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 "
    "977 979 992 993 994 995 996 998"
)
_COUNTRY_2 = frozenset(_TWO_DIGITS.split())
_COUNTRY_3 = frozenset(_THREE_DIGITS.split())


def phone(value: str) -> bool:
    """Tell whether *value*, written with ``+``, has a country code and a length of E.164."""
    digits = "".join(map(str, numbers(value)))
    if not 8 <= len(digits) <= 15 or is_uniform(numbers(digits[2:])):
        return False
    if digits[0] in _COUNTRY_1:
        return len(digits) == 11 and digits[1] >= "2"
    return digits[:2] in _COUNTRY_2 or digits[:3] in _COUNTRY_3


def phone_us(value: str) -> bool:
    """Tell whether *value* is a number of the North American plan, the 1 before it left out."""
    digits = numbers(value)
    if len(digits) == 11 and digits[0] == 1:
        digits = digits[1:]
    if len(digits) != 10 or is_uniform(digits):
        return False
    return digits[0] >= 2 and digits[3] >= 2 and digits[1:3] != [1, 1] and digits[4:6] != [1, 1]


def phone_national(value: str) -> bool:
    """Tell whether *value* has the digits of a number as people dial it at home: 7 to 13."""
    digits = numbers(value)
    return 7 <= len(digits) <= 13 and len(set(digits)) > 2


def ipv4(value: str) -> bool:
    """Tell whether *value* is a dotted quad, with or without a prefix length behind ``/``."""
    host, _, prefix = value.partition("/")
    parts = host.split(".")
    if len(parts) != 4 or (prefix and not (prefix.isdecimal() and int(prefix) <= 32)):
        return False
    return all(_is_octet(part) for part in parts)


def _is_octet(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) < 256


def ipv6(value: str) -> bool:
    """Tell whether *value* is an IPv6 address, with or without a zone or a prefix length."""
    host, _, prefix = value.partition("/")
    if prefix and not (prefix.isdecimal() and int(prefix) <= 128):
        return False
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def mac(value: str) -> bool:
    """Tell whether *value* is the address of one network card, neither all zeros nor all ones."""
    digits = "".join([c for c in value.lower() if c not in ":-."])
    return len(digits) in {12, 16} and len(set(digits)) > 1


def base58check(value: str) -> bool:
    """Tell whether *value* is a wallet's address in Base58Check: 21 bytes and their hash."""
    number = 0
    for letter in value:
        digit = _BASE58_VALUES.get(letter)
        if digit is None:
            return False
        number = number * 58 + digit
    zeros = len(value) - len(value.lstrip("1"))
    if number.bit_length() > 25 * 8:
        return False
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
    if len(raw) != 25 or raw[0] not in _VERSIONS:
        return False
    return sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def bech32(value: str) -> bool:
    """Tell whether *value* is an address in Bech32 or Bech32m (BIP 173, BIP 350)."""
    text = value.lower()
    human, one, data = text.rpartition("1")
    if not one or len(data) < 8 or not value.isascii() or value not in {text, text.upper()}:
        return False
    if any(letter not in _BECH32 for letter in data):
        return False
    spread = [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human]
    check = 1
    for item in [*spread, *(_BECH32.index(c) for c in data)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ item
        for bit, step in enumerate(_BECH32_STEPS):
            check ^= step if top >> bit & 1 else 0
    return check in _BECH32_ENDS


def wallet(value: str) -> bool:
    """Tell whether *value* is an address that Bech32 or Base58Check protects."""
    return base58check(value) or bech32(value)


NETWORK: Mapping[str, Callable[[str], bool]] = {
    "phone": phone,
    "phone-us": phone_us,
    "phone-national": phone_national,
    "ipv4": ipv4,
    "ipv6": ipv6,
    "mac": mac,
    "wallet": wallet,
}
