"""Decisions joined with what became of them: who answered, and how the exchange ended."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mitmgate.query.filters import Filters
from mitmgate.query.records import Damage, Record

WINDOW = 5_000


@dataclass(slots=True)
class Entry:
    """A decision with its resolution and its exchange's completion, where they are known."""

    decision: Record
    resolution: Record | None = None
    completion: Record | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come for it."""
        return self.completion is not None


def join(
    records: Iterable[Record | Damage],
    filters: Filters,
    damaged: Callable[[Damage], None],
    *,
    window: int = WINDOW,
) -> Iterator[Entry]:
    """Yield the decisions that match, in order; at most *window* wait for what became of them."""
    waiting: OrderedDict[str, Entry] = OrderedDict()
    exchanges: dict[str, list[Entry]] = {}

    def leave() -> Entry:
        _, entry = waiting.popitem(last=False)
        siblings = exchanges[entry.decision["exchange"]]
        siblings.remove(entry)
        if not siblings:
            del exchanges[entry.decision["exchange"]]
        return entry

    for record in records:
        if isinstance(record, Damage):
            damaged(record)
        elif record["type"] == "decision":
            if filters.match(record):
                while record["id"] in waiting:
                    yield leave()
                entry = waiting[record["id"]] = Entry(record)
                exchanges.setdefault(record["exchange"], []).append(entry)
        else:
            _attach(record, waiting, exchanges)
        while waiting and (len(waiting) > window or next(iter(waiting.values())).settled):
            yield leave()
    while waiting:
        yield leave()


def last(entries: Iterable[Entry], count: int) -> list[Entry]:
    """Return the last *count* of *entries*."""
    return list(deque(entries, maxlen=count))


def _attach(
    record: Record, waiting: OrderedDict[str, Entry], exchanges: dict[str, list[Entry]]
) -> None:
    if record["type"] == "resolution":
        entry = waiting.get(str(record.get("id")))
        if entry is not None:
            entry.resolution = record
    elif record["type"] == "completion":
        for entry in exchanges.get(str(record.get("exchange")), ()):
            entry.completion = record
