"""Check digits of European identifiers: of the person, of the taxpayer, of the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mitmgate.scan.validators.pii_digits import (
    is_date,
    is_monotone,
    is_short_date,
    is_uniform,
    letters,
    luhn_sum,
    mod_11_10,
    number_of,
    numbers,
    weighted,
)

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_NINO_REFUSED = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})


def uk_nino(value: str) -> bool:
    """Tell whether *value* can be a British National Insurance number: its prefix is in use."""
    text = letters(value)
    if len(text) != 9 or text[:2] in _NINO_REFUSED or not text[2:8].isdecimal():
        return False
    return text[0] not in "DFIQUV" and text[1] not in "DFIOQUV" and text[8] in "ABCD"


def uk_nhs(value: str) -> bool:
    """Tell whether *value* is a British NHS number: 10 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    return weighted(digits, range(10, 0, -1)) % 11 == 0


def uk_driving(value: str) -> bool:
    """Tell whether *value* is built as a British driver number: name, birthday, initials."""
    text = letters(value)
    if len(text) != 16 or not text[5:11].isdecimal() or not text[:5].rstrip("9").isalpha():
        return False
    month = int(text[6:8])
    month = month - 50 if month > 50 else month
    return is_short_date(int(text[5] + text[10]), month, int(text[8:10]))


def uk_utr(value: str) -> bool:
    """Tell whether *value* is a British taxpayer reference: the first of 10 digits checks."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    rest = weighted(digits[1:], (6, 7, 8, 9, 10, 5, 4, 3, 2)) % 11
    return digits[0] == int("21987654321"[rest])


def de_tax_id(value: str) -> bool:
    """Tell whether *value* is a German tax id: 11 digits, few repeats, ISO 7064 MOD 11,10."""
    digits = numbers(value)
    if len(digits) != 11 or digits[0] == 0 or not mod_11_10(digits):
        return False
    most = max(digits[:10].count(digit) for digit in range(10))
    return most <= 3


def _icao(text: str) -> int:
    values = [int(letter, 36) for letter in text]
    return weighted(values, (7, 3, 1) * len(text)) % 10


def de_document(value: str) -> bool:
    """Tell whether *value* is the number of a German id card or passport and its check digit.

    Serials of nine characters whose last one is no check digit are not accepted.
    """
    text = letters(value)
    if len(text) == 10:
        return text[9].isdecimal() and _icao(text[:9]) == int(text[9])
    return len(text) == 9 and text[8].isdecimal() and _icao(text[:8]) == int(text[8])


def de_social(value: str) -> bool:
    """Tell whether *value* is a German pension number: area, birthday, letter, serial, check."""
    text = letters(value)
    if len(text) != 12 or not (text[:8] + text[9:]).isdecimal() or not text[8].isalpha():
        return False
    # Days above 31 mark a second number for the same birthday.
    day = int(text[2:4]) % 50 or 1
    if not is_short_date(int(text[6:8]), int(text[4:6]), day if day < 32 else 1):
        return False
    digits = numbers(text[:8] + f"{ord(text[8]) - 64:02d}" + text[9:])
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    total = sum(sum(divmod(d * w, 10)) for d, w in zip(digits, weights, strict=False))
    return total % 10 == digits[12]


def de_health(value: str) -> bool:
    """Tell whether *value* is a German health insurance number: a letter and 9 digits."""
    text = letters(value)
    if len(text) != 10 or not text[0].isalpha() or not text[1:].isdecimal():
        return False
    digits = numbers(f"{ord(text[0]) - 64:02d}" + text[1:])
    total = sum(sum(divmod(d * w, 10)) for d, w in zip(digits, (1, 2) * 5, strict=False))
    return total % 10 == digits[10]


def fr_nir(value: str) -> bool:
    """Tell whether *value* is a French social security number: 13 signs and a key of 2."""
    text = letters(value)
    body = text[:13].replace("2A", "19", 1).replace("2B", "18", 1)
    if (
        len(text) != 15
        or not body.isdecimal()
        or not text[13:].isdecimal()
        or text[0] not in "1278"
    ):
        return False
    month = int(text[3:5])
    if not (1 <= month <= 12 or 20 <= month <= 42 or month >= 50):
        return False
    return 97 - int(body) % 97 == int(text[13:])


def es_nif(value: str) -> bool:
    """Tell whether *value* is a Spanish DNI, NIF or NIE: digits and their letter."""
    text = letters(value)
    body = text[:-1]
    if body[:1] in {"X", "Y", "Z"}:
        body = str("XYZ".index(body[0])) + body[1:]
    if not (body.isdecimal() and 7 <= len(body) <= 8):
        return False
    return _DNI_LETTERS[int(body) % 23] == text[-1]


def es_social(value: str) -> bool:
    """Tell whether *value* is a Spanish social security number: province, serial, modulo 97."""
    digits = numbers(value)
    if len(digits) != 12 or not 1 <= number_of(digits[:2]) <= 66:
        return False
    serial = number_of(digits[2:10])
    base = number_of(digits[:2]) * (10**7 if serial < 10**7 else 10**8) + serial
    return base % 97 == number_of(digits[10:])


_CF_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (*_CF_DIGITS, *_CF_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)


def it_fiscal_code(value: str) -> bool:
    """Tell whether *value* is an Italian codice fiscale: 16 signs, the last one checks."""
    text = letters(value)
    if len(text) != 16:
        return False
    odd = sum(_CF_ODD[letter] for letter in text[0:15:2])
    even = sum(int(c) if c.isdecimal() else ord(c) - 65 for c in text[1:15:2])
    return text[15] == chr(65 + (odd + even) % 26)


def it_vat(value: str) -> bool:
    """Tell whether *value* is an Italian partita IVA: 11 digits with Luhn's."""
    digits = numbers(value)
    return len(digits) == 11 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


