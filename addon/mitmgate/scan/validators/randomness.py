"""Whether a value was drawn by a machine or written by a person.

Two explanations of a value are weighed against each other, in bits: that each character was
drawn from its alphabet with equal chance, and that it is text, where one letter tells a lot
about the next. The table below holds what the second costs: how unlikely each letter is after
each other one in English and in identifiers, counted over source code and documentation.
"""

from __future__ import annotations

from math import log2
from string import ascii_lowercase, ascii_uppercase, digits

_LETTERS = frozenset(ascii_lowercase + ascii_uppercase)
_UPPER = frozenset(ascii_uppercase)
_LOWER = frozenset(ascii_lowercase)
_DIGITS = frozenset(digits)
_SPECIAL = frozenset("-_+/=.~")
_ALLOWED = _LETTERS | _DIGITS | _SPECIAL
_HEX = (_DIGITS | frozenset("abcdef"), _DIGITS | frozenset("ABCDEF"))

_AFTER = (
    "ia88iealame687n9n685beeedid9",
    "6ebe7fhk89j5ff7ema9e6jkk9k96",
    "7gcf7fk7bp88ei4dm9c6aijmerc8",
    "7eea4eeh6jibgf9fmcadbhijeob3",
    "af99dcdjflj7b7gcd678idf9dnf4",
    "8gef99gk5pn9gf7gqadb9nkkdra3",
    "bgeg4hca7qibc9bfo88caijpfig4",
    "5igf4hkk8pgccg6hlbd8bkklcmc5",
    "bb89ab9njph8946bja77lbpdsblb",
    "7kfd4hinbtfhff7ael5h8iatitg5",
    "9gdc3ebh7mkcgcdfje8dchbpgif4",
    "7ffa56gl6oh8hg7eogaa9fjoboh6",
    "5bcd4iim8pibae77jgaeclljdog6",
    "7h977b7iajeegc9elg76ccjnfog5",
    "cb98idcldic884a8n5aa8cafkjj9",
    "6ifd5hhcauf7hh79m6b8ahkk9tf6",
    "fiiiifilgtt8hfhhkdbd1hkpttg7",
    "7hbc5fbl7pddbc7fna89bdhqbri5",
    "bjai5ggb8pfdghaaih85aifmdqh4",
    "7icf5fk86pkdeh8do7aabigg9lg4",
    "a9bc7bco9wm796f8s686jjrhpn8e",
    "4feh2hhj6qnhfibepgdejiikjoc8",
    "6hed7hi95mfcg87fm78elibilog5",
    "ab7d7clharoecih7mif5hkkebl55",
    "cfcdcgcjcjl9bad4mf88iidmjff3",
    "6jhh2hng7tkebh9elgafgmikcec7",
    "cccbccnlkpmjknlhskiijlp9on23",
    "9a7999bb9gea9ab8h969accfii86",
)
"""Half bits in base 36: a row for what stands before (a to z, a digit, anything else), and in
the row the same for what follows."""


_DIGIT_BITS = 2.8
"""What the digit itself costs where text has one: years, versions and counts repeat."""
_CASE_BITS = {"same": 0.1, "camel": 4.0, "capital": 0.4, "fall": 5.0, "first": 1.5}
_SHORTEST, _LONGEST = 8, 4096
_SEGMENT = 16
_ENOUGH = 9.0
"""Bits by which chance must explain a value better than text does."""
_PLACEHOLDERS = (
    "example", "sample", "placeholder", "changeme", "change_me", "change-me", "redacted", "dummy",
    "your", "insert", "replace", "xxxx", "0000000", "1111111", "todo", "lorem", "foobar",
    "abcdefghijklmnop", "qwerty", "undefined", "generate", "eby8vdm02xnocqfl",
)  # fmt: skip
_KNOWN_SUFFIXES = (
    "com net org io dev ai app co uk de fr eu gov edu local internal cloud js mjs cjs ts tsx jsx "
    "css html htm py pyc rb go rs java kt php sh json yaml yml toml xml md txt csv log lock pem "
    "crt cer key pub pfx png jpg jpeg gif svg webp ico pdf zip gz tgz tar whl jar so dll exe bin "
    "woff woff2 map conf cfg ini env sql db tf tpl tmpl"
)
_SUFFIXES = frozenset(_KNOWN_SUFFIXES.split())


