"""The views behind the numbers, by name."""

from __future__ import annotations

from typing import Final

from mitmgate_tui.screens.health import HealthPane
from mitmgate_tui.screens.pane import Pane
from mitmgate_tui.screens.rules import RulesPane
from mitmgate_tui.screens.servers import ServersPane

PANES: Final[dict[str, type[Pane]]] = {
    "servers": ServersPane,
    "rules": RulesPane,
    "health": HealthPane,
}
