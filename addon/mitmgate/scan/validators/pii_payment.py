"""Check digits of cards, accounts and devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mitmgate.scan.validators.pii_digits import (
    is_uniform,
    letters,
    luhn_sum,
    mod_97,
    numbers,
    weighted,
)

# The account part of an IBAN by country, as the SWIFT IBAN registry writes it: n digits,
# a capital letters, c either.
_IBAN = """
AD 8n12c|AE 19n|AL 8n16c|AO 21n|AT 16n|AZ 4a20c|BA 16n|BE 12n|BF 2c22n|BG 4a6n8c|BH 4a14c|BI 23n
BJ 2c22n|BR 23n1a1c|BY 4c4n16c|CF 23n|CG 23n|CH 5n12c|CI 2c22n|CM 23n|CR 18n|CV 21n|CY 8n16c
CZ 20n|DE 18n|DJ 23n|DK 14n|DO 4c20n|DZ 22n|EE 16n|EG 25n|ES 20n|FI 14n|FK 2a12n|FO 14n
FR 10n11c2n|GA 23n|GB 4a14n|GE 2a16n|GI 4a15c|GL 14n|GQ 23n|GR 7n16c|GT 24c|GW 2c19n|HN 4a20n
HR 17n|HU 24n|IE 4a14n|IL 19n|IQ 4a15n|IR 22n|IS 22n|IT 1a10n12c|JO 4a4n18c|KM 23n|KW 4a22c
KZ 3n13c|LB 4n20c|LC 4a24c|LI 5n12c|LT 16n|LU 3n13c|LV 4a13c|LY 21n|MA 24n|MC 10n11c2n|MD 20c
ME 18n|MG 23n|MK 3n10c2n|ML 2c22n|MN 16n|MR 23n|MT 4a5n18c|MU 4a19n3a|MZ 21n|NE 2a22n|NI 4a20n
NL 4a10n|NO 11n|OM 3n16c|PK 4a16c|PL 24n|PS 4a21c|PT 21n|QA 4a21c|RO 4a16c|RS 18n|RU 14n15c
SA 2n18c|SC 4a20n3a|SD 14n|SE 20n|SI 15n|SK 20n|SM 1a10n12c|SN 2a22n|SO 19n|ST 21n|SV 4a20n
TD 23n|TG 2a22n|TL 19n|TN 20n|TR 6n16c|UA 6n19c|VA 18n|VG 4a16n|XK 16n|YE 4a4n18c
"""
_LETTER_CLASSES: Mapping[str, Callable[[str], bool]] = {
    "n": str.isdecimal,
    "a": str.isalpha,
    "c": str.isalnum,
}


def _runs(spelled: str) -> tuple[tuple[int, str], ...]:
    runs, size = [], ""
    for letter in spelled:
        if letter.isdecimal():
            size += letter
        else:
            runs.append((int(size), letter))
            size = ""
    return tuple(runs)


_STRUCTURE = {
    entry[:2]: _runs(entry[3:]) for line in _IBAN.split("\n") for entry in line.split("|") if entry
}


def iban(value: str) -> bool:
    """Tell whether *value* is an IBAN: country, length, structure and MOD 97 (ISO 13616-1)."""
    text = "".join([c for c in value if c not in " -"])
    if not text.isascii() or (text.upper() != text and text.lower() != text):
        return False
    text = text.upper()
    at = 4
    for size, kind in _STRUCTURE.get(text[:2], ()):
        part = text[at : at + size]
        if len(part) != size or not _LETTER_CLASSES[kind](part):
            return False
        at += size
    return at == len(text) > 4 and mod_97(text[4:] + text[:4]) == 1


def card(value: str) -> bool:
    """Tell whether the 12 to 19 digits of *value* can be a payment card (ISO/IEC 7812-1)."""
    digits = numbers(value)
    return 12 <= len(digits) <= 19 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


def aba(value: str) -> bool:
    """Tell whether *value* is a routing number of the American Bankers Association."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    region = digits[0] * 10 + digits[1]
    known = region <= 12 or 21 <= region <= 32 or 61 <= region <= 72 or region == 80
    return known and weighted(digits, (3, 7, 1) * 3) % 10 == 0


def clabe(value: str) -> bool:
    """Tell whether *value* is a Mexican CLABE: 18 digits, weights 3, 7, 1."""
    digits = numbers(value)
    if len(digits) != 18 or is_uniform(digits):
        return False
    total = sum(d * w % 10 for d, w in zip(digits[:17], (3, 7, 1) * 6, strict=False))
    return -total % 10 == digits[17]


def imei(value: str) -> bool:
    """Tell whether *value* is the IMEI of a mobile device: 15 digits with Luhn's."""
    digits = numbers(value)
    return len(digits) == 15 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


_VIN = {
    **{str(n): n for n in range(10)},
    **dict(zip("ABCDEFGH", range(1, 9), strict=True)),
    **dict(zip("JKLMN", range(1, 6), strict=True)),
    "P": 7,
    "R": 9,
    **dict(zip("STUVWXYZ", range(2, 10), strict=True)),
}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(value: str) -> bool:
    """Tell whether *value* is a vehicle number (ISO 3779) with the North American check digit."""
    text = letters(value)
    if len(text) != 17 or any(letter not in _VIN for letter in text):
        return False
    if is_uniform(numbers(text)) and len(set(text)) < 4:
        return False
    return "0123456789X"[weighted([_VIN[c] for c in text], _VIN_WEIGHTS) % 11] == text[8]


def digits_vary(value: str) -> bool:
    """Tell whether the digits of *value* are not all the same one, as in a form to be filled."""
    return not is_uniform(numbers(value))


PAYMENT: Mapping[str, Callable[[str], bool]] = {
    "card": card,
    "iban": iban,
    "us-aba": aba,
    "mx-clabe": clabe,
    "imei": imei,
    "vin": vin,
    "digits-vary": digits_vary,
}