def _costs() -> dict[str, dict[str, float]]:
    alphabet = [*ascii_lowercase, "0", "_"]
    return {
        before: {after: int(cell, 36) / 2 for after, cell in zip(alphabet, row, strict=True)}
        for before, row in zip(alphabet, _AFTER, strict=True)
    }


_FOLDED = {
    **{letter: letter for letter in ascii_lowercase},
    **{letter: letter.lower() for letter in ascii_uppercase},
    **dict.fromkeys(digits, "0"),
    **dict.fromkeys(_SPECIAL, "_"),
}
_COSTS = _costs()


def looks_random(value: str) -> bool:
    """Tell whether *value* looks drawn at random, and not like a word, a name or a path.

    False for all that is shorter than 8 characters, for characters that no token has (spaces,
    quotes, brackets), for numbers, for UUIDs, and for what says that it is a placeholder. Hex
    looks random here: whether it is a digest is for the name before it to say.
    """
    if not _SHORTEST <= len(value) <= _LONGEST:
        return False
    kinds = frozenset(value)
    if not kinds <= _ALLOWED or kinds.isdisjoint(_LETTERS):
        return False
    if any(kinds <= alphabet for alphabet in _HEX):
        if len(kinds) < 6 or not _is_hex_size(len(value)):
            return False
    elif len(kinds) < 8:
        return False
    return not _is_a_thing(value) and _unlike_text(value)


def surprise(value: str) -> float:
    """Return by how many bits chance explains *value* better than text does."""
    return _text_bits(value) - len(value) * log2(_alphabet(frozenset(value)))


def _is_hex_size(length: int) -> bool:
    # Longer hex comes in round sizes where it was drawn.
    return length <= 16 or length % 4 == 0 or length in (30, 50)


def _unlike_text(value: str) -> bool:
    # What is drawn may stand behind words that are not: test_pub_ and the like.
    if surprise(value) >= _ENOUGH:
        return True
    longest = max(value.replace("-", "_").replace(".", "_").split("_"), key=len)
    return len(longest) >= _SEGMENT and longest != value and surprise(longest) >= _ENOUGH


def _is_a_thing(value: str) -> bool:
    """Tell whether *value* is something with a known look: a path, a host, a file, a UUID."""
    lowered = value.lower()
    if value.startswith(("/", "./", "../", "~", "=")) or "..." in value:
        return True
    if any(word in lowered for word in _PLACEHOLDERS):
        return True
    if lowered.rpartition(".")[2] in _SUFFIXES and "." in lowered:
        return True
    return [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12]


def _alphabet(kinds: frozenset[str]) -> int:
    if any(kinds <= alphabet for alphabet in _HEX):
        return 16
    return (
        10 * (not kinds.isdisjoint(_DIGITS))
        + 26 * (not kinds.isdisjoint(_LOWER))
        + 26 * (not kinds.isdisjoint(_UPPER))
        + 2 * (not kinds.isdisjoint(_SPECIAL))
    )


def _text_bits(value: str) -> float:
    """Return what *value* costs as text: its letters, its digits and its changes of case."""
    bits, before, case, run = 0.0, _COSTS["_"], "", 0
    for character in value:
        folded = _FOLDED[character]
        bits += before[folded]
        before = _COSTS[folded]
        if folded == "0":
            bits += _DIGIT_BITS
            case = ""
        elif folded == "_":
            case = ""
        else:
            new = "lower" if character == folded else "upper"
            bits += _case_bits(case, new, run)
            run = run + 1 if new == case else 1
            case = new
    return bits


def _case_bits(before: str, case: str, run: int) -> float:
    """Return what a letter of *case* costs after *run* letters of the case *before*."""
    if before == case:
        return _CASE_BITS["same"]
    if not before:
        return _CASE_BITS["first"] if case == "upper" else 0.3
    if case == "upper":
        return _CASE_BITS["camel"]
    return _CASE_BITS["capital"] if run == 1 else _CASE_BITS["fall"]
