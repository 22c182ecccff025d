"""Programs that run other commands: which of their words are the command.

One table, from the programs' own manuals. A program that is not in it runs nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, Unpack

SHELLS: Final = frozenset(
    {"sh", "bash", "rbash", "zsh", "dash", "ksh", "mksh", "pdksh", "ash", "fish", "csh", "tcsh",
     "hush"}
)  # fmt: skip
"""Programs that read shell text from their input, or behind ``-c``."""
_SHELL_VALUES: Final = frozenset({"-o", "+o", "-O", "+O", "--rcfile", "--init-file"})


@dataclass(frozen=True, slots=True)
class Wrapper:
    """How a program's words are put before those of the command that it runs.

    ``values`` are the options whose value is the next word, ``operands`` the words between the
    options and the command, ``code`` the options with a whole command line as their value,
    ``quiet`` those with which nothing runs. With ``joined`` the words are read by a shell again.
    ``verbs`` are the subcommands that run something; the other ones run nothing.
    """

    values: frozenset[str] = frozenset()
    operands: int = 0
    code: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    joined: bool = False
    verbs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Where the command stands: words from ``start``, or (``code``) text in one word.

    ``start`` is at the end where there is no command. ``code`` has the index of each word with
    text and how many of its first characters belong to the option.
    """

    start: int
    joined: bool
    code: tuple[tuple[int, int], ...] = ()


class _More(TypedDict, total=False):
    quiet: str
    verbs: str
    joined: bool


def _of(values: str = "", operands: int = 0, code: str = "", **more: Unpack[_More]) -> Wrapper:
    return Wrapper(
        frozenset(values.split()),
        operands,
        frozenset(code.split()),
        frozenset(more.get("quiet", "").split()),
        more.get("joined", False),
        frozenset(more.get("verbs", "").split()),
    )


_CONTAINER: Final = _of(
    "-a --add-host --attach --annotation --blkio-weight -c --cap-add --cap-drop --cgroup-parent"
    " --cgroupns --cidfile --config --context --cpu-period --cpu-quota --cpus --cpuset-cpus"
    " --cpuset-mems --cpu-shares -D --detach-keys --device --dns --dns-search --domainname -e"
    " --entrypoint --env --env-file --expose -f --file --gpus --group-add -H --host -h"
    " --health-cmd --hostname --index --ip --ip6 --ipc --isolation -l --label --label-file"
    " --link --log-driver --log-level --log-opt --mac-address -m --memory --memory-swap --mount"
    " --name --net --network --network-alias --oom-score-adj -p --pid --pids-limit --platform"
    " --profile --project-directory --project-name --publish --pull --restart --runtime"
    " --security-opt --shm-size --stop-signal --stop-timeout --storage-opt --sysctl --tmpfs -u"
    " --ulimit --user --userns --uts -v --volume --volume-driver --volumes-from -w --workdir",
    operands=1,
    verbs="exec run",
)
_KUBECTL: Final = _of(
    "-c --container -n --namespace --context --cluster --kubeconfig -f --filename -s --server"
    " --user --token --as --request-timeout --pod-running-timeout --image --overrides --restart"
    " -l --labels --env",
    operands=1,
    verbs="exec run debug",
)
_RUN: Final = _of("-p --python --with --extra --group -C --directory --project", verbs="run exec")
_PLAIN: Final = _of()
_AS_USER: Final = _of(
    "-u --user -g --group -s --shell -w -C -G", code="-c --command --session-command"
)

