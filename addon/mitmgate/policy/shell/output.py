"""What commands print when all that they are told is constant: ``echo``, ``printf``, ``base64``.

Nothing is run. Texts that hide a command (``echo cm0gLXJm | base64 -d | sh``) are what this is
for; a command that is not known here prints None, the unknown.
"""

from __future__ import annotations

import base64
import binascii
import string
from collections.abc import Callable, Sequence
from typing import Final, Literal

from mitmgate.policy.shell.syntax import MAX_TEXT, Output

type Style = Literal["quote", "echo", "printf"]

_LETTERS: Final = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
    "v": "\v", "\\": "\\",
}  # fmt: skip
_OCTAL: Final = frozenset(string.octdigits)
_HEX: Final = frozenset(string.hexdigits)
_HEX_LENGTHS: Final = {"x": 2, "u": 4, "U": 8}
_BASE64: Final = frozenset(string.ascii_letters + string.digits + "+/-_")
_MAX_OUTPUTS: Final = 4
_LAST_CHARACTER: Final = 0x10FFFF


def decode_escapes(text: str, style: Style) -> str:
    r"""Return *text* with its backslash escapes replaced.

    *style* tells where they stand: in ``$'...'``, in what ``echo -e`` prints (octal digits
    begin with 0 and ``\c`` ends the text), or in a format of ``printf``.
    """
    head, *rest = text.split("\\")
    out = [head]
    index = 0
    while index < len(rest):
        part = rest[index]
        index += 1
        if part:
            if part[0] == "c" and style != "quote":
                break
            out.append(_escape(part, style))
        elif index < len(rest):  # two backslashes in a row are one
            out.append("\\" + rest[index])
            index += 1
        else:
            out.append("\\")
    return "".join(out)


def _escape(part: str, style: Style) -> str:
    """Return what *part*, which stood behind a backslash, is."""
    char = part[0]
    if char in _LETTERS:
        return _LETTERS[char] + part[1:]
    if char in _HEX_LENGTHS:
        return _number(part, 1, _HEX_LENGTHS[char], _HEX)
    if char in _OCTAL:
        # echo wants \0NNN; shells differ on \NNN, and reading it hides nothing
        longer = char == "0" and style != "quote"
        return _number(part, 0, 4 if longer else 3, _OCTAL)
    if char in "'\"?" and style != "echo":
        return part
    if char == "c" and len(part) > 1:
        return chr(ord(part[1].upper()) & 0x1F) + part[2:] if part[1].isascii() else part[1:]
    return "\\" + part


def _number(part: str, start: int, longest: int, digits: frozenset[str]) -> str:
    at = start
    while at < min(len(part), start + longest) and part[at] in digits:
        at += 1
    if at == start:
        return "\\" + part
    value = int(part[start:at], 16 if digits is _HEX else 8)
    if digits is _OCTAL:
        value &= 0xFF
    return (chr(value) if value <= _LAST_CHARACTER else "\ufffd") + part[at:]


def printed_by(name: str, arguments: Sequence[str], given: Output) -> Output:
    """Return what the program *name* may print; *given* is what it may read from its input."""
    printer = _PRINTERS.get(name)
    return printer(arguments, given) if printer is not None else None


