"""What the reader says against what real shells do: their words, and the programs they start."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from mitmgate.policy.shell import read_command

BASH: Final = shutil.which("bash") or ""
DASH: Final = shutil.which("dash") or ""
needs_bash = pytest.mark.skipif(not BASH, reason="bash is not installed")

SETUP: Final = "unset w; v='p qr'; V=ABC; a=(f 'g h'); "
# Behind a plain $v a letter would be part of its name, and of what the environment says.
PIECES: Final = (
    "a", "-", "/", ".", "=", ":", "#", "!", "%", "+", "@", "^", ",", "}", " ", " ",
    "'c'", "'c d'", '"e"', '"e f"', "''", '""', "\\g", "\\ ", "\\\\", "\\'", '\\"', "\\\n",
    "\\{a,b}",
    "$'\\x41'", "$'\\102 '", "$'\\t'", "$'\\''", '"\\$"', '"\\h"', '"\\""', "'{a,b}'", '"{a,b}"',
    "${v}", '"$v"', '"${v}"', "${w}", '"$w"', "$@", '"$@"', "$1", "${a[1]}", "${a[@]}", '"${a[@]}"',
    "${w:-d}", "${v:-d}", "${v#p}", "${v%r}", "${v%%?r}", "${v/q/s}", "${v:0:1}", "${v:1}", "${#v}",
    "${v^^}", "${V,,}", "${w+z}", "${v+z}", "${w:+k}", "${v:+k}", "${IFS%??}", '"$IFS"',
    "$(echo k)", "`echo l`", '"$(echo m  n)"', "$(echo o p)", "$(printf 'i\\nj')",
    "$(printf '\\162')",
    "{a,b}", "{c,d e}", "{1..3}", "{a..c}", "{x,y}{1,2}", "{,q}", "{a,{b,c}}", "{'a b',c}",
    "{3..1}",
    "{01..03}", "{1..6..2}", "{a,b", "a,b}", "{",
)  # fmt: skip


@needs_bash
@pytest.mark.parametrize("seed", range(4))
def test_words_are_those_of_bash(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a fixed seed is the point
    lines = ["".join(dice.choices(PIECES, k=dice.randint(1, 7))) for _ in range(250)]
    compared = 0
    for line, words in zip(lines, _words(lines), strict=True):
        reading = read_command(SETUP + "p " + line)
        if words is None or reading.unsure:
            continue
        compared += 1
        assert " ".join(filter(None, ["p", *words])) in reading.commands, line
    assert compared > 200


def _words(lines: list[str]) -> list[list[str] | None]:
    """Return the words that bash makes of each line, None for one that it refuses."""
    script = ["p() { [ $# -eq 0 ] || printf '%s\\0' \"$@\"; printf '\\1'; }", SETUP + "set -f"]
    script += [f"( eval {shlex.quote('p ' + line)} ) 2>&-; printf '\\2'" for line in lines]
    ran = subprocess.run(
        [BASH, "-s"], input="\n".join(script).encode(), capture_output=True, timeout=60,
        env={"PATH": os.defpath}, check=True,
    )  # fmt: skip
    answers = ran.stdout.decode().split("\2")[:-1]
    return [text[:-1].split("\0")[:-1] if text.count("\1") == 1 else None for text in answers]


class _Scripts:
    """Random scripts of programs named c0 to c9, from the constructs that hide programs."""

    def __init__(self, seed: int, *, posix: bool) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - a fixed seed is the point
        self._posix = posix
        self._functions = 0

    def script(self, depth: int) -> str:
        count = self._dice.randint(1, 3)
        return "\n".join(self._command(depth) for _ in range(count))

    def _name(self) -> str:
        return f"c{self._dice.randint(0, 9)}"

    def _command(self, depth: int) -> str:
        if depth <= 0 or self._dice.random() < 0.4:
            return self._simple(depth)
        one, two = self._command(depth - 1), self._command(depth - 1)
        name = self._name()
        shapes = [
            f"( {one}\n)", f"{{ {one}\n}}", f"if {one}\nthen {two}\nelse {name}\nfi", f"! {name} x",
            f"for v in {name} c0\ndo {one}\n$v x; w=$v\ndone", f"{one} | {two}", f"{name} && {two}",
            f"case $v in c1|c2) {one}\n;; *) {two}\n;; esac", f"{name} || {two}",
            f"for v in {name} c0\ndo $w y; w=$v\ndone", f"{{ echo {name} z; }} | sh",
        ]  # fmt: skip
        if not self._posix:
            shapes += [f"[[ a == b ]] || {name}", f"{name} < <({one}\n)", f"(( 1 )) && {name}"]
        self._functions += 1
        function = f"f{self._functions}"
        shapes += [f"{function}() {{ {one}\n$1 q\n}}\n{function} {name}"]
        return self._dice.choice(shapes)

    def _simple(self, depth: int) -> str:
        name, inner = self._name(), self.script(depth - 1) if depth > 0 else self._name()
        quoted = shlex.quote(inner)
        shapes = [
            f"v={name}", "v=$w", f"w='{name} k'", f"v=$(echo {name})", f"eval {quoted}",
            f"sh -c {quoted}", f"echo {shlex.quote(name + ' i')} | sh", f"sh <<'E'\n{inner}\nE",
            f"set -- {name}", f"{name[0]}''{name[1:]} a", "$v b", f"$(echo {name}) d",
            f"export v={name}",
            f"v={name} sh -c '$v e'", f"v={name} eval '$v f'", f"{name} $(c1 g) \"$v\" `c2 h`",
            f"env A=1 {name} j", f"echo {name} l | xargs env", f"{name} ${{u:-m}} >/dev/null 2>&1",
            f"sh -c '$v n; \"$1\" o' x {name}", f"unset v; c${{v}}{name[1:]} r",
        ]  # fmt: skip
        if not self._posix:
            shapes += [f"read v <<< {name}", f"{{{name},s}}", f'a=({name} t); "${{a[@]}}"']
        return self._dice.choice(shapes)


@pytest.fixture
def programs(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Give a folder, and an environment in which c0 to c9 are programs that write to $LOG."""
    folder = tmp_path / "bin"
    folder.mkdir()
    body = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}${*:+ $*}" >> "$LOG"\n[ $(($$ % 2)) = 0 ]\n'
    for number in range(10):
        (folder / f"c{number}").write_text(body)
        (folder / f"c{number}").chmod(0o700)
    return tmp_path, {"PATH": f"{folder}:{os.defpath}"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(BASH, id="bash", marks=needs_bash),
        pytest.param(
            DASH, id="dash", marks=pytest.mark.skipif(not DASH, reason="dash is not installed")
        ),
    ],
)
def test_no_program_is_started_that_was_not_read(
    shell: str, seed: int, programs: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = programs
    scripts = _Scripts(seed, posix=shell == DASH)
    sure = 0
    for number in range(40):
        # a log of its own: bash does not wait for what it starts in <(...)
        log = folder / f"log{number}"
        script = scripts.script(2)
        reading = read_command(script)
        log.touch()
        _run([shell, "-c", script], environment | {"LOG": str(log)})
        started = [_plain(text) for text in log.read_text().split("\0") if text]
        read = [_plain(text) for text in reading.commands]
        missing = [
            text for text in started
            # what is unknown at the end of a command is shown, and may be nothing
            if not any(each == text or each.startswith((text + " $", text + " `")) for each in read)
        ]  # fmt: skip
        assert reading.unsure or not missing, script
        sure += not reading.unsure
    assert sure >= 10


def _run(command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _plain(command: str) -> str:
    return " ".join(command.split())