WRAPPERS: Final[dict[str, Wrapper]] = {
    **dict.fromkeys(
        ("nohup", "setsid", "busybox", "toybox", "builtin", "noglob", "nocorrect",
         "unbuffer", "chronic", "rlwrap", "firejail", "torsocks", "torify", "catchsegv",
         "dbus-run-session", "-", "linux32", "linux64", "coproc"),
        _PLAIN,
    ),
    "sudo": _of(
        "-u --user -g --group -h --host -p --prompt -C --close-from -r --role -t --type -T"
        " --command-timeout -U --other-user -D --chdir -R --chroot",
        quiet="-l --list -v --validate -K -k --remove-timestamp",
    ),
    "doas": _of("-u -C -a"),
    "pkexec": _of("--user"),
    "repeat": _of(operands=1),
    "gosu": _of(operands=1),
    "su-exec": _of(operands=1),
    "su": _of("-s --shell -g --group -G -w", code="-c --command --session-command", operands=99),
    "runuser": _AS_USER,
    "env": _of("-u --unset -C --chdir", code="-S --split-string"),
    "nice": _of("-n --adjustment"),
    "ionice": _of("-c --class -n --classdata -p -P -u", quiet="-p"),
    "chrt": _of("-T -P -D", operands=1),
    "taskset": _of(operands=1),
    "numactl": _of("-i -m -N -C -p"),
    "stdbuf": _of("-i --input -o --output -e --error"),
    "timeout": _of("-k --kill-after -s --signal", operands=1),
    "time": _of("-f --format -o --output"),
    "exec": _of("-a"),
    "command": _of(quiet="-v -V"),
    "xargs": _of(
        "-I --replace -n --max-args -P --max-procs -s --max-chars -L --max-lines -E -d --delimiter"
        " -a --arg-file --process-slot-var -J -R -S"
    ),
    "parallel": _of("-j --jobs -a --arg-file -S --sshlogin -I -N -n -d --delimiter", joined=True),
    "watch": _of("-n --interval", joined=True),
    "entr": _PLAIN,
    "chroot": _of(operands=1),
    "unshare": _of("-S -G -R -w --root --wd --setuid --setgid"),
    "nsenter": _of("-t --target -S --setuid -G --setgid"),
    "setpriv": _of("--reuid --regid --groups --inh-caps --bounding-set --ambient-caps"),
    "flock": _of("-w --timeout -E --conflict-exit-code", operands=1, code="-c --command"),
    "script": _of("-T --log-timing -t -E --echo -o", code="-c --command", operands=99),
    "strace": _of("-o -e -p -u -E -s -P -O -S -I -a -b"),
    "ltrace": _of("-o -e -p -u -s -l -n -a -x"),
    "gdb": _of("-x -ex -p -c", quiet="-p"),
    "valgrind": _PLAIN,
    "systemd-run": _of("-p --property --unit --uid --gid --slice -E --setenv -M --description"),
    "systemd-inhibit": _of("--what --who --why --mode"),
    "caffeinate": _of("-t -w"),
    "arch": _of("-e -d"),
    "setarch": _of(operands=1),
    "proxychains": _of("-f"),
    "proxychains4": _of("-f"),
    "xvfb-run": _of("-n -s -e -f -p -w --server-num --server-args"),
    "ssh": _of(
        "-B -b -c -D -E -e -F -I -i -J -L -l -m -O -o -P -p -Q -R -S -W -w",
        operands=1, joined=True,
    ),
    "sshpass": _of("-p -f -d -P"),
    "screen": _of("-S -t -c -e -h -p -s -T"),
    "tmux": _of(
        "-c -f -L -S -T -n -s -t -x -y -F -e", joined=True,
        verbs="new new-session neww new-window splitw split-window run run-shell respawn-pane"
        " popup display-popup",
    ),
    "wsl": _of("-d --distribution -u --user --cd"),
    "start": _of("/d"),
    "start-process": _of("-WorkingDirectory -Verb"),
    **dict.fromkeys(("docker", "podman", "nerdctl", "docker-compose"), _CONTAINER),
    **dict.fromkeys(("kubectl", "oc", "k3s"), _KUBECTL),
    "lxc": _of("--env --cwd --user", operands=1, verbs="exec"),
    "direnv": _of(operands=1, verbs="exec"),
    **dict.fromkeys(("uv", "poetry", "pipenv", "pdm", "hatch", "bundle", "rye"), _RUN),
    "npm": _of("-c --call", verbs="exec x"),
    "pnpm": _of("-C --dir", verbs="exec dlx"),
    "nix": _of("-c --command", verbs="develop shell"),
    "nix-shell": _of("-p --packages -I -A", code="--run --command", operands=99),
}  # fmt: skip
_ASSIGNING: Final = frozenset({"env", "sudo", "doas"})


def unwrap(name: str, words: Sequence[str]) -> Wrapped | None:
    """Return where *words* of the program *name* have the command that it runs, or None."""
    wrapper = WRAPPERS.get(name)
    if wrapper is None:
        return None
    at = 1
    if wrapper.verbs:
        at = next((i for i, word in enumerate(words[:12]) if i and word in wrapper.verbs), 0) + 1
        if at == 1:
            return None
    start, code = _skip(wrapper, words, at, assigning=name in _ASSIGNING)
    if start < 0:
        return None
    return Wrapped(min(start, len(words)), wrapper.joined, code)


