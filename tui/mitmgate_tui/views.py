"""Which rows the live view shows, and in which order: a view on the ring that costs no copies.

Unfiltered it is the ring itself. A filtered view is extended by new rows only, and rebuilt in
slices, from the newest row back: what is in sight comes first. A view that is paused stands still;
only then it can be sorted by something else than arrival.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from mitmgate_tui.entry import Entry
from mitmgate_tui.ring import Ring

SLICE = 2_000

type Keep = Callable[[Entry], bool]
type SortKey = Callable[[Entry], Any]


class Rows(Protocol):
    """What a list of rows is drawn from."""

    def __len__(self) -> int: ...

    def at(self, index: int) -> Entry:
        """Return the row on that line."""

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not among the rows."""


class Listed:
    """A few rows in a list: what waits."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def at(self, index: int) -> Entry:
        """Return the row on that line."""
        return self.entries[index]

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not among the rows."""
        return next((at for at, other in enumerate(self.entries) if other is entry), None)


class Picked:
    """Entries in the order of arrival that grow and shrink at both ends in constant time."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._old: list[Entry] = []  # from its end: the oldest is last
        self._new: list[Entry] = []

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def at(self, index: int) -> Entry:
        """Return the entry *index* places behind the oldest."""
        old = len(self._old)
        return self._old[old - 1 - index] if index < old else self._new[index - old]

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not among the rows."""
        place = self.place(entry.seq)
        return place if place < len(self) and self.at(place) is entry else None

    def place(self, seq: int) -> int:
        """Return how many entries came before the one numbered *seq*."""
        return bisect_left(_Numbers(self), seq)

    def prepend(self, entry: Entry) -> None:
        """Add one that is older than all."""
        self._old.append(entry)

    def append(self, entry: Entry) -> None:
        """Add one that is newer than all."""
        self._new.append(entry)

    def insert(self, index: int, entry: Entry) -> None:
        """Add one in between."""
        old = len(self._old)
        if index < old:
            self._old.insert(old - index, entry)
        else:
            self._new.insert(index - old, entry)

    def drop(self, index: int) -> None:
        """Take one out."""
        if not self._old:
            self._old, self._new = self._new[::-1], []
        old = len(self._old)
        if index < old:
            del self._old[old - 1 - index]
        else:
            del self._new[index - old]


class _Numbers:
    """The numbers of entries, as something that bisect can search."""

    def __init__(self, picked: Picked) -> None:
        self._picked = picked

    def __len__(self) -> int:
        return len(self._picked)

    def __getitem__(self, index: int) -> int:
        return self._picked.at(index).seq


class _Still:
    """A stretch of the ring, kept although the ring goes on."""

    __slots__ = ("_entries", "end", "first")

    def __init__(self, ring: Ring) -> None:
        self._entries = list(ring)
        self.first, self.end = ring.first, ring.end

    def __len__(self) -> int:
        return len(self._entries)

    def numbered(self, seq: int) -> Entry:
        """Return the entry with that number."""
        return self._entries[seq - self.first]

    def at(self, index: int) -> Entry:
        """Return the row on that line."""
        return self._entries[index]

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not among the rows."""
        return entry.seq - self.first if self.first <= entry.seq < self.end else None


class _Sorted:
    """Rows by some key; the work is done in slices, until then there is none."""

    def __init__(self, rows: Rows, key: SortKey, *, reverse: bool) -> None:
        self._sorted: list[Entry] = []
        self._lines: dict[int, int] = {}
        self.ready = False
        self._job = self._work(rows, key, reverse=reverse)

    def step(self) -> None:
        """Do one slice of the work."""
        self.ready = next(self._job, None) is None

    def _work(self, rows: Rows, key: SortKey, *, reverse: bool) -> Iterator[int]:
        runs = []
        for start in range(0, len(rows), SLICE):
            part = [rows.at(i) for i in range(start, min(start + SLICE, len(rows)))]
            runs.append(sorted(part, key=key, reverse=reverse))
            yield start
        merged = heapq.merge(*runs, key=key, reverse=reverse)
        while part := list(islice(merged, SLICE)):
            for entry in part:
                self._lines[entry.seq] = len(self._sorted)
                self._sorted.append(entry)
            yield len(self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)

    def at(self, index: int) -> Entry:
        """Return the row on that line."""
        return self._sorted[index]

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not among the rows."""
        return self._lines.get(entry.seq)


