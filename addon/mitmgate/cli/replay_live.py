"""What ``replay --live`` does and tells: the client's side again, to a recorded server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from mitmgate.policy.source import PolicySource
    from mitmgate.serve.live import Live

_SHOWN = 40


def play(
    paths: Sequence[Path] | Mapping[Path, Path], source: PolicySource, *, as_json: bool
) -> int:
    """Play the captures, print what differs, and return the exit code: 0, 1 or 3.

    The values of a mapping are what its captures were made of, and are named in their place.
    With *as_json* that is one line, an object with the key ``live``.
    """
    from mitmgate.record.lines import encode_line
    from mitmgate.serve.live import live_files

    live = live_files(paths, source)
    if as_json:
        typer.echo(encode_line({"live": live_report(live)}), nl=False)
    else:
        for line in live_text(live):
            typer.echo(line)
    return live.exit_code


def live_text(live: Live) -> Iterator[str]:
    """Yield the lines of the readable report."""
    from mitmgate.record.lines import printable
    from mitmgate.replay.report import shown_path

    yield (
        f"live: exchanges played: {live.played}; differences on the sockets: {live.different}, "
        f"weaker: {live.lowered}"
    )
    for why, count in live.skipped.most_common():
        yield f"live: not played: {count}, {why}"
    for odd in live.odd[:_SHOWN]:
        mark = "WEAKER" if odd.weaker else "      "
        place = f":{odd.line}" if odd.line else f", exchange {odd.exchange}"
        yield f"{mark} {printable(odd.what)}  ({printable(shown_path(odd.file))}{place})"
    if live.different > _SHOWN:
        yield f"       and {live.different - _SHOWN} more; --json lists a thousand"


def live_report(live: Live) -> dict[str, Any]:
    """Return the report as one JSON object."""
    return {
        "exit": live.exit_code,
        "played": live.played,
        "skipped": dict(live.skipped),
        "different": live.different,
        "weaker": live.lowered,
        "differences": [
            {"file": str(odd.file), "line": odd.line, "exchange": odd.exchange, "what": odd.what,
             "weaker": odd.weaker}
            for odd in live.odd
        ],
    }  # fmt: skip
