"""Check digits of identifiers of the Americas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mitmgate.scan.validators.pii_digits import (
    is_monotone,
    is_short_date,
    is_uniform,
    letters,
    luhn_sum,
    number_of,
    numbers,
    weighted,
)

# Numbers that forms, films and leaflets have printed, and that belong to nobody.
_SSN_PRINTED = frozenset({219099999, 457555462})


def us_ssn(value: str) -> bool:
    """Tell whether *value* can be a US social security number: its parts are given out."""
    digits = numbers(value)
    if len(digits) != 9 or is_monotone(digits):
        return False
    area, group, serial = number_of(digits[:3]), number_of(digits[3:5]), number_of(digits[5:])
    if area in {0, 666} or area >= 900 or group == 0 or serial == 0:
        return False
    return number_of(digits) not in _SSN_PRINTED


def us_itin(value: str) -> bool:
    """Tell whether *value* can be a US taxpayer number: 9, its group in the ranges in use."""
    digits = numbers(value)
    if len(digits) != 9 or digits[0] != 9:
        return False
    group = number_of(digits[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def us_npi(value: str) -> bool:
    """Tell whether *value* is a US provider number: 1 or 2 first, Luhn's with 80840 before it."""
    digits = numbers(value)
    if len(digits) != 10 or digits[0] not in {1, 2} or is_uniform(digits[1:]):
        return False
    return luhn_sum([8, 0, 8, 4, 0, *digits]) % 10 == 0


def us_dea(value: str) -> bool:
    """Tell whether *value* is a number of the US Drug Enforcement Administration."""
    text = letters(value)
    if len(text) != 9 or not text[2:].isdecimal() or is_uniform(numbers(text[2:])):
        return False
    return weighted(numbers(text[2:]), (1, 2, 1, 2, 1, 2)) % 10 == int(text[8])


def ca_sin(value: str) -> bool:
    """Tell whether *value* is a Canadian social insurance number: 9 digits with Luhn's."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits) or digits[0] in {0, 8}:
        return False
    return luhn_sum(digits) % 10 == 0


def _br_digit(digits: Sequence[int], weights: Sequence[int]) -> int:
    rest = weighted(digits, weights) % 11
    return 0 if rest < 2 else 11 - rest


def br_cpf(value: str) -> bool:
    """Tell whether *value* is a Brazilian CPF: 11 digits, the last two check."""
    digits = numbers(value)
    if len(digits) != 11 or is_uniform(digits):
        return False
    first = _br_digit(digits, range(10, 1, -1))
    return first == digits[9] and _br_digit(digits, range(11, 1, -1)) == digits[10]


def br_cnpj(value: str) -> bool:
    """Tell whether *value* is a Brazilian CNPJ: 12 digits or letters and two check digits."""
    text = letters(value)
    if len(text) != 14 or not text[12:].isdecimal() or is_uniform(numbers(text)):
        return False
    values = [ord(letter) - 48 for letter in text]
    weights = (5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    first = _br_digit(values, weights)
    return first == values[12] and _br_digit(values, (6, *weights)) == values[13]


def br_pis(value: str) -> bool:
    """Tell whether *value* is a Brazilian PIS, PASEP or NIS number."""
    digits = numbers(value)
    if len(digits) != 11 or is_uniform(digits):
        return False
    return _br_digit(digits, (3, 2, 9, 8, 7, 6, 5, 4, 3, 2)) == digits[10]


_CURP = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"


def mx_curp(value: str) -> bool:
    """Tell whether *value* is a Mexican CURP: names, birthday, sex, state, check digit."""
    text = value.strip().upper()
    if len(text) != 18 or any(letter not in _CURP for letter in text) or not text[17].isdecimal():
        return False
    if not text[4:10].isdecimal():
        return False
    if not is_short_date(int(text[4:6]), int(text[6:8]), int(text[8:10])):
        return False
    total = sum(_CURP.index(letter) * (18 - at) for at, letter in enumerate(text[:17]))
    return -total % 10 == int(text[17])


def mx_rfc(value: str) -> bool:
    """Tell whether *value* is built as a Mexican RFC: three or four letters, date, three signs."""
    text = "".join([c for c in value.strip().upper() if c not in " -"])
    if len(text) not in {12, 13}:
        return False
    day = text[len(text) - 9 : len(text) - 3]
    if not (day.isascii() and day.isdecimal()):
        return False
    return is_short_date(int(day[:2]), int(day[2:4]), int(day[4:]))


def mx_nss(value: str) -> bool:
    """Tell whether *value* is a Mexican social security number: 11 digits with Luhn's."""
    digits = numbers(value)
    return len(digits) == 11 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


