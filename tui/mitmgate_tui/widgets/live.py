"""The live pane: every decision as a line, newest last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from mitmgate_tui.board import Entry
from mitmgate_tui.signs import sign_of, what, whom, why
from mitmgate_tui.text import clean, fit
from mitmgate_tui.widgets.rows import Part, RowList


class Live(RowList):
    """Follows the newest row until a row is selected or the view is scrolled back."""

    only_notable = False

    @property
    def following(self) -> bool:
        """Whether new rows scroll the view."""
        return self.selected is None and self.scroll_y >= self.max_scroll_y

    def show(self, entries: Sequence[Entry]) -> None:
        """Take over the rows, less those that the filter hides."""
        chosen = [entry for entry in entries if entry.notable] if self.only_notable else entries
        super().show(chosen)
        self._retitle()

    def action_edge(self, last: bool) -> None:
        """Select the first row, or let go and follow the newest."""
        super().action_edge(last)
        if last:
            self.let_go()

    def let_go(self) -> None:
        """Drop the selection and follow the newest row again."""
        self.select(None)
        self.jump(self.max_scroll_y)
        self._retitle()

    def on_resize(self) -> None:
        """Stay at the newest row when the pane shrinks."""
        if self.selected is None:
            self.call_after_refresh(self.let_go)

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Draw time, sign and word, who, where, what, rule, latency; less where it is narrow."""
        row, sign = entry.row, sign_of(entry)
        plain = "plain" if entry.notable else "faint"
        before: list[Part] = [
            (self.clock.hms(row.time) + " ", "faint"),
            (fit(str(sign), 10) + " ", sign.style),
        ]
        if width >= 78:
            before.append((fit(clean(row.agent), 10) + " ", plain))
        if row.channel == "mcp":
            before.append((fit(whom(row), 8) + " ", plain))
        after: list[Part] = [(" " + fit(why(entry), 14), "faint")] if width >= 58 else []
        if width >= 66:
            after.append((f" {_latency(entry):>6}", "faint"))
        room = width - sum(cell_len(text) for text, _ in (*before, *after))
        return [*before, (fit(what(row), max(room, 8)), "plain"), *after]

    def _retitle(self) -> None:
        parts = ["Live"]
        if self.only_notable:
            parts.append("only not allowed")
        if self.following:
            parts.append("following")
        self.border_title = " · ".join(parts)


def _latency(entry: Entry) -> str:
    done = entry.done
    if done is None or entry.row.kind != "request":
        return ""
    if done.latency < 1:
        return f"{done.latency * 1000:.0f} ms"
    return f"{done.latency:.1f} s" if done.latency < 100 else f"{done.latency:.0f} s"
