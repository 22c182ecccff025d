"""What is sent: calls, results and events of exactly so many bytes, in several variants.

The text is ordinary prose from a fixed seed. Variants differ, so that no cache of texts answers
for a scan, and every run sends the same bytes.
"""

from __future__ import annotations

import random
from functools import cache

SIZES = {"0.2 KB": 200, "2 KB": 2_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000}
NAME = "mcp.bench.example"
WORDS = """
a about after again all almost along also and any around as at autumn away back basket be bed
been before bench bird both bread by carrot clay cloud cold come cool corner could day dish dry
each early earth edge evening every far few field fine first flower for found from fruit full
garden gate give glass good grass green ground grow had half hand harvest has hedge high hill
home house in is it its kept kind ladder large late leaf leave less light little long low made
many march may meadow more morning most much near new next no north not of often old on once one
only open or orchard other our out over path plant pond pot quiet rain red rest river rose row
seed shade shed side small soft soil some soon south spring stone summer sun table tall than
that the their then there these they this time to tree two under until up very wall warm was
water week well were west when where which while white wide wind window winter with wood work
year yellow yet
""".split()  # noqa: SIM905 - a list of them would fill two screens


@cache
def prose(size: int, seed: int = 0) -> str:
    """Return *size* letters of sentences; nothing in them needs an escape in JSON."""
    if size > 1_000_000:
        return (prose(1_000_000, seed) * (size // 1_000_000 + 1))[:size]
    draw = random.Random(seed)
    sentences: list[str] = []
    length = 0
    while length <= size:
        words = draw.choices(WORDS, k=draw.randrange(6, 14))
        sentences.append(" ".join(words).capitalize() + ".")
        length += len(sentences[-1]) + 1
    return " ".join(sentences)[:size]


def variants(size: int) -> int:
    """Return how many variants there are of a message of *size* bytes."""
    return 16 if size <= 10_000 else 4


def call(size: int, seed: int = 0) -> bytes:
    """Return a ``tools/call`` of *size* bytes, at least 120."""
    head = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_note",'
        b'"arguments":{"text":"'
    )
    return _filled(head, b'"}}}', size, seed)


def result(size: int, seed: int = 0) -> bytes:
    """Return the result of :func:`call`, of *size* bytes, at least 80."""
    head = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"'
    return _filled(head, b'"}]}}', size, seed)


def events(size: int, seed: int = 0) -> bytes:
    """Return a stream of *size* bytes: notifications of progress, then the result as an event.

    Half of a long stream is progress, in events of about 1 KB.
    """
    pieces = []
    left = size
    if size >= 10_000:
        while left > size // 2:
            pieces.append(progress(1_000, seed + len(pieces)))
            left -= len(pieces[-1])
    wrap = b"event: message\ndata: %s\n\n"
    pieces.append(wrap % result(left - len(wrap) + 2, seed))
    return b"".join(pieces)


def progress(size: int, seed: int = 0) -> bytes:
    """Return an event of *size* bytes that tells of progress, at least 150."""
    head = (
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":'
        b'{"level":"info","data":"'
    )
    return _filled(head, b'"}}\n\n', size, seed % 32)


def tiny(count: int) -> bytes:
    """Return *count* events, each as small as a message can be."""
    return b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n' * count


def zstd_bomb(size: int) -> bytes:
    """Return a Zstandard frame (RFC 8878) of *size* zeros: four bytes for each 128 KiB of them."""
    block = 128 * 1024
    run = (0 | 1 << 1 | block << 3).to_bytes(3, "little") + b"\0"  # an RLE block, not the last
    last = (1 | 1 << 1 | block << 3).to_bytes(3, "little") + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x38"  # magic, no checksum or size, 128 KiB window
    return frame + run * (size // block - 1) + last


def _filled(head: bytes, tail: bytes, size: int, seed: int) -> bytes:
    return head + prose(max(0, size - len(head) - len(tail)), seed).encode() + tail
