"""Server-sent events, read exactly as the WHATWG standard says, every byte kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mitmgate.errors import WireError

MAX_EVENT = 8 * 1024 * 1024
_CR, _LF = 13, 10
_BOM = b"\xef\xbb\xbf"
_PLAIN = "event: message\ndata: "
_KEEP_ALIVES = (b"\n" * 1024, b":\n\n" * 1024)
_FIELDS = frozenset({"data", "event", "id", "retry"})
# What Python's str.splitlines takes for line ends and the standard does not. JSON may hold
# the last three in strings, the others never.
_FALSE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@dataclass(frozen=True, slots=True)
class SseBlock:
    """The lines up to a blank line. ``raw`` are their exact bytes, the blank line too.

    ``data`` is None where no ``data`` line is: comments, ``retry``, keep-alives, and the LF
    of a CRLF that came later than its CR. ``id`` is None where the block sets none. ``notes``
    are the texts that no other attribute shows, in order: comments, lines of unknown fields,
    a ``retry`` that is no number, an ``event`` or ``id`` that a later line overrides.
    """

    raw: bytes
    event: str = "message"
    data: str | None = None
    id: str | None = None
    notes: tuple[str, ...] = ()
    marked: bool = field(default=False, compare=False)
    """Whether the byte order mark that may open a stream stands before the first line."""


class SseDecoder:
    """Cut a stream into blocks; all ``raw`` and ``finish()`` joined are the stream again.

    After a :class:`WireError` (``event_too_large``, ``not_utf8``, ``ambiguous_line``) the
    stream is beyond repair: feed it no more.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._line = 0  # where the current line starts
        self._search = 0  # up to here no line end was found
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[SseBlock]:
        """Take in *chunk*; yield each block it completes, up to a bad one, which raises.

        *chunk* counts as fed at once; blocks that nobody took come with the next call.
        """
        self._buffer += chunk
        return self._blocks()

    def finish(self) -> bytes:
        """Return the bytes of the last, incomplete block, which every client discards."""
        return bytes(self._buffer)

    def _blocks(self) -> Iterator[SseBlock]:
        while (raw := self._cut()) is not None:
            block = _parse(raw, at_start=self._at_start)
            self._at_start = False
            yield block
        if len(self._buffer) > self._limit:
            raise self._too_large()

    def _cut(self) -> bytes | None:
        """Take the next whole block out of the buffer."""
        buffer = self._buffer
        if buffer and not (self._search or self._at_start or b"\r" in buffer):
            # Keep-alives mean nothing, and megabytes of them pack into a few bytes: one block.
            if buffer.startswith(_KEEP_ALIVES):
                return self._take(len(_KEEP_ALIVES[buffer[0] != _LF]))
            blank_line = buffer.find(b"\n\n")
            if blank_line > 0 and buffer[0] != _LF:
                return self._take(blank_line + 2)
        while (end := self._line_end()) is not None:
            line_start, after = self._line, end + 1
            blank = end == line_start or (
                self._at_start and not line_start and buffer[:end] == _BOM
            )
            if buffer[end] == _CR and after == len(buffer):
                if not blank:
                    self._search = end
                    return None
                # The event goes out at its CR. Should an LF follow, it is one more blank
                # line to us: out at once, for the client that waits to see CRLF whole.
            elif buffer[end] == _CR and buffer[after] == _LF:
                after += 1
            self._line = self._search = after
            if blank:
                return self._take(after)
        return None

    def _line_end(self) -> int | None:
        lf = self._buffer.find(b"\n", self._search)
        cr = self._buffer.find(b"\r", self._search, len(self._buffer) if lf < 0 else lf)
        end = cr if cr >= 0 else lf
        if end < 0:
            self._search = len(self._buffer)
            return None
        return end

    def _take(self, size: int) -> bytes:
        if size > self._limit:
            raise self._too_large()
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._line = self._search = 0
        return raw

    def _too_large(self) -> WireError:
        return WireError("event_too_large", f"an event is larger than {self._limit} bytes")