def concatenated(outputs: Sequence[Output]) -> Output:
    """Return what commands may print one after the other."""
    count, size = 1, 0
    known: list[tuple[str, ...]] = []
    for output in outputs:
        if output is None:
            return None
        count *= len(output)
        size += max(map(len, output), default=0)
        if count > _MAX_OUTPUTS or size > MAX_TEXT:
            return None
        known.append(output)
    texts = []
    for choice in range(count):
        divisor, parts = 1, []
        for output in known:
            parts.append(output[choice // divisor % len(output)])
            divisor *= len(output)
        texts.append("".join(parts))
    return tuple(texts)


def either(outputs: Sequence[Output]) -> Output:
    """Return what a command may print that has several readings."""
    texts: dict[str, None] = {}
    for output in outputs:
        if output is None:
            return None
        texts.update(dict.fromkeys(output))
    return tuple(texts) if len(texts) <= _MAX_OUTPUTS else None


def _echo(arguments: Sequence[str], _given: Output) -> Output:
    rest = list(arguments)
    newline, escapes = "\n", False
    while rest and rest[0].startswith("-") and rest[0][1:] and not rest[0][1:].strip("neE"):
        newline = "" if "n" in rest[0] else newline
        escapes = ("e" in rest[0] or escapes) and "E" not in rest[0]
        rest.pop(0)
    text = " ".join(rest)
    if "\\" not in text:
        return (text + newline,)
    decoded = decode_escapes(text, "echo") + newline
    # dash's echo decodes without being asked, that of bash does not
    return (decoded,) if escapes else (text + newline, decoded)


def _printf(arguments: Sequence[str], _given: Output) -> Output:
    rest = list(arguments)
    if rest[:1] == ["--"]:
        rest.pop(0)
    if not rest or rest[0].startswith("-"):
        return None
    text, *values = rest
    pieces = _directives(text)
    if pieces is None:
        return None
    out: list[str] = []
    size = 0
    values.reverse()
    while True:
        before = len(values)
        for piece in pieces:
            out.append(_formatted(piece, values))
            size += len(out[-1])
        if not values or len(values) == before:
            return ("".join(out),)
        if size > MAX_TEXT:
            return None


def _directives(text: str) -> list[tuple[str, str]] | None:
    """Return a format as (directive, text) pairs, or None where it does more than we know."""
    pieces: list[tuple[str, str]] = []
    head, *rest = decode_escapes(text.replace("%%", "\0"), "printf").split("%")
    pieces.append(("", head.replace("\0", "%")))
    for part in rest:
        if part[:1] not in ("s", "b", "c", "d", "i", "x", "q"):
            return None
        pieces.append((part[0], part[1:].replace("\0", "%")))
    return pieces


def _formatted(piece: tuple[str, str], values: list[str]) -> str:
    directive, tail = piece
    if not directive:
        return tail
    value = values.pop() if values else ""
    if directive == "b":
        value = decode_escapes(value, "echo")
    elif directive == "c":
        value = value[:1]
    elif directive in ("d", "i", "x"):
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
        value = f"{number:x}" if directive == "x" else str(number)
    return value + tail


def _cat(arguments: Sequence[str], given: Output) -> Output:
    plain = all(argument in ("-", "-u", "/dev/stdin") for argument in arguments)
    return given if plain else None


def _tee(_arguments: Sequence[str], given: Output) -> Output:
    return given


def _silent(_arguments: Sequence[str], _given: Output) -> Output:
    return ("",)


def _base64(arguments: Sequence[str], given: Output) -> Output:
    decoding = any(
        argument.startswith("--d") or (argument[:1] == "-" and set(argument[1:]) & {"d", "D"})
        for argument in arguments
    )
    files = [a for a in arguments if not a.startswith("-") and not a.isdigit() and a != "base64"]
    if not decoding or any(name != "/dev/stdin" for name in files):
        return None
    return _each(given, decode_base64)


def _openssl(arguments: Sequence[str], given: Output) -> Output:
    words = set(arguments)
    known = {"base64", "enc", "-base64", "-a", "-A", "-d"}
    return _each(given, decode_base64) if "-d" in words and words <= known else None


def decode_base64(text: str) -> str | None:
    """Return the text that *text* spells in Base64, up to where it stops being any."""
    packed = "".join(text.split())
    bare = packed.rstrip("=")
    if not _BASE64.issuperset(bare):
        return None
    bare = bare.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        return None
    return data.decode("utf-8", "replace")


def _xxd(arguments: Sequence[str], given: Output) -> Output:
    letters = set("".join(a[1:] for a in arguments if a.startswith("-")))
    return _each(given, _decode_hex) if letters >= {"r", "p"} else None


def _decode_hex(text: str) -> str | None:
    try:
        return bytes.fromhex("".join(text.split())).decode("utf-8", "replace")
    except ValueError:
        return None


def _rev(arguments: Sequence[str], given: Output) -> Output:
    if arguments:
        return None
    return _each(given, lambda text: "\n".join(line[::-1] for line in text.split("\n")))


def _tr(arguments: Sequence[str], given: Output) -> Output:
    if len(arguments) != 2:
        return None
    if arguments[0] == "-d":
        removed = _set_of(arguments[1])
        if not removed:
            return None
        return _each(given, lambda text: text.translate(dict.fromkeys(map(ord, removed))))
    old, new = _set_of(arguments[0]), _set_of(arguments[1])
    if not old or not new:
        return None
    new += new[-1] * max(0, len(old) - len(new))
    return _each(given, lambda text: text.translate(str.maketrans(old, new[: len(old)])))


def _set_of(text: str) -> str:
    """Return the characters of a set of ``tr``, empty where it is no plain one."""
    if len(text) > 256 or "[" in text or not text.isascii():
        return ""
    text = decode_escapes(text, "quote")
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            out.extend(map(chr, range(ord(text[at]), ord(text[at + 2]) + 1)))
            at += 3
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _each(given: Output, change: Callable[[str], str | None]) -> Output:
    if given is None:
        return None
    texts = [change(text) for text in given]
    known = [text for text in texts if text is not None]
    return tuple(known) if len(known) == len(texts) else None


_PRINTERS: Final[dict[str, Callable[[Sequence[str], Output], Output]]] = {
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "tee": _tee,
    "base64": _base64,
    "openssl": _openssl,
    "xxd": _xxd,
    "rev": _rev,
    "tr": _tr,
    **dict.fromkeys(("true", ":", "false", "cd", "export", "set", "unset", "local", "declare",
                     "alias", "shift", "sleep", "read", "typeset", "readonly", "trap"), _silent),
}  # fmt: skip
