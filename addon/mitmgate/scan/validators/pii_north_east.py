"""Check digits of identifiers of the Nordic, Baltic and eastern European countries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mitmgate.scan.validators.pii_digits import (
    is_date,
    is_short_date,
    is_uniform,
    luhn_sum,
    mod_11_10,
    number_of,
    numbers,
    weighted,
)

_HETU_CHECKS = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def _pairs(digits: Sequence[int]) -> tuple[int, int, int]:
    return number_of(digits[:2]), number_of(digits[2:4]), number_of(digits[4:6])


def se_personnummer(value: str) -> bool:
    """Tell whether *value* is a Swedish personnummer or samordningsnummer: date and Luhn's."""
    digits = numbers(value)
    if len(digits) == 12:
        if number_of(digits[:2]) not in {18, 19, 20}:
            return False
        digits = digits[2:]
    if len(digits) != 10 or luhn_sum(digits) % 10:
        return False
    year, month, day = _pairs(digits)
    return is_short_date(year, month, day - 60 if day > 60 else day)


def fi_hetu(value: str) -> bool:
    """Tell whether *value* is a Finnish henkilötunnus: birthday, century sign, modulo 31."""
    text = value.strip().upper()
    if len(text) != 11 or text[6] not in "+-ABCDEFYXWVU" or text[10] not in _HETU_CHECKS:
        return False
    body = text[:6] + text[7:10]
    if not (body.isascii() and body.isdecimal()) or int(text[7:10]) < 2:
        return False
    day, month, year = _pairs(numbers(body))
    return is_short_date(year, month, day) and _HETU_CHECKS[int(body) % 31] == text[10]


def dk_cpr(value: str) -> bool:
    """Tell whether *value* can be a Danish CPR number: a birthday and four digits.

    Numbers given out since 2007 need not pass modulo 11, so it is not asked for.
    """
    digits = numbers(value)
    if len(digits) != 10:
        return False
    day, month, year = _pairs(digits)
    return is_short_date(year, month, day)


def no_fnr(value: str) -> bool:
    """Tell whether *value* is a Norwegian fødselsnummer or D-number: date, two check digits."""
    digits = numbers(value)
    if len(digits) != 11:
        return False
    day, month, year = _pairs(digits)
    if not is_short_date(year, month % 40, day - 40 if day > 40 else day):
        return False
    first = weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1))
    second = weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1))
    return first % 11 == 0 and second % 11 == 0