def _parse(raw: bytes, *, at_start: bool) -> SseBlock:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise WireError("not_utf8", "an event is not UTF-8") from None
    if text.startswith(_PLAIN) and text.endswith("\n\n"):
        only = text[len(_PLAIN) : -2]
        if len(only.splitlines()) == 1 and not only.startswith(" "):
            return SseBlock(raw, data=only)
    return _parse_lines(raw, text, marked=at_start and raw.startswith(_BOM))


def _parse_lines(raw: bytes, text: str, *, marked: bool) -> SseBlock:
    if marked:
        text = text[1:]
    event, data, number, notes = "", [], None, []
    for line in _lines(text):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif not line:
            continue
        elif name == "event":
            notes += [event] if event else []
            event = value
        elif name == "id" and "\0" not in value:
            notes += [number] if number else []
            number = value
        elif name != "retry" or not _is_number(value):
            notes.append(value if not name else line)
    joined = "\n".join(data) if data else None
    return SseBlock(raw, event or "message", joined, number, tuple(notes), marked)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if any(end in text for end in _FALSE_ENDS):
        _refuse_false_ends(lines)
    return lines


def _refuse_false_ends(lines: list[str]) -> None:
    """Raise ``ambiguous_line`` where a client that cuts with ``str.splitlines`` reads more.

    ``: hello\u2028data: {...}`` is a comment to us and an event to it, and so is what follows a
    line that ends with U+2028: there it sees the blank line that ends an event.
    """
    hidden = False
    blank = []
    for line in lines:
        parts = line.splitlines()
        if len(parts) < 2 and not (line and line[-1] in _FALSE_ENDS):
            continue
        hidden |= line.startswith(("event", "id", "retry"))
        hidden |= any(part.partition(":")[0] in _FIELDS for part in parts[1:])
        blank += [line.partition(":")[0]] if "" in parts or line[-1] in _FALSE_ENDS else []
    names = [line.partition(":")[0] for line in lines]
    # In the one line of data it is JSON that is cut in two, and nobody can read either part.
    harmless = {*blank} == {"data"} and names.count("data") == 1
    if hidden or (blank and not (harmless or _FIELDS.isdisjoint(names))):
        raise WireError("ambiguous_line", "a line hides a field behind a false line end")


def replace_data(block: SseBlock, data: str, *, keep_id: bool) -> bytes:
    """Return *block* with *data*; its event, retry and (on demand) id lines stay.

    Its notes go: nobody asked for them.
    """
    kept = frozenset({"event", "retry", "id"} if keep_id else {"event", "retry"})
    end = _ending(block.raw)
    lines = _field_lines(block, kept)
    lines += [
        f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    ]
    return (end.join(lines) + end + end).encode()


def drop_notes(block: SseBlock) -> bytes:
    """Return *block* without its notes; one of notes alone becomes an empty comment.

    The empty comment keeps the connection alive, which is what comments are sent for.
    """
    end = _ending(block.raw)
    return (end.join(_field_lines(block, _FIELDS) or [":"]) + end + end).encode()


def _field_lines(block: SseBlock, names: frozenset[str]) -> list[str]:
    """Return the lines of *block* that set a field of *names*, each as it was written."""
    # Elsewhere in a stream a mark is part of a field's name, and makes it an unknown one.
    text = block.raw.decode()[block.marked :]
    lines: list[str] = []
    single: dict[str, int] = {}  # where the one line of a field stands that later ones override
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        if name not in names or not _counts(name, value.removeprefix(" ")):
            continue
        if name != "data" and name in single:
            lines[single[name]] = line
            continue
        single[name] = len(lines)
        lines.append(line)
    return lines


def _counts(name: str, value: str) -> bool:
    """Say whether a line of field *name* has any effect with *value*."""
    if name == "retry":
        return _is_number(value)
    return name != "id" or "\0" not in value


def drop_block(block: SseBlock) -> bytes:
    """Return what stands for a dropped *block*: its id with empty data, or nothing.

    Without the id a client that reconnects would be sent the event again.
    """
    if block.id is None:
        return b""
    end = _ending(block.raw)
    return f"id: {block.id}{end}data:{end}{end}".encode()


def _ending(raw: bytes) -> str:
    if b"\r\n" in raw:
        return "\r\n"
    return "\n" if b"\n" in raw else "\r"
