"""Arithmetic that check digits of many countries share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

_D5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_TURNS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)


def numbers(value: str) -> list[int]:
    """Return the ASCII digits of *value*, whatever stands between them."""
    return [ord(letter) - 48 for letter in value if "0" <= letter <= "9"]


def letters(value: str) -> str:
    """Return the ASCII letters and digits of *value*, letters in upper case."""
    return "".join([c for c in value if c.isascii() and c.isalnum()]).upper()


def weighted(digits: Iterable[int], weights: Iterable[int]) -> int:
    """Return the sum of products, as long as the shorter of the two is."""
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=False))


def number_of(digits: Iterable[int]) -> int:
    """Return the number that *digits* spell in base 10."""
    number = 0
    for digit in digits:
        number = number * 10 + digit
    return number


def is_monotone(digits: Sequence[int]) -> bool:
    """Tell whether *digits* are all the same, or count up or down: a placeholder."""
    steps = {(b - a) % 10 for a, b in pairwise(digits)}
    return steps <= {0} or steps in ({1}, {9})


def is_uniform(digits: Sequence[int]) -> bool:
    """Tell whether *digits* are all the same one."""
    return len(set(digits)) <= 1


def is_date(year: int, month: int, day: int) -> bool:
    """Tell whether the calendar has this day."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def is_short_date(year: int, month: int, day: int) -> bool:
    """Tell whether the calendar has this day in 19*year* or 20*year* (*year* has two digits)."""
    return is_date(1900 + year, month, day) or is_date(2000 + year, month, day)


def luhn_sum(digits: Sequence[int]) -> int:
    """Return Luhn's sum of *digits*, the check digit being the last (ISO/IEC 7812-1, annex B)."""
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return sum(digits[-1::-2]) + sum(doubled)


def luhn(value: str) -> bool:
    """Tell whether the digits of *value* pass the Luhn check; what is no digit is left out."""
    digits = numbers(value)
    return len(digits) >= 2 and luhn_sum(digits) % 10 == 0


def verhoeff(digits: Sequence[int]) -> bool:
    """Tell whether *digits* pass Verhoeff's check, the check digit being the last."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _D5[check][_TURNS[place % 8][digit]]
    return check == 0


def mod_11_10(digits: Sequence[int]) -> bool:
    """Tell whether *digits* pass ISO 7064 MOD 11,10, the check digit being the last."""
    carry = 10
    for digit in digits[:-1]:
        carry = (carry + digit) % 10 or 10
        carry = carry * 2 % 11
    return (carry + digits[-1]) % 10 == 1


def mod_97(text: str) -> int:
    """Return the remainder by 97 of *text* with A=10 ... Z=35 (ISO 7064); -1 for other signs."""
    rest = 0
    for letter in text:
        if "0" <= letter <= "9":
            rest = (rest * 10 + ord(letter) - 48) % 97
        elif "A" <= letter <= "Z":
            rest = (rest * 100 + ord(letter) - 55) % 97
        else:
            return -1
    return rest