class Feed:
    """The rows of the live view. The board tells it of every entry that came, changed or left."""

    def __init__(self, ring: Ring) -> None:
        self.version = 0
        """Counts what the operator asked of the view, and the slices of work done for it."""
        self._ring = ring
        self._keep: Keep | None = None
        self._picked: Picked | None = None
        self._todo = 0  # the number below which no entry was looked at yet
        self._still: _Still | None = None
        self._held: Entry | None = None
        self._sort: tuple[SortKey, bool] | None = None
        self._sorted: _Sorted | None = None

    # What is shown

    def __len__(self) -> int:
        return len(self._rows)

    def at(self, index: int) -> Entry:
        """Return the row on that line."""
        return self._rows.at(index)

    def index(self, entry: Entry) -> int | None:
        """Return the line of *entry*, None if it is not shown."""
        return self._rows.index(entry)

    @property
    def paused(self) -> bool:
        """Whether the view stands still."""
        return self._still is not None

    @property
    def arrived(self) -> int:
        """How many rows came since the view stands still."""
        return 0 if self._still is None else self._ring.end - self._still.end

    @property
    def busy(self) -> bool:
        """Whether :meth:`step` has something left to do."""
        return self._unread or (self._sort is not None and not self._ordered)

    # What the board tells

    def added(self, entry: Entry) -> None:
        """Show a new entry, unless it is not wanted now."""
        if self._picked is not None and self._still is None and self._wants(entry):
            self._picked.append(entry)

    def changed(self, entry: Entry) -> None:
        """Look again at an entry that something joined; the one under the cursor stays."""
        picked = self._picked
        if picked is None or self._sort is not None or not self._todo <= entry.seq < self._base.end:
            return
        place, wanted = picked.index(entry), self._wants(entry)
        if wanted and place is None:
            picked.insert(picked.place(entry.seq), entry)
        elif place is not None and not wanted and entry is not self._held:
            picked.drop(place)

    def left(self, entry: Entry) -> None:
        """Let go of the oldest entry; a view that stands still keeps it."""
        picked = self._picked
        if picked is not None and self._still is None and len(picked) and picked.at(0) is entry:
            picked.drop(0)

    # What the operator wants

    def hold(self, entry: Entry | None) -> None:
        """Keep *entry* on its line whatever becomes of it, until another is held."""
        before, self._held = self._held, entry
        if before is not None and before is not entry:
            self.changed(before)

    def pick(self, keep: Keep | None) -> None:
        """Show only what *keep* wants; the work is done by :meth:`step`."""
        self._keep = keep
        self.version += 1
        self._begin()

    def pause(self) -> None:
        """Stand still."""
        if self._still is None:
            self._still = _Still(self._ring)
            self.version += 1

    def resume(self) -> None:
        """Go on, in the order of arrival."""
        if self._still is not None:
            self._still = self._sort = None
            self.version += 1
            self._begin()

    def sort(self, key: SortKey | None, *, reverse: bool = False) -> None:
        """Order the rows by *key*, None: as they came. It pauses: else they would change places."""
        if key is not None:
            self.pause()
        self.version += 1
        self._sort = None if key is None else (key, reverse)
        self._sorted = None

    def step(self, count: int = SLICE) -> bool:
        """Look at the next *count* rows; return whether there are more."""
        self.version += 1
        if self._picked is not None and self._unread:
            base = self._base
            until = max(base.first, self._todo - count)
            for seq in range(self._todo - 1, until - 1, -1):
                entry = base.numbered(seq)
                if self._wants(entry):
                    self._picked.prepend(entry)
            self._todo = until
        elif self._sort is not None and not self._ordered:
            if self._sorted is None:
                self._sorted = _Sorted(self._arrival, self._sort[0], reverse=self._sort[1])
            self._sorted.step()
        return self.busy

    # The machinery below

    @property
    def _rows(self) -> Rows:
        return self._sorted if self._sorted is not None and self._sorted.ready else self._arrival

    @property
    def _arrival(self) -> Picked | Ring | _Still:
        return self._base if self._picked is None else self._picked

    @property
    def _base(self) -> Ring | _Still:
        return self._ring if self._still is None else self._still

    @property
    def _unread(self) -> bool:
        return self._picked is not None and self._todo > self._base.first

    @property
    def _ordered(self) -> bool:
        return self._sorted is not None and self._sorted.ready

    def _wants(self, entry: Entry) -> bool:
        return self._keep is None or self._keep(entry)

    def _begin(self) -> None:
        self._sorted = None
        self._picked = None if self._keep is None else Picked()
        self._todo = self._base.end
