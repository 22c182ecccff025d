"""How values were stored before that held nothing: most headers come with every request."""

from __future__ import annotations

from collections.abc import Callable

_MOST = 4096
_LONGEST = 1024


class Memo:
    """The stored forms of names with values, for as long as the same rules count.

    *book* gives what counts. The values themselves are not kept, only
    hashes with the key of this process.
    """

    def __init__(self, book: Callable[[], object]) -> None:
        self._book, self._last = book, book()
        self._stored: dict[int, str] = {}

    def get(self, name: str, value: str) -> str | None:
        """Return how *value* was stored, None where it has to be looked at."""
        if (book := self._book()) is not self._last:
            self._last = book
            self._stored.clear()
        return self._stored.get(hash((name, value)))

    def put(self, name: str, value: str, stored: str) -> None:
        """Remember how *value* was stored."""
        if len(value) > _LONGEST:
            return
        if len(self._stored) >= _MOST:
            self._stored.clear()
        self._stored[hash((name, value))] = stored
