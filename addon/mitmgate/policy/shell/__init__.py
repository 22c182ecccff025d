"""Commands as rules see them: unquoted, and split into everything that a shell may run.

``read_command`` reads the text of a command line, ``read_argv`` the words of a program that is
started without a shell. Both are pure and total; what cannot be read in one way is ``unsure``.
Nothing is run, and what a program reads from files or the network stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mitmgate.policy.shell.builtins import Place
from mitmgate.policy.shell.expand import Field
from mitmgate.policy.shell.run import Runner
from mitmgate.policy.shell.syntax import MAX_TEXT

_WINDOWS_SIGNS: Final = ("^", ":\\", "\\\\", ".exe", "cmd ", "powershell", "pwsh")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a command line may run, each command once, in order.

    A command is its words joined by spaces, its program without a directory. ``sudo rm x`` is
    there whole and as ``rm x``; a redirection is ``> TARGET`` or ``< SOURCE``. ``unsure``: there
    may be more than ``commands`` says, so a rule that denies should match, one that allows not.
    """

    commands: tuple[str, ...]
    unsure: bool


def read_command(text: str) -> Reading:
    """Return what a shell may run when it is given *text*."""
    if len(text) > MAX_TEXT or "\0" in text:
        return Reading((), unsure=True)
    runner = Runner()
    runner.read(text, Place.outermost())
    lower = text.lower()
    if any(sign in lower for sign in _WINDOWS_SIGNS):
        # Which shell the tool starts is unknown: read the text as Windows would, too.
        unsure = runner.unsure
        runner.read(text, Place.outermost(windows=True))
        runner.unsure = unsure or (runner.unsure and runner.spent)
    return Reading(tuple(runner.commands), runner.unsure)


def read_argv(words: Sequence[str]) -> Reading:
    """Return what the program ``words[0]`` may run with these arguments."""
    if sum(map(len, words)) + len(words) > MAX_TEXT or any("\0" in word for word in words):
        return Reading((), unsure=True)
    runner = Runner()
    if words:
        runner.run([Field.of(word) for word in words], Place.outermost())
    return Reading(tuple(runner.commands), runner.unsure)
