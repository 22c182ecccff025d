"""Types for the part of google-re2 that mitmgate uses; the package ships none."""

from collections.abc import Iterator
from typing import Protocol, Self, type_check_only

class error(Exception): ...

class Options:
    max_mem: int
    log_errors: bool
    literal: bool
    case_sensitive: bool
    def __init__(self) -> None: ...

@type_check_only
class Match(Protocol):
    def span(self, group: int = 0) -> tuple[int, int]: ...

@type_check_only
class _Compiled(Protocol):
    def Match(
        self, anchor: object, text: bytes, pos: int, endpos: int
    ) -> list[tuple[int, int]]: ...

class _Anchor:
    UNANCHORED: object

@type_check_only
class Pattern(Protocol):
    _regexp: _Compiled
    @property
    def groupindex(self) -> dict[str, int]: ...
    @property
    def programsize(self) -> int: ...
    def search(
        self, text: bytes, pos: int | None = None, endpos: int | None = None
    ) -> Match | None: ...
    def finditer(
        self, text: bytes, pos: int | None = None, endpos: int | None = None
    ) -> Iterator[Match]: ...
    def sub(self, repl: str, text: str, count: int = 0) -> str: ...

class Set:
    @classmethod
    def SearchSet(cls, options: Options | None = None) -> Self: ...
    def Add(self, pattern: str | bytes) -> int: ...
    def Compile(self) -> None: ...
    def Match(self, text: bytes) -> list[int] | None: ...

def compile(pattern: str, options: Options | None = None) -> Pattern: ...
def escape(pattern: str) -> str: ...
