"""Check digits of identifiers of Asia, Oceania, Africa and the Middle East."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mitmgate.scan.validators.pii_digits import (
    is_date,
    is_short_date,
    is_uniform,
    letters,
    luhn_sum,
    number_of,
    numbers,
    verhoeff,
    weighted,
)

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KR_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
# Letters of Taiwanese ids by their value less 10: I, O, W and Z came later.
_TW_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def tr_tckn(value: str) -> bool:
    """Tell whether *value* is a Turkish identity number: 11 digits, the last two check."""
    digits = numbers(value)
    if len(digits) != 11 or digits[0] == 0 or sum(digits[:10]) % 10 != digits[10]:
        return False
    return (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10 == digits[9]


def il_id(value: str) -> bool:
    """Tell whether *value* is an Israeli identity number: 9 digits with Luhn's."""
    digits = numbers(value)
    return len(digits) == 9 and not is_uniform(digits) and luhn_sum(digits) % 10 == 0


def in_aadhaar(value: str) -> bool:
    """Tell whether *value* is an Indian Aadhaar number: 12 digits from 2, Verhoeff's check."""
    digits = numbers(value)
    if len(digits) != 12 or digits[0] < 2 or digits == digits[::-1]:
        return False
    return verhoeff(digits)


def in_gstin(value: str) -> bool:
    """Tell whether *value* is an Indian GSTIN: state, PAN, entity, Z, check in base 36."""
    text = letters(value)
    if len(text) != 15 or not text[:2].isdecimal() or not 1 <= int(text[:2]) <= 38:
        return False
    total = 0
    for at, letter in enumerate(text[:14]):
        total += sum(divmod(_BASE36.index(letter) * (1 + at % 2), 36))
    return _BASE36[-total % 36] == text[14]


def kr_rrn(value: str) -> bool:
    """Tell whether *value* can be a Korean resident or foreigner number: birthday and sex.

    Numbers given out since October 2020 have no check digit, so it is not asked for.
    """
    digits = numbers(value)
    if len(digits) != 13:
        return False
    year, month, day = (number_of(digits[at : at + 2]) for at in (0, 2, 4))
    if digits[6] in {9, 0}:
        return is_date(1800 + year, month, day)
    return is_date((1900 if digits[6] in {1, 2, 5, 6} else 2000) + year, month, day)


def kr_business(value: str) -> bool:
    """Tell whether *value* is a Korean business registration number: 10 digits."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    total = weighted(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5)) + digits[8] * 5 // 10
    return -total % 10 == digits[9]


def jp_my_number(value: str) -> bool:
    """Tell whether *value* is a Japanese individual number: 12 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 12 or is_uniform(digits):
        return False
    rest = weighted(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return digits[11] == (0 if rest < 2 else 11 - rest)


def cn_resident(value: str) -> bool:
    """Tell whether *value* is a Chinese resident number: region, birthday, modulo 11."""
    text = letters(value)
    if len(text) != 18 or not text[:17].isdecimal() or not 11 <= int(text[:2]) <= 82:
        return False
    if not 1850 <= int(text[6:10]) <= 2100:
        return False
    if not is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])):
        return False
    weights = [2**power % 11 for power in range(17, 0, -1)]
    return "10X98765432"[weighted(numbers(text[:17]), weights) % 11] == text[17]


def tw_id(value: str) -> bool:
    """Tell whether *value* is a Taiwanese identity or resident number."""
    text = letters(value)
    if len(text) != 10 or text[0] not in _TW_LETTERS or not text[1:].isdecimal():
        return False
    first = _TW_LETTERS.index(text[0]) + 10
    digits = [first // 10, first % 10, *numbers(text[1:])]
    return weighted(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)) % 10 == 0


def hk_id(value: str) -> bool:
    """Tell whether *value* is a Hong Kong identity card: one or two letters, 6 digits, check."""
    text = letters(value)
    if len(text) not in {8, 9} or not text[-7:-1].isdecimal() or text[-1] not in "0123456789A":
        return False
    head = [_BASE36.index(c) for c in text[:-7]]
    values = [*([36] if len(head) == 1 else []), *head, *numbers(text[-7:-1])]
    check = 10 if text[-1] == "A" else int(text[-1])
    return (weighted(values, range(9, 1, -1)) + check) % 11 == 0


def sg_nric(value: str) -> bool:
    """Tell whether *value* is a Singaporean NRIC or FIN: its letter checks."""
    text = letters(value)
    if len(text) != 9 or not text[1:8].isdecimal():
        return False
    total = weighted(numbers(text[1:8]), (2, 7, 6, 5, 4, 3, 2))
    if text[0] == "M":
        return "KLJNPQRTUWX"[10 - (total + 3) % 11] == text[8]
    shift = 4 if text[0] in "TG" else 0
    table = "JZIHGFEDCBA" if text[0] in "ST" else "XWUTRQPNMLK"
    return text[0] in "STFG" and table[(total + shift) % 11] == text[8]


