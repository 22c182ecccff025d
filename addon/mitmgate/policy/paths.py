"""Whether a path lies within a folder, read as text: no file system is asked.

``.``, ``..`` and ``//`` are resolved as text. Links are not followed: a link inside of the folder
may lead out of it. Whatever a server may read in a second way (a backslash on a POSIX system,
letter case, ``~``, ``$HOME``, a path relative to nobody knows what) is ``UNSURE``, unless both
ways end in the same answer.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import re2

from mitmgate.policy.truth import Truth, agreed, any_of
from mitmgate.wire.strictjson import fold_key

MAX_PATH = 32_768
"""Characters of a path; the longest that an operating system opens has 32,767 (Windows)."""

# What shells, template engines and servers that take a path for a URL put something else for,
# or that makes two paths of one: $HOME ${HOME} $(pwd) `pwd` %TEMP% {a,../b}, encoded dots and
# slashes, NUL, line ends and other control characters.
_EXPANDED = re2.compile(
    r"\$[A-Za-z0-9_({@*!?#-]|`|%[^%/\\]+%|\{[^}]*(?:,|\.\.)|(?i:%(?:2e|2f|5c|25|00))"
    r"|[\x00-\x1f\x7f]"
)
# Folders of links that each process finds its own way through.
_OWN_LINKS: Final = (("proc",), ("dev", "fd"))
_SHORT_NAME = re2.compile(r"~[0-9]")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Place:
    """An absolute path: its drive (a small letter, empty without one) and its names.

    With a drive the names are in lower case as far as they are ASCII, for Windows ignores it.
    ``share`` says that Windows takes the first name for a machine, as in ``//machine/share``.
    """

    drive: str
    names: tuple[str, ...]
    share: bool = False


@dataclass(frozen=True, slots=True)
class _Folder:
    place: Place
    folded: tuple[str, ...]

    def holds(self, place: Place) -> Truth:
        ours, top = self.place, place.names[: len(self.folded)]
        if ours.drive == place.drive and top == ours.names:
            return Truth.YES
        if ours.drive and place.drive and ours.drive != place.drive:
            return Truth.NO
        if ours.drive and place.share:
            return Truth.UNSURE  # //localhost/c$ is C:
        if tuple(map(fold_key, top)) == self.folded:
            # Whether case and Unicode form count depends on the disk, and whether a path without
            # a drive is on this drive depends on the server.
            return Truth.UNSURE
        plain = not ours.drive and not place.drive
        return Truth.UNSURE if plain and _is_own_link(place.names) else Truth.NO


def _is_own_link(names: tuple[str, ...]) -> bool:
    return any(names[: len(own)] == own for own in _OWN_LINKS)


@dataclass(frozen=True, slots=True)
class Folders:
    """Several folders as one test."""

    folders: tuple[_Folder, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Folders:
        """Return the test of the absolute paths *texts*; ValueError as ``parse_folder``."""
        places = map(parse_folder, texts)
        return cls(tuple(_Folder(place, tuple(map(fold_key, place.names))) for place in places))

    def hold(self, text: str) -> Truth:
        """Say whether the path *text* is one of the folders, or lies within one."""
        readings = _readings(text)
        if readings is None:
            return Truth.UNSURE
        return agreed(self._hold_place(place) for place in readings)

    def _hold_place(self, place: Place) -> Truth:
        return any_of(folder.holds(place) for folder in self.folders)


def parse_folder(text: str) -> Place:
    """Return the folder that *text* spells, or raise ValueError saying how to write it."""
    if "*" in text or "?" in text:
        raise ValueError("a folder has no wildcards: all that lies below it is meant; use glob "
                         "or pattern for others")  # fmt: skip
    readings = _readings(text)
    if readings is None or text[:5].lower() == "file:":
        raise ValueError(
            "a folder is written as a plain absolute path, as in /workspace or C:/work"
        )
    if len(set(readings)) != 1:
        raise ValueError("a folder is written with / and without spaces at its ends")
    if ".." in text.replace("\\", "/").split("/"):
        raise ValueError("a folder is written without ..")
    return readings[0]


def _readings(text: str) -> list[Place] | None:
    """Return the absolute paths that *text* may mean, or None where nobody can tell."""
    if len(text) > MAX_PATH:
        return None
    if text[:5].lower() == "file:":
        inner = _file_url_path(text[5:])
        if inner is None:
            return None
        text = inner
    if _EXPANDED.search(text.encode("utf-8", "replace")) is not None:
        return None
    if _is_drive_path(text):
        return _one(_windows_place(text))
    # Some servers strip a path, and some take a backslash for a slash.
    spellings = {text, text.strip()}
    spellings |= {spelling.replace("\\", "/") for spelling in spellings}
    places = [_posix_place(spelling) for spelling in sorted(spellings)]
    known = [place for place in places if place is not None]
    return known if len(known) == len(places) else None


def _one(place: Place | None) -> list[Place] | None:
    return None if place is None else [place]


def _posix_place(text: str) -> Place | None:
    if not text.startswith("/"):
        return None  # relative, ~ or a share of Windows
    names = text.split("/")
    if any(name.startswith("~") for name in names):
        return None
    return Place("", _resolved(names), share=text.startswith("//"))


def _is_drive_path(text: str) -> bool:
    bare = text.strip()
    for prefix in ("\\\\?\\", "\\\\.\\", "//?/", "//./"):
        bare = bare.removeprefix(prefix)
    letter = bare[:1]
    return bare[1:2] == ":" and letter.isascii() and letter.isalpha()


def _windows_place(text: str) -> Place | None:
    if text[:1] in "\\/ " or text != text.strip() or text[2:3] not in ("/", "\\"):
        return None  # a device path, or one relative to the drive's own folder
    names: list[str] = []
    for name in text[3:].replace("\\", "/").split("/"):
        bare = name if name in (".", "..") else name.rstrip(" .")
        # Windows cuts dots and spaces at the end of a name, and PROGRA~1 is Program Files.
        if bare != name and not bare:
            return None
        if _SHORT_NAME.search(bare.encode("utf-8", "replace")) is not None:
            return None
        names.append(bare.translate(_LOWER))
    return Place(text[0].lower(), _resolved(names))


def _resolved(names: Iterable[str]) -> tuple[str, ...]:
    """Return *names* below the root without ``.`` and ``..``; above the root is the root."""
    kept: list[str] = []
    for name in names:
        if name == "..":
            del kept[-1:]
        elif name not in ("", "."):
            kept.append(name)
    return tuple(kept)


def _file_url_path(rest: str) -> str | None:
    """Return the path in ``file:`` and *rest* (RFC 8089), or None where readers differ."""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            return None  # a share on another machine
        rest = slash + path
    if any(char in rest for char in "?#\\"):
        return None
    plain = _unescaped(rest)
    if plain is None or not plain.startswith("/"):
        return None
    # file:///C:/work is C:/work, to all but the readers of POSIX systems.
    return plain[1:] if _is_drive_path(plain[1:]) else plain


def _unescaped(text: str) -> str | None:
    first, *others = text.encode("utf-8", "replace").split(b"%")
    pieces = [first]
    for piece in others:
        digits = piece[:2].decode("latin-1")
        # An encoded slash is a slash to some readers and part of a name to others.
        if len(digits) < 2 or not set(digits) <= _HEX or digits.lower() in ("2f", "5c"):
            return None
        pieces.append(bytes.fromhex(digits) + piece[2:])
    try:
        return b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return None


_HEX = frozenset(string.hexdigits)