def ar_cuit(value: str) -> bool:
    """Tell whether *value* is an Argentine CUIT or CUIL: a known type, modulo 11."""
    digits = numbers(value)
    if len(digits) != 11 or number_of(digits[:2]) not in {20, 23, 24, 25, 26, 27, 30, 33, 34}:
        return False
    if is_uniform(digits[2:10]):
        return False
    return -weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11 == digits[10]


def cl_rut(value: str) -> bool:
    """Tell whether *value* is a Chilean RUT: 7 or 8 digits and modulo 11, K for 10."""
    text = letters(value)
    if not 8 <= len(text) <= 9 or not text[:-1].isdecimal() or is_uniform(numbers(text[:-1])):
        return False
    weights = (2, 3, 4, 5, 6, 7, 2, 3)
    return "0123456789K"[-weighted(reversed(numbers(text[:-1])), weights) % 11] == text[-1]


def co_nit(value: str) -> bool:
    """Tell whether *value* is a Colombian NIT: up to 10 digits and their check digit."""
    digits = numbers(value)
    if not 9 <= len(digits) <= 11 or is_uniform(digits):
        return False
    weights = (3, 7, 13, 17, 19, 23, 29, 37, 41, 43)
    rest = weighted(reversed(digits[:-1]), weights) % 11
    return digits[-1] == (rest if rest < 2 else 11 - rest)


def pe_ruc(value: str) -> bool:
    """Tell whether *value* is a Peruvian RUC: 11 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 11 or number_of(digits[:2]) not in {10, 15, 16, 17, 20}:
        return False
    rest = -weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return rest % 10 == digits[10]


def uy_ci(value: str) -> bool:
    """Tell whether *value* is an Uruguayan cédula: 7 or 8 digits, modulo 10."""
    digits = numbers(value)
    if not 7 <= len(digits) <= 8 or is_uniform(digits):
        return False
    digits = [0] * (8 - len(digits)) + digits
    return -weighted(digits, (2, 9, 8, 7, 6, 3, 4)) % 10 == digits[7]


def ec_cedula(value: str) -> bool:
    """Tell whether *value* is an Ecuadorian cédula: province, modulo 10."""
    digits = numbers(value)
    if len(digits) != 10 or digits[2] > 6:
        return False
    province = number_of(digits[:2])
    return (1 <= province <= 24 or province == 30) and luhn_sum(digits) % 10 == 0


def do_cedula(value: str) -> bool:
    """Tell whether *value* is a Dominican cédula: 11 digits with Luhn's."""
    digits = numbers(value)
    return len(digits) == 11 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


AMERICAN: Mapping[str, Callable[[str], bool]] = {
    "us-ssn": us_ssn,
    "us-itin": us_itin,
    "us-npi": us_npi,
    "us-dea": us_dea,
    "ca-sin": ca_sin,
    "br-cpf": br_cpf,
    "br-cnpj": br_cnpj,
    "br-pis": br_pis,
    "mx-curp": mx_curp,
    "mx-rfc": mx_rfc,
    "mx-nss": mx_nss,
    "ar-cuit": ar_cuit,
    "cl-rut": cl_rut,
    "co-nit": co_nit,
    "pe-ruc": pe_ruc,
    "uy-ci": uy_ci,
    "ec-cedula": ec_cedula,
    "do-cedula": do_cedula,
}
