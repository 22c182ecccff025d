"""The newest rows, by number and by id, each in constant time."""

from __future__ import annotations

from collections.abc import Iterator

from mitmgate_tui.entry import Entry


class Ring:
    """At most *capacity* entries; the oldest leaves when one too many comes.

    Numbers (``Entry.seq``) count up for ever: ``first`` is the oldest kept, ``end`` the next.
    """

    __slots__ = ("_by_id", "_slots", "capacity", "end")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.end = 0
        self._slots: list[Entry] = []
        self._by_id: dict[str, Entry] = {}

    @property
    def first(self) -> int:
        """The number of the oldest entry kept."""
        return self.end - len(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._by_id

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries, oldest first."""
        return (self.numbered(seq) for seq in range(self.first, self.end))

    def get(self, row_id: str) -> Entry | None:
        """Return the entry of that row, if it is kept."""
        return self._by_id.get(row_id)

    def numbered(self, seq: int) -> Entry:
        """Return the entry with that number, which must be kept."""
        return self._slots[seq % self.capacity]

    def at(self, index: int) -> Entry:
        """Return the entry that is *index* places behind the oldest."""
        return self.numbered(self.first + index)

    def index(self, entry: Entry) -> int | None:
        """Return where *entry* is now, None if it has left."""
        index = entry.seq - self.first
        return index if 0 <= index < len(self._slots) else None

    def append(self, entry: Entry) -> Entry | None:
        """Take *entry* in and number it; return the one that had to leave."""
        entry.seq = self.end
        left = None
        if len(self._slots) < self.capacity:
            self._slots.append(entry)
        else:
            left = self._slots[self.end % self.capacity]
            self._slots[self.end % self.capacity] = entry
            if self._by_id.get(left.id) is left:
                del self._by_id[left.id]
        self._by_id[entry.id] = entry
        self.end += 1
        return left