def pl_pesel(value: str) -> bool:
    """Tell whether *value* is a Polish PESEL: birthday with the century in its month, check."""
    digits = numbers(value)
    if len(digits) != 11:
        return False
    century, month = divmod(digits[2] * 10 + digits[3], 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + digits[0] * 10 + digits[1]
    if not is_date(year, month, digits[4] * 10 + digits[5]):
        return False
    return weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def pl_nip(value: str) -> bool:
    """Tell whether *value* is a Polish NIP: 10 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    return weighted(digits, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == digits[9]


def pl_regon(value: str) -> bool:
    """Tell whether *value* is a Polish REGON of 9 digits."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    return weighted(digits, (8, 9, 2, 3, 4, 5, 6, 7)) % 11 % 10 == digits[8]


def pl_id_card(value: str) -> bool:
    """Tell whether *value* is a Polish id card: three letters, a check digit, five digits."""
    text = letters(value)
    if len(text) != 9:
        return False
    return weighted([int(c, 36) for c in text], (7, 3, 1, 9, 7, 3, 1, 7, 3)) % 10 == 0


def pt_nif(value: str) -> bool:
    """Tell whether *value* is a Portuguese NIF: 9 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits) or digits[0] in {0, 4}:
        return False
    rest = weighted(digits, range(9, 1, -1)) % 11
    return digits[8] == (0 if rest < 2 else 11 - rest)


def nl_bsn(value: str) -> bool:
    """Tell whether *value* is a Dutch BSN: 9 digits that pass the test of eleven."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    return weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def be_nn(value: str) -> bool:
    """Tell whether *value* is a Belgian national number: birthday, serial, modulo 97."""
    digits = numbers(value)
    if len(digits) != 11 or is_monotone(digits):
        return False
    month = number_of(digits[2:4])
    if month >= 60 or month % 20 > 12:
        return False
    body, key = number_of(digits[:9]), number_of(digits[9:])
    return key in {97 - body % 97, 97 - (2 * 10**9 + body) % 97}


def at_svnr(value: str) -> bool:
    """Tell whether *value* is an Austrian insurance number: serial, check digit, birthday."""
    digits = numbers(value)
    if len(digits) != 10 or digits[0] == 0:
        return False
    month = min(number_of(digits[6:8]), 12)
    if not is_short_date(number_of(digits[8:]), month, number_of(digits[4:6])):
        return False
    return weighted(digits, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == digits[3]


def ch_ahv(value: str) -> bool:
    """Tell whether *value* is a Swiss AHV number: 756, and the check digit of an EAN-13."""
    digits = numbers(value)
    if len(digits) != 13 or digits[:3] != [7, 5, 6] or is_uniform(digits[3:12]):
        return False
    return weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def ie_pps(value: str) -> bool:
    """Tell whether *value* is an Irish PPS number: 7 digits, a check letter, maybe one more."""
    text = letters(value)
    if not 8 <= len(text) <= 9 or not text[:7].isdecimal() or is_uniform(numbers(text)):
        return False
    extra = 0 if len(text) == 8 or text[8] == "W" else ord(text[8]) - 64
    return (
        "WABCDEFGHIJKLMNOPQRSTUV"[(weighted(numbers(text), range(8, 1, -1)) + 9 * extra) % 23]
        == (text[7])
    )


def gr_amka(value: str) -> bool:
    """Tell whether *value* is a Greek AMKA: birthday, serial, Luhn's."""
    digits = numbers(value)
    if len(digits) != 11 or luhn_sum(digits) % 10:
        return False
    day, month, year = (number_of(digits[at : at + 2]) for at in (0, 2, 4))
    return is_short_date(year, month, day)


def gr_afm(value: str) -> bool:
    """Tell whether *value* is a Greek AFM: 9 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    return weighted(digits, (256, 128, 64, 32, 16, 8, 4, 2)) % 11 % 10 == digits[8]


WESTERN: Mapping[str, Callable[[str], bool]] = {
    "uk-nino": uk_nino,
    "uk-nhs": uk_nhs,
    "uk-driving": uk_driving,
    "uk-utr": uk_utr,
    "de-tax-id": de_tax_id,
    "de-document": de_document,
    "de-social": de_social,
    "de-health": de_health,
    "fr-nir": fr_nir,
    "es-nif": es_nif,
    "es-social": es_social,
    "it-fiscal-code": it_fiscal_code,
    "it-vat": it_vat,
    "pl-pesel": pl_pesel,
    "pl-nip": pl_nip,
    "pl-regon": pl_regon,
    "pl-id-card": pl_id_card,
    "pt-nif": pt_nif,
    "nl-bsn": nl_bsn,
    "be-nn": be_nn,
    "at-svnr": at_svnr,
    "ch-ahv": ch_ahv,
    "ie-pps": ie_pps,
    "gr-amka": gr_amka,
    "gr-afm": gr_afm,
}
