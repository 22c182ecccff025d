"""What operators said of calls to come, taken from a capture into a replay."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from mitmgate.hold.grants import GrantsFullError, NotCoveredError, Said
from mitmgate.hold.target import Target
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.state import Memory
from mitmgate.replay.entries import GrantLine, UndoLine


class Answers:
    """Gives a judge's *memory* the answers of a capture; each is known by its number when live."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._questions: list[str] = []
        self._ids: dict[str, str] = {}
        self._counts = {"g": 0, "t": 0}

    def asked(self, outcome: Outcome) -> None:
        """Count the question of *outcome*, which a person answered."""
        if outcome.question is not None:
            self._questions.append(outcome.question)

    def remember(self, target: Target, outcome: Outcome, line: GrantLine) -> None:
        """Take in what was said of *target*; what does not fit it by now is left out."""
        told, memory = line.told, self._memory
        number = self.count(line)
        if told.scope is None:
            if target.call is not None:
                ticket = memory.tickets.mint(target.agent, target.call, now=line.at,
                                             good_for=told.seconds)  # fmt: skip
                self._ids[number] = ticket.id
            return
        scope, until = told.scope, None if told.seconds is None else line.at + told.seconds
        if told.seconds is None:
            scope = replace(scope, session=target.session)
        said = Said(told.answer, scope, outcome.id, until=until)
        with suppress(GrantsFullError, NotCoveredError):
            self._ids[number] = memory.grants.add(target, said, now=line.at).id

    def count(self, line: GrantLine) -> str:
        """Return the number that the answer on *line* had when it was given."""
        kind = "t" if line.told.scope is None else "g"
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def undo(self, line: UndoLine) -> None:
        """Take an answer back."""
        match line.kind:
            case "grant":
                self._memory.grants.revoke(self._ids.get(line.number, ""))
            case "ticket":
                self._memory.tickets.revoke(self._ids.get(line.number, ""))
            case "question":
                place = line.number.removeprefix("q")
                index = int(place) - 1 if place.isascii() and place.isdigit() else -1
                if 0 <= index < len(self._questions):
                    self._memory.forget(self._questions[index])
            case _:
                pass
