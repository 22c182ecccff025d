"""A row and everything that joined it, packed: a hundred thousand of them are kept.

A row as a model takes 2.8 kB, packed about a tenth of that. ``entry.row`` unpacks it, which is for
the rows in view; what goes over all rows (filters, sorting) reads single values.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from mitmgate.control.models import Completed, FindingView, Pending, Resolved, Row

_NAMES: Final = tuple(Row.model_fields)
_AT: Final = {name: at for at, name in enumerate(_NAMES)}
_IN_ORDER: Final = itemgetter(*_NAMES)
_FINDING: Final = tuple(FindingView.model_fields)
_DONE: Final = tuple(Completed.model_fields)
_LATENCY, _STATUS = _DONE.index("latency"), _DONE.index("status")
_SIZES: Final = (_DONE.index("request_bytes"), _DONE.index("response_bytes"))

MAX_POOL = 20_000


class Pool:
    """Equal values become one: rows of one agent repeat its name, endpoint and rule."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}

    def one(self, value: Any) -> Any:
        """Return the first value equal to *value*; what cannot be hashed stays as it is."""
        if len(self._values) >= MAX_POOL:
            self._values.clear()
        try:
            return self._values.setdefault(value, value)
        except TypeError:
            return value


_POOL = Pool()


class Entry:
    """A row and everything that joined it since. ``seq`` is its number in the order of arrival."""

    __slots__ = ("_done", "_values", "answer", "lost", "pending", "seq", "ticket", "until")

    def __init__(self, row: Row, seq: int = 0) -> None:
        self.seq = seq
        self.pending: Pending | None = None
        self.answer: Resolved | None = None
        self.lost = False
        """Whether the connection broke while it waited, and nothing was heard of it since."""
        self.ticket = False
        """Whether it was denied, and its agent's next try passes."""
        self.until: float | None = None
        """When its time is over, on the steady clock; None where the proxy did not say."""
        self._done: tuple[Any, ...] | None = None
        self.row = row

    @property
    def row(self) -> Row:
        """The row as a message: 10 microseconds, so once for each line drawn."""
        values = dict(zip(_NAMES, self._values, strict=True))
        values["findings"] = tuple(
            FindingView.model_construct(**dict(zip(_FINDING, finding, strict=True)))
            for finding in values["findings"]
        )
        return Row.model_construct(**values)

    @row.setter
    def row(self, row: Row) -> None:
        values: list[Any] = list(_IN_ORDER(row.__dict__))
        at = _AT["findings"]
        values[at] = tuple(tuple(vars(finding).values()) for finding in values[at])
        for index, value in enumerate(values):
            if isinstance(value, str | tuple) and index != _AT["id"]:
                values[index] = _POOL.one(value)
        self._values = tuple(values)

    def get(self, name: str) -> Any:
        """Return the row's field *name* without unpacking the rest; ``findings`` are tuples."""
        return self._values[_AT[name]]

    @property
    def done(self) -> Completed | None:
        """How the exchange ended, once it has."""
        if self._done is None:
            return None
        return Completed.model_construct(**dict(zip(_DONE, self._done, strict=True)))

    @done.setter
    def done(self, done: Completed) -> None:
        self._done = tuple(_POOL.one(v) if isinstance(v, str) else v for v in vars(done).values())

    @property
    def id(self) -> str:
        """The row's id: what a selection holds on to."""
        return str(self._values[_AT["id"]])

    @property
    def latency(self) -> float | None:
        """Seconds that the exchange took; None before its end, and for all but its request."""
        if self._done is None or self.get("kind") != "request":
            return None
        return float(self._done[_LATENCY])

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer, once there is one."""
        status: int | None = None if self._done is None else self._done[_STATUS]
        return status

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Bytes out and bytes back; None before the end, and for all but the request."""
        if self._done is None or self.get("kind") != "request":
            return None
        out, back = _SIZES
        return self._done[out], self._done[back]

    @property
    def waits(self) -> bool:
        """Whether a person can still answer it."""
        return self.pending is not None and self.answer is None

    @property
    def notable(self) -> bool:
        """Whether it is more than a plain allow."""
        plain = self.get("verdict") == "allow" and self.get("enforced") and not self.get("edits")
        return not plain
