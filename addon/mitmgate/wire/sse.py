"""Server-sent events, read exactly as the WHATWG standard says, every byte kept."""

from __future__ import annotations

from dataclasses import dataclass

from mitmgate.errors import WireError

MAX_EVENT = 8 * 1024 * 1024
_CR, _LF = 13, 10
_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({"data", "event", "id", "retry"})
# What Python's str.splitlines takes for line ends and the standard does not. JSON may hold
# the last three in strings, the others never.
_FALSE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@dataclass(frozen=True, slots=True)
class SseBlock:
    """The lines up to a blank line. ``raw`` are their exact bytes, the blank line too.

    ``data`` is None where no ``data`` line is: comments, ``retry``, keep-alives, and the LF
    of a CRLF that came later than its CR. ``id`` is None where the block sets none.
    """

    raw: bytes
    event: str = "message"
    data: str | None = None
    id: str | None = None


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

    def feed(self, chunk: bytes) -> list[SseBlock]:
        """Return the blocks that *chunk* completes."""
        buffer = self._buffer
        buffer += chunk
        blocks = []
        while (raw := self._cut()) is not None:
            blocks.append(_parse(raw, at_start=self._at_start))
            self._at_start = False
        if len(buffer) > self._limit:
            raise self._too_large()
        return blocks

    def finish(self) -> bytes:
        """Return the bytes of the last, incomplete block, which every client discards."""
        return bytes(self._buffer)

    def _cut(self) -> bytes | None:
        """Take the next whole block out of the buffer."""
        buffer = self._buffer
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
    if at_start:
        text = text.removeprefix("\ufeff")
    event, data, number = "", [], None
    for line in _lines(text):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            number = value
    return SseBlock(raw, event or "message", "\n".join(data) if data else None, number)


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if any(end in text for end in _FALSE_ENDS):
        for line in lines:
            _refuse_hidden_fields(line)
    return lines


def _refuse_hidden_fields(line: str) -> None:
    # ": hello\u2028data: {...}" is a comment to us, and an event to every client that cuts
    # its stream with str.splitlines.
    if any(part.partition(":")[0] in _FIELDS for part in line.splitlines()[1:]):
        raise WireError("ambiguous_line", "a line hides a field behind a false line end")


def replace_data(block: SseBlock, data: str, *, keep_id: bool) -> bytes:
    """Return *block* with *data*; its event, retry and (on demand) id lines stay."""
    kept = {"event", "retry", "id"} if keep_id else {"event", "retry"}
    end = _ending(block.raw)
    lines = [
        line
        for line in block.raw.removeprefix(_BOM).decode().replace("\r", "\n").split("\n")
        if line.partition(":")[0] in kept
    ]
    # Comments and unknown fields go: nobody has looked at them.
    lines += [
        f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    ]
    return (end.join(lines) + end + end).encode()


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