def is_kennitala(value: str) -> bool:
    """Tell whether *value* is an Icelandic kennitala: date, serial, modulo 11, century."""
    digits = numbers(value)
    if len(digits) != 10 or digits[9] not in {0, 8, 9}:
        return False
    day, month, year = _pairs(digits)
    if not is_short_date(year, month, day - 40 if day > 40 else day):
        return False
    return weighted(digits, (3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def ee_lt_code(value: str) -> bool:
    """Tell whether *value* is an Estonian isikukood or a Lithuanian asmens kodas."""
    digits = numbers(value)
    if len(digits) != 11 or not 1 <= digits[0] <= 8:
        return False
    if not is_date(1800 + (digits[0] - 1) // 2 * 100 + number_of(digits[1:3]), *_month_day(digits)):
        return False
    rest = weighted(digits, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if rest == 10:
        rest = weighted(digits, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return rest == digits[10]


def _month_day(digits: Sequence[int]) -> tuple[int, int]:
    return number_of(digits[3:5]), number_of(digits[5:7])


def lv_code(value: str) -> bool:
    """Tell whether *value* is a Latvian personas kods: a birthday or, since 2017, 32 to 39."""
    digits = numbers(value)
    if len(digits) != 11:
        return False
    if digits[0] == 3 and digits[1] >= 2:
        return not is_uniform(digits[2:])
    day, month, year = _pairs(digits)
    if not is_short_date(year, month, day) or digits[6] > 2:
        return False
    return (1101 - weighted(digits, (1, 6, 3, 7, 9, 10, 5, 8, 4, 2))) % 11 % 10 == digits[10]


def cz_sk_number(value: str) -> bool:
    """Tell whether *value* is a Czech or Slovak birth number: date and modulo 11.

    Nine digits, as given out until 1953, have no check digit; those are not accepted.
    """
    digits = numbers(value)
    if len(digits) != 10:
        return False
    year, month, day = _pairs(digits)
    month = month - 50 if month > 50 else month
    month = month - 20 if month > 20 else month
    if not is_short_date(year, month, day):
        return False
    return number_of(digits[:9]) % 11 % 10 == digits[9]


def ro_cnp(value: str) -> bool:
    """Tell whether *value* is a Romanian CNP: sex and century, birthday, county, modulo 11."""
    digits = numbers(value)
    if len(digits) != 13 or digits[0] == 0 or number_of(digits[7:9]) > 52:
        return False
    year, month, day = _pairs(digits[1:])
    rest = weighted(digits, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return is_short_date(year, month, day) and min(rest, 10) % 10 + (rest == 10) == digits[12]


def bg_egn(value: str) -> bool:
    """Tell whether *value* is a Bulgarian EGN: birthday with the century in its month, check."""
    digits = numbers(value)
    if len(digits) != 10:
        return False
    year, month, day = _pairs(digits)
    century = {0: 1900, 1: 1800, 2: 2000}[min(month // 20, 2)]
    if not is_date(century + year, month % 20, day):
        return False
    return weighted(digits, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == digits[9]


def hr_oib(value: str) -> bool:
    """Tell whether *value* is a Croatian OIB: 11 digits, ISO 7064 MOD 11,10."""
    digits = numbers(value)
    return len(digits) == 11 and not is_uniform(digits) and mod_11_10(digits)


def jmbg(value: str) -> bool:
    """Tell whether *value* is a JMBG or EMŠO of the former Yugoslavia: date, region, modulo 11."""
    digits = numbers(value)
    if len(digits) != 13:
        return False
    thousands = 2000 if digits[4] < 8 else 1000
    if not is_date(thousands + number_of(digits[4:7]), number_of(digits[2:4]), _day(digits)):
        return False
    rest = 11 - weighted(digits, (7, 6, 5, 4, 3, 2) * 2) % 11
    return (0 if rest > 9 else rest) == digits[12]


def _day(digits: Sequence[int]) -> int:
    return number_of(digits[:2])


def hu_taj(value: str) -> bool:
    """Tell whether *value* is a Hungarian TAJ number: 9 digits, weights 3 and 7."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    return weighted(digits, (3, 7) * 4) % 10 == digits[8]


def hu_tax(value: str) -> bool:
    """Tell whether *value* is a Hungarian tax number of a person: 8, ten digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 10 or digits[0] != 8:
        return False
    return weighted(digits, range(1, 10)) % 11 == digits[9]


def ua_rnokpp(value: str) -> bool:
    """Tell whether *value* is a Ukrainian taxpayer number: 10 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    return weighted(digits, (-1, 5, 7, 9, 4, 6, 10, 5, 7)) % 11 % 10 == digits[9]


def ru_inn(value: str) -> bool:
    """Tell whether *value* is a Russian INN of a person (12 digits) or a firm (10)."""
    digits = numbers(value)
    if is_uniform(digits):
        return False
    tail = (2, 4, 10, 3, 5, 9, 4, 6, 8)
    if len(digits) == 10:
        return weighted(digits, tail) % 11 % 10 == digits[9]
    if len(digits) != 12:
        return False
    first = weighted(digits, (7, *tail)) % 11 % 10
    return first == digits[10] and weighted(digits, (3, 7, *tail)) % 11 % 10 == digits[11]


def ru_snils(value: str) -> bool:
    """Tell whether *value* is a Russian SNILS: 9 digits and a sum of two."""
    digits = numbers(value)
    if len(digits) != 11 or is_uniform(digits):
        return False
    return weighted(digits, range(9, 0, -1)) % 101 % 100 == number_of(digits[9:])


NORTHERN_AND_EASTERN: Mapping[str, Callable[[str], bool]] = {
    "se-personnummer": se_personnummer,
    "fi-hetu": fi_hetu,
    "dk-cpr": dk_cpr,
    "no-fnr": no_fnr,
    "is-kennitala": is_kennitala,
    "ee-lt-code": ee_lt_code,
    "lv-code": lv_code,
    "cz-sk-number": cz_sk_number,
    "ro-cnp": ro_cnp,
    "bg-egn": bg_egn,
    "hr-oib": hr_oib,
    "jmbg": jmbg,
    "hu-taj": hu_taj,
    "hu-tax": hu_tax,
    "ua-rnokpp": ua_rnokpp,
    "ru-inn": ru_inn,
    "ru-snils": ru_snils,
}