def _skip(
    wrapper: Wrapper, words: Sequence[str], at: int, *, assigning: bool
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return where the command starts, and the code in options; -1 where nothing runs."""
    code: list[tuple[int, int]] = []
    operands = wrapper.operands
    while at < len(words):
        word = words[at]
        option = word.partition("=")[0]
        if word == "--":
            at += 1
            break
        if option in wrapper.quiet:
            return -1, ()
        if len(word) > 1 and word[0] in "-+/" and (word[0] != "/" or word in wrapper.values):
            at += _option(wrapper, words, at, code)
        elif assigning and "=" in word:
            at += 1
        elif operands:
            operands -= 1
            at += 1
        else:
            break
    if words[at - 1] == "--":
        at += operands
        at += words[at : at + 1] == ["--"]
    return at, tuple(code)


def _option(wrapper: Wrapper, words: Sequence[str], at: int, code: list[tuple[int, int]]) -> int:
    """Return how many words the option at *at* takes, and note the code in it."""
    word = words[at]
    name, equals, _ = word.partition("=")
    if name in wrapper.code:
        if equals:
            code.append((at, len(name) + 1))
            return 1
        if at + 1 < len(words):
            code.append((at + 1, 0))
        return 2
    if word in wrapper.values:
        return 2
    if word.startswith("--"):
        return 1
    return _cluster(wrapper, words, at, code)


def _cluster(wrapper: Wrapper, words: Sequence[str], at: int, code: list[tuple[int, int]]) -> int:
    """Return how many words ``-abc`` takes: one of the letters may have a value."""
    word = words[at]
    for index, letter in enumerate(word[1:], 1):
        last = index == len(word) - 1
        if "-" + letter in wrapper.code:
            if not last:
                code.append((at, index + 1))
            elif at + 1 < len(words):
                code.append((at + 1, 0))
        elif "-" + letter not in wrapper.values:
            continue
        return 2 if last else 1
    return 1


@dataclass(frozen=True, slots=True)
class ShellCall:
    """A shell's words: the index of its code, or of its script, or neither: its input.

    ``operands`` is where the code's own arguments (``$0``, ``$1``) begin.
    """

    code: int | None
    script: int | None
    reads_input: bool
    operands: int


def shell_call(words: Sequence[str]) -> ShellCall:
    """Return what the shell that *words* start runs."""
    has_code = reads = False
    at = 1
    while at < len(words):
        word = words[at]
        if word in _SHELL_VALUES:
            at += 2
        elif word in ("--", "-"):
            at += 1
            break
        elif len(word) > 1 and word[0] in "-+":
            short = word[0] == "-" and word[1] != "-"
            has_code |= (short and "c" in word) or word == "--command"
            reads |= short and "s" in word and "c" not in word
            # ``-euo pipefail``: the last letter takes a value
            at += 2 if word[1] != "-" and word[-1] in "oO" else 1
        else:
            break
    rest = at < len(words)
    if has_code:
        return ShellCall(at if rest else None, None, False, at + 1)
    own_input = rest and words[at] in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
    if reads or own_input or not rest:
        return ShellCall(None, None, True, at)
    return ShellCall(None, at, False, at)


def find_commands(words: Sequence[str], starts: frozenset[str]) -> list[tuple[int, int]]:
    """Return where the commands stand that ``find`` and ``fd`` run, as (start, end)."""
    found: list[tuple[int, int]] = []
    at = 1
    while at < len(words):
        if words[at] not in starts:
            at += 1
            continue
        end = at + 1
        while end < len(words) and words[end] not in (";", "+"):
            end += 1
        found.append((at + 1, end))
        at = end
    return found


FINDERS: Final[dict[str, frozenset[str]]] = {
    "find": frozenset({"-exec", "-execdir", "-ok", "-okdir"}),
    **dict.fromkeys(("fd", "fdfind"), frozenset({"-x", "-X", "--exec", "--exec-batch"})),
}


def cmd_code(words: Sequence[str]) -> tuple[int, int] | None:
    """Return the word with the code of Windows' ``cmd /c``, and where in the word it begins."""
    for at, word in enumerate(words):
        lower = word.lower()
        if at and lower.startswith("/"):
            for switch in ("/c", "/k", "/r"):
                index = lower.find(switch)
                if index >= 0 and lower[index + 2 :]:
                    return at, index + 2
                if index >= 0:
                    return at + 1, 0
    return None


def powershell_code(words: Sequence[str]) -> tuple[int, bool] | None:
    """Return where PowerShell's code begins, and whether it is in Base64; None for none."""
    at = 1
    while at < len(words):
        word = words[at].lower()
        if word[:1] not in ("-", "/", "\u2013", "\u2014", "\u2015") or word == "-":
            return None if word == "-" else (at, False)
        option = word[1:]
        if (option and "encodedcommand".startswith(option)) or option == "ec":
            return at + 1, True
        if option and "command".startswith(option):
            return at + 1, False
        if option and "file".startswith(option):
            return None
        at += 2 if option.startswith(_POWERSHELL_VALUES) else 1
    return None


_POWERSHELL_VALUES: Final = (
    "ex", "ep", "w", "v", "psc", "inp", "if", "o", "of", "co", "set", "cus", "wo", "wd",
)  # fmt: skip
