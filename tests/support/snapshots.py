"""Screens as text files that a person can review: what stands there, then how it is drawn.

A file holds the rows of the screen between bars, a blank line, and for each row the runs of its
styles as ``column+width style``. ``pytest tests/tui --snapshot-update`` writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.segment import Segment
    from textual.app import App
    from textual.strip import Strip

FOLDER = Path(__file__).parents[1] / "tui" / "snapshots"


def picture(app: App[None]) -> str:
    """Return the screen of *app* as text."""
    strips = app.screen._compositor.render_strips(app.size)
    grid = [f"|{strip.text}|" for strip in strips]
    styles = [f"{row:>3} {_runs(strip)}" for row, strip in enumerate(strips)]
    return "\n".join([*grid, "", *styles]) + "\n"


def check(name: str, got: str, *, update: bool) -> None:
    """Compare *got* with the file of that name, or write it."""
    file = FOLDER / f"{name}.txt"
    if update:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(got, encoding="utf-8", newline="\n")
        return
    assert file.exists(), f"no {file.name} yet: run pytest tests/tui --snapshot-update"
    kept = file.read_text(encoding="utf-8")
    changed = [
        f"{number}: {old!r} is now {new!r}"
        for number, (old, new) in enumerate(
            zip(kept.split("\n"), got.split("\n"), strict=False), start=1
        )
        if old != new
    ]
    told = "\n".join(changed[:10])
    assert kept == got, f"{file.name} changed; see it, then --snapshot-update:\n{told}"


def _runs(strip: Strip) -> str:
    runs: list[tuple[int, int, str]] = []
    at = 0
    for segment in strip:
        style = _style(segment)
        if runs and runs[-1][2] == style:
            start, width, _ = runs.pop()
            runs.append((start, width + segment.cell_length, style))
        else:
            runs.append((at, segment.cell_length, style))
        at += segment.cell_length
    return " ".join(f"{start}+{width} {style}" for start, width, style in runs)


def _style(segment: Segment) -> str:
    style = segment.style
    if style is None:
        return "-"
    marks = [name for name in ("bold", "dim", "reverse", "underline") if getattr(style, name)]
    colours = [colour.name for colour in (style.color, style.bgcolor) if colour is not None]
    return ",".join([*marks, *colours]) or "-"
