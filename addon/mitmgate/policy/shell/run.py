"""Goes through a command line as a shell would, and notes every command on the way.

All branches are taken, loops as often as they change something, functions where they are
called; nothing is run.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from mitmgate.policy.shell.builtins import Place, do_builtin
from mitmgate.policy.shell.expand import Expander, Field
from mitmgate.policy.shell.inner import Inner, Pipe, Read, Run, inner_commands
from mitmgate.policy.shell.output import concatenated, either, printed_by
from mitmgate.policy.shell.parse import Parser
from mitmgate.policy.shell.syntax import (
    MAX_COMMANDS,
    MAX_DEPTH,
    MAX_VALUES,
    MAX_WORK,
    Assignment,
    Block,
    Budget,
    Command,
    Function,
    Output,
    Redirection,
    Script,
    Simple,
    Substitution,
)
from mitmgate.policy.shell.variables import Values, Variables

_MAX_TURNS = 4
_NOWHERE = frozenset({"/dev/null", "NUL", "nul"})
"""Where nothing can be read from and nothing is kept: no rule needs to hear of it."""


class Runner:
    """Collects ``commands``; ``unsure`` when there may be others that it could not read."""

    def __init__(self) -> None:
        self.commands: dict[str, None] = {}
        self.unsure = False
        self._reading = Budget()
        self._running = Budget()
        self._called: set[str] = set()

    @property
    def spent(self) -> bool:
        """Whether the bounds ended the reading, and not the text."""
        return (
            not (self._reading.work(0) and self._running.work(0))
            or len(self.commands) >= MAX_COMMANDS
        )

    def read(self, text: str, place: Place) -> Output:
        """Read *text* as a shell at *place* does; return what it may print."""
        if place.depth > MAX_DEPTH:
            self.unsure = True
            return None
        parser = Parser(text, self._reading, depth=place.depth, windows=place.windows)
        script = parser.script()
        self.unsure |= parser.unsure
        output = self._script(script, place)
        for name in list(place.functions):
            if name not in self._called:
                self._call(name, (None,), place)
        return output

    def run(self, fields: Sequence[Field], place: Place) -> Output:
        """Note the command of these *fields* and those inside; return what it may print."""
        if place.depth > MAX_DEPTH or not self._running.command(len(fields)):
            self.unsure = True
            return None
        self._emit(fields, place)
        self.unsure |= not fields[0].names_one_program
        output = self._program(fields, place)
        hollow = _hollow(fields)
        if hollow and hollow != list(fields):
            self.run(hollow, replace(place, depth=place.depth + 1))
        return output

    def _note(self, command: str) -> None:
        if command in self.commands or not command:
            return
        if len(self.commands) >= MAX_COMMANDS or not self._running.work(len(command)):
            self.unsure = True
            self._running.work(MAX_WORK)  # whatever follows would only be thrown away
            return
        self.commands[command] = None

    def _emit(self, fields: Sequence[Field], place: Place, before: Sequence[Field] = ()) -> None:
        head, tail = [each.text for each in before], [each.text for each in fields[1:]]
        for name in _names(fields[0], windows=place.windows):
            self._note(" ".join(filter(None, [*head, name, *tail])))

    def _script(self, script: Script, place: Place) -> Output:
        outputs: list[Output] = []
        base: Variables | None = None  # as they were before an && or || that may end the chain
        for item in script.items:
            if item.joiner != "&&" and base is not None:
                place.variables.merge(base)
                base = None
            if item.joiner and base is None:
                base = place.variables.copy()
            outputs.append(self._pipeline(item.commands, place))
        if base is not None:
            place.variables.merge(base)
        return concatenated(outputs)

    def _pipeline(self, commands: Sequence[Command], place: Place) -> Output:
        if len(commands) == 1:
            return self._command(commands[0], place)
        given, output = place.given, None
        for command in commands:
            own = replace(place, variables=place.variables.copy(), given=given)
            output = self._command(command, own)
            place.variables.merge(own.variables)  # zsh runs the last one in the shell itself
            given = Pipe(output)
        return output

    def _command(self, command: Command, place: Place) -> Output:
        match command:
            case Simple():
                return self._simple(command, place)
            case Block():
                return self._block(command, place)
            case Function():
                return self._define(command, place)
            case _:
                assert_never(command)

    def _block(self, block: Block, place: Place) -> Output:
        expander = self._expander(place)
        given = self._redirect(block.redirections, expander, place)
        fields = [each for word in block.words for each in expander.fields(word)]
        if block.name:
            values: Values = (
                tuple((each.text,) if each.is_known else None for each in fields)
                or place.variables.get("@")
                or (None,)
            )
            place.variables.assign(block.name, values)
        self.unsure |= expander.unsure
        inside = replace(place, given=given, depth=place.depth + 1)
        if block.kind == "group":
            return self._script(block.scripts[0], inside)
        if block.kind == "subshell":
            return self._script(block.scripts[0], inside.below())
        if not block.scripts:
            return ("",)
        if block.kind == "branch":
            self._branches(block.scripts, inside)
        else:
            self._loop(block.scripts, inside)
        return None

    def _loop(self, scripts: Sequence[Script], place: Place) -> None:
        """Read *scripts* until they change no variable any more, or give those up that change."""
        for turn in range(_MAX_TURNS):
            before = place.variables.copy()
            self._branches(scripts, place)
            changed = place.variables.changed_since(before)
            if not changed:
                return
            if turn == _MAX_TURNS - 2:
                for name in changed:
                    place.variables.assign(name, (None,))

    def _branches(self, scripts: Sequence[Script], place: Place) -> None:
        """Read *scripts*, the first of which runs, and any of the others may."""
        self._script(scripts[0], place)
        ends: list[Variables] = []
        for script in scripts[1:]:
            own = replace(place, variables=place.variables.copy())
            self._script(script, own)
            ends.append(own.variables)
        for end in ends:
            place.variables.merge(end)

    def _expander(self, place: Place) -> Expander:
        return Expander(place.variables, partial(self._substitute, place), self._running)

    def _substitute(self, place: Place, piece: Substitution) -> Output:
        below = place.below()
        if piece.file and piece.source.startswith(">"):
            below = replace(below, given=Pipe(None))
        return self._script(piece.script, below)

    def _simple(self, node: Simple, place: Place) -> Output:
        expander = self._expander(place)
        before = place.variables.copy() if node.assignments else None
        outputs: list[Output] = []
        ends: list[Variables] = []
        while expander.choice < expander.combinations:
            own = place if before is None else replace(place, variables=before.copy())
            expander.variables = own.variables
            outputs.append(self._once(node, expander, own))
            ends.append(own.variables)
            expander.choice += 1
            if not self._running.command(len(node.words)):
                self.unsure = True
                break
        if before is not None:
            # an assignment before a program is that program's own
            place.variables.become(ends if not node.words or node.declares else [before, *ends])
        self.unsure |= expander.unsure or place.variables.full
        return either(outputs)

    def _once(self, node: Simple, expander: Expander, place: Place) -> Output:
        fields = [each for word in node.words for each in expander.fields(word)]
        given = self._redirect(node.redirections, expander, place)
        assigned = [self._assign(each, expander, place.variables) for each in node.assignments]
        place = replace(place, given=given)
        exports = node.declares and fields[0].text != "local"
        if exports or fields:
            for each in node.assignments:
                place.variables.export(each.name)
        if node.declares:
            return self.run([*fields, *assigned], place)
        if not fields:
            self._note(" ".join(each.text for each in assigned))
            return ("",) if assigned else None
        if assigned:
            self._emit(fields, place, assigned)
        return self.run(fields, place)

    def _assign(self, node: Assignment, expander: Expander, variables: Variables) -> Field:
        if node.array:
            fields = [each for word in node.values for each in expander.fields(word)]
        else:
            fields = [expander.joined(word) for word in node.values]
        known = bool(node.values or node.array) and all(each.is_known for each in fields)
        values: Values = (tuple(each.text for each in fields),) if known else (None,)
        if node.append:
            values = _appended(variables.get(node.name), values, array=node.array)
        if node.array and not node.values:
            values = (None,)  # one element of an array
        variables.assign(node.name, values)
        return expander.joined(node.word)

    def _redirect(
        self, redirections: Sequence[Redirection], expander: Expander, place: Place
    ) -> Pipe | None:
        given = place.given
        for each in redirections:
            if not self._running.pieces(len(each.target)):
                self.unsure = True
                break
            target = expander.joined(each.target)
            if each.operator == "<<":
                given = Pipe((target.text + "\n",) if target.is_known else None)
            elif each.operator == "<" and target.is_process:
                given = Pipe(target.file)
            elif each.operator != "&" and not target.is_process:
                self._note_target(each.operator, target)
                if "<" in each.operator and target.text not in ("/dev/stdin", "/dev/fd/0"):
                    given = None
        return given

    def _note_target(self, operator: str, target: Field) -> None:
        if target.text in _NOWHERE:
            return
        for sign in operator:
            for text in dict.fromkeys((target.text, target.known_part.text)):
                self._note(f"{sign} {text}" if text else "")

    def _program(self, fields: Sequence[Field], place: Place) -> Output:
        name = _plain_name(fields[0])
        texts = [each.text for each in fields]
        if name in place.functions:
            known = all(each.is_known for each in fields)
            return self._call(name, (tuple(texts[1:]) if known else None,), place)
        if name in place.aliases and name + "=" not in place.calls:
            text = " ".join([place.aliases[name], *map(shlex.quote, texts[1:])])
            return self.read(text, replace(place, depth=place.depth + 1,
                                           calls=place.calls | {name + "="}))  # fmt: skip
        if do_builtin(name, fields, place):
            return ("",)
        given = place.given.texts if place.given is not None else None
        output = None
        if all(each.is_known for each in fields[1:]):
            output = printed_by(name, texts[1:], given)
        inner = inner_commands(name, fields, place.given)
        outputs = [self._inner(each, place) for each in inner]
        return concatenated(outputs) if inner else output

    def _inner(self, inner: Inner, place: Place) -> Output:
        match inner:
            case Run():
                return self.run(inner.words, replace(place, depth=place.depth + 1))
            case Read():
                below = replace(place, depth=place.depth + 1, windows=inner.windows)
                if not inner.here:
                    below = replace(below, variables=place.variables.of_child())
                    below.variables.assign("@", (inner.parameters,))
                self.unsure |= not inner.sure
                outputs = [self.read(text, below) for text in inner.texts]
                return either(outputs) if inner.sure else None
            case _:
                assert_never(inner)

    def _define(self, function: Function, place: Place) -> Output:
        """Add a body: which of several definitions ran may depend on a branch."""
        bodies = (*place.functions.get(function.name, ()), function.body)
        self.unsure |= len(bodies) > MAX_VALUES
        place.functions[function.name] = bodies[:MAX_VALUES]
        self._called.discard(function.name)
        return ("",)

    def _call(self, name: str, parameters: Values, place: Place) -> Output:
        again = name + "\0"  # with parameters that nobody knows: calls may go on for ever
        if again in place.calls:
            return None
        if name in place.calls:
            parameters, mark = (None,), again
        else:
            mark = name
        if place.depth > MAX_DEPTH or not self._running.command():
            self.unsure = True
            return None
        self._called.add(name)
        outputs = []
        for body in place.functions[name]:
            below = replace(place.below(), calls=place.calls | {mark})
            below.variables.assign("@", parameters)
            outputs.append(self._command(body, below))
            below.variables.assign("@", place.variables.get("@") or ((),))
            place.variables.merge(below.variables)  # a branch that defines it may not have run
        return either(outputs)


def _plain_name(program: Field) -> str:
    return program.program.text.rpartition("\\")[2].lower().removesuffix(".exe")


def _names(program: Field, *, windows: bool) -> list[str]:
    name = program.program.text
    if not windows:
        return [name]
    name = name.rpartition("\\")[2] or name
    # Windows does not tell DEL.EXE from del
    return list(dict.fromkeys([name, name.lower().removesuffix(".exe")]))


def _hollow(fields: Sequence[Field]) -> list[Field]:
    """Return *fields* as they are when what is unknown is empty.

    Unknown words at the end are kept: there they are what the command is about.
    """
    end = len(fields)
    while end > 1 and not any(part.text for part in fields[end - 1].known_part.parts):
        end -= 1
    hollow = [each if each.is_known else each.known_part for each in fields[:end]]
    return [each for each in hollow if any(part.text for part in each.parts)] + list(fields[end:])


def _appended(held: Values | None, values: Values, *, array: bool) -> Values:
    added = values[0]
    if held is None or added is None:
        return (None,)
    if array:
        return tuple(None if each is None else each + added for each in held)
    text = "".join(added)
    return tuple(
        None if each is None else ((each[0] if each else "") + text, *each[1:]) for each in held
    )