def th_id(value: str) -> bool:
    """Tell whether *value* is a Thai identity number: 13 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 13 or digits[0] == 0 or is_uniform(digits):
        return False
    return (11 - weighted(digits, range(13, 1, -1)) % 11) % 10 == digits[12]


def my_kad(value: str) -> bool:
    """Tell whether *value* can be a Malaysian MyKad: a birthday and a place that is in use."""
    digits = numbers(value)
    if len(digits) != 12 or number_of(digits[6:8]) in {0, 17, 18, 19, 20, 69, 70, 73, 80, 81}:
        return False
    year, month, day = (number_of(digits[at : at + 2]) for at in (0, 2, 4))
    return is_short_date(year, month, day)


def id_nik(value: str) -> bool:
    """Tell whether *value* can be an Indonesian NIK: province, birthday (women's day +40)."""
    digits = numbers(value)
    if len(digits) != 16 or not 11 <= number_of(digits[:2]) <= 96:
        return False
    day, month, year = (number_of(digits[at : at + 2]) for at in (6, 8, 10))
    return is_short_date(year, month, day - 40 if day > 40 else day) and any(digits[12:])


def au_tfn(value: str) -> bool:
    """Tell whether *value* is an Australian tax file number: 8 or 9 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) not in {8, 9} or is_uniform(digits):
        return False
    weights = (1, 4, 3, 7, 5, 8, 6, 9, 10) if len(digits) == 9 else (10, 7, 8, 4, 6, 3, 5, 1)
    return weighted(digits, weights) % 11 == 0


def au_abn(value: str) -> bool:
    """Tell whether *value* is an Australian business number: 11 digits, modulo 89."""
    digits = numbers(value)
    if len(digits) != 11 or digits[0] == 0 or is_uniform(digits):
        return False
    return (weighted(digits, (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) - 10) % 89 == 0


def au_acn(value: str) -> bool:
    """Tell whether *value* is an Australian company number: 9 digits, modulo 10."""
    digits = numbers(value)
    if len(digits) != 9 or is_uniform(digits):
        return False
    return -weighted(digits, range(8, 0, -1)) % 10 == digits[8]


def au_medicare(value: str) -> bool:
    """Tell whether *value* is an Australian Medicare card number: 10 or 11 digits."""
    digits = numbers(value)
    if len(digits) not in {10, 11} or not 2 <= digits[0] <= 6 or is_uniform(digits[:8]):
        return False
    return weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == digits[8]


def nz_ird(value: str) -> bool:
    """Tell whether *value* is a New Zealand IRD number: 8 or 9 digits, modulo 11 twice."""
    digits = numbers(value)
    if len(digits) not in {8, 9} or not 10_000_000 < number_of(digits) < 200_000_000:
        return False
    digits = [0] * (9 - len(digits)) + digits
    rest = -weighted(digits, (3, 2, 7, 6, 5, 4, 3, 2)) % 11
    if rest == 10:
        rest = -weighted(digits, (7, 4, 3, 2, 5, 2, 7, 6)) % 11
    return rest == digits[8] and not is_uniform(digits[1:])


def nz_nhi(value: str) -> bool:
    """Tell whether *value* is a New Zealand health number of the old form: AAA1234."""
    text = letters(value)
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if len(text) != 7 or any(c not in alphabet for c in text[:3]) or not text[3:].isdecimal():
        return False
    values = [alphabet.index(c) + 1 for c in text[:3]] + numbers(text[3:6])
    rest = weighted(values, range(7, 1, -1)) % 11
    return rest != 0 and (11 - rest) % 10 == int(text[6])


def za_id(value: str) -> bool:
    """Tell whether *value* is a South African identity number: birthday, citizenship, Luhn's."""
    digits = numbers(value)
    if len(digits) != 13 or digits[10] > 2 or digits[11] < 8:
        return False
    year, month, day = (number_of(digits[at : at + 2]) for at in (0, 2, 4))
    return is_short_date(year, month, day) and luhn_sum(digits) % 10 == 0


def eg_id(value: str) -> bool:
    """Tell whether *value* can be an Egyptian national id: century, birthday, governorate."""
    digits = numbers(value)
    if len(digits) != 14 or digits[0] not in {2, 3} or not 1 <= number_of(digits[7:9]) <= 88:
        return False
    year, month, day = (number_of(digits[at : at + 2]) for at in (1, 3, 5))
    return is_date((1900 if digits[0] == 2 else 2000) + year, month, day)


def ae_id(value: str) -> bool:
    """Tell whether *value* is an Emirates ID: 784, a year of birth, Luhn's."""
    digits = numbers(value)
    if len(digits) != 15 or digits[:3] != [7, 8, 4] or digits[3] not in {1, 2}:
        return False
    return luhn_sum(digits) % 10 == 0


def sa_id(value: str) -> bool:
    """Tell whether *value* is a Saudi identity or Iqama number: 1 or 2 first, Luhn's."""
    digits = numbers(value)
    if len(digits) != 10 or digits[0] not in {1, 2} or is_uniform(digits[1:]):
        return False
    return luhn_sum(digits) % 10 == 0


def ir_code(value: str) -> bool:
    """Tell whether *value* is an Iranian national code: 10 digits, modulo 11."""
    digits = numbers(value)
    if len(digits) != 10 or is_uniform(digits):
        return False
    rest = weighted(digits, range(10, 1, -1)) % 11
    return digits[9] == (rest if rest < 2 else 11 - rest)


ASIAN_AND_SOUTHERN: Mapping[str, Callable[[str], bool]] = {
    "tr-tckn": tr_tckn,
    "il-id": il_id,
    "in-aadhaar": in_aadhaar,
    "in-gstin": in_gstin,
    "kr-rrn": kr_rrn,
    "kr-business": kr_business,
    "jp-my-number": jp_my_number,
    "cn-resident": cn_resident,
    "tw-id": tw_id,
    "hk-id": hk_id,
    "sg-nric": sg_nric,
    "th-id": th_id,
    "my-kad": my_kad,
    "id-nik": id_nik,
    "au-tfn": au_tfn,
    "au-abn": au_abn,
    "au-acn": au_acn,
    "au-medicare": au_medicare,
    "nz-ird": nz_ird,
    "nz-nhi": nz_nhi,
    "za-id": za_id,
    "eg-id": eg_id,
    "ae-id": ae_id,
    "sa-id": sa_id,
    "ir-code": ir_code,
}
