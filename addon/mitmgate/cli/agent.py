"""``mitmgate agent``: who may use the proxy with a token, kept in the policy file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mitmgate.cli.state import POLICY_FILE, state_dir
from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.policy.agents import AgentEntry

app = typer.Typer(
    help="Give agents names and tokens, and take tokens back.",
    no_args_is_help=True,
    epilog="Example: mitmgate agent add ci-runner --group bots",
)

_SHOWN_DIGITS: Final = 12
_LEAST_DIGITS: Final = 4

AgentArgument = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name.")]
PolicyOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The policy; else policy.yaml in the state folder."),
]
StateOption = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its files.")
]


@app.command()
def add(
    name: AgentArgument,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A group to put it in; repeatable.")
    ] = None,
    policy: PolicyOption = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The proxy's address [default: the running one]."),
    ] = None,
    state: StateOption = None,
) -> None:
    """Make a token for an agent and print it, this once: the policy keeps only its hash.

    An agent that is there already gets one more token, so that an old one can be replaced without
    a pause: add, set the new one, revoke the old one.

    \b
    Example: mitmgate agent add ci-runner --group bots --policy my-policy.yaml
    """
    from mitmgate.cli.env import proxy_address, running_address
    from mitmgate.net.authority import Authority
    from mitmgate.policy.agents import agents_in, hash_token, new_token, parse_agent_name
    from mitmgate.policy.syntax import parse_name
    from mitmgate.strictyaml.editing import editing

    _usable(parse_agent_name, name, key="NAME")
    for word in group or ():
        _usable(parse_name, word, key="--group")
    folder = state_dir(state)
    path = _existing(policy, folder)
    address = proxy_address(listen) if listen else running_address(folder)
    token = new_token()
    with editing(path, check=policy_check(path)) as file:
        file.save(with_token(file.text, name, hash_token(token), group or (), file=str(path)))
    entry = agents_in(file.text, file=str(path))[name]
    typer.echo(f"agent   {name}")
    typer.echo(f"tokens  {len(entry.tokens)}")
    typer.echo(f"groups  {_words(entry.groups)}")
    typer.echo(f"token   {token}")
    typer.echo(f"proxy   http://{name}:{token}@{Authority(*address)}")
    typer.echo("")
    typer.echo("Nobody can show this token again. On the agent's host, after `mitmgate env`, set")
    typer.echo("HTTP_PROXY and HTTPS_PROXY, in capitals and in small letters, to the proxy above.")


@app.command()
def revoke(
    name: AgentArgument,
    every: Annotated[bool, typer.Option("--all", help="Every token of the agent.")] = False,
    token_prefix: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="The token whose hash starts so, as `list` shows it."),
    ] = None,
    policy: PolicyOption = None,
    state: StateOption = None,
) -> None:
    """Take a token back, or all. The agent stays in the policy, and with no token is locked out.

    Without --all and --token-prefix, the agent must have one token only.

    \b
    Example: mitmgate agent revoke ci-runner --token-prefix sha256:4f1a
    """
    from mitmgate.policy.agents import agents_in, parse_agent_name
    from mitmgate.strictyaml.edit import with_value
    from mitmgate.strictyaml.editing import editing

    _usable(parse_agent_name, name, key="NAME")
    if every and token_prefix is not None:
        raise _wrong("--all", "is every token already", hint="leave --token-prefix out")
    path = _existing(policy, state_dir(state))
    with editing(path, check=policy_check(path)) as file:
        tokens = _agent(agents_in(file.text, file=str(path)), name, path).tokens
        gone = tokens if every else _chosen(tokens, name, token_prefix)
        left = [token for token in tokens if token not in gone]
        if gone:
            file.save(with_value(file.text, ("agents", name, "tokens"), left, file=str(path)))
    if not gone:
        typer.echo(f"{name} has no token: nothing to revoke")
        return
    typer.echo(f"revoked {_words(map(short_hash, gone))}; {name} has {_count(left)} left")


@app.command("list")
def list_agents(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    policy: PolicyOption = None,
    state: StateOption = None,
) -> None:
    """List the agents of the policy: their groups, and the hashes of their tokens.

    \b
    Example: mitmgate agent list --json
    """
    from mitmgate.policy.agents import agents_in
    from mitmgate.strictyaml import read_file

    path = policy or state_dir(state) / POLICY_FILE
    known: Mapping[str, AgentEntry] = {}
    if policy is not None or path.exists():  # else the starter is in force, which names nobody
        known = agents_in(read_file(path), file=str(path))
    if as_json:
        rows = [
            {"name": name, "groups": entry.groups, "tokens": [*map(short_hash, entry.tokens)]}
            for name, entry in known.items()
        ]
        typer.echo(json.dumps({"agents": rows}))
        return
    for line in listing(known):
        typer.echo(line)


def listing(known: Mapping[str, AgentEntry]) -> Iterator[str]:
    """Yield the lines that tell a person of the agents *known*."""
    if not known:
        yield "The policy names no agents. To name one: mitmgate agent add NAME"
    for name, entry in known.items():
        hashes = _words(map(short_hash, entry.tokens))
        yield name
        yield f"    tokens  {len(entry.tokens)}: {hashes if entry.tokens else 'locked out'}"
        yield f"    groups  {_words(entry.groups)}"


def short_hash(token_hash: str) -> str:
    """Return the start of *token_hash*, enough to tell tokens apart and to revoke by."""
    algorithm, _, digits = token_hash.partition(":")
    return f"{algorithm}:{digits[:_SHOWN_DIGITS]}"


def with_token(text: str, name: str, token_hash: str, groups: Sequence[str], *, file: str) -> str:
    """Return the policy *text* where the agent *name* has this token too, and these groups.

    Raises ConfigError if the text cannot be read or edited, or the agent has too many tokens.
    """
    from mitmgate.policy.agents import MAX_TOKENS, agents_in
    from mitmgate.strictyaml.edit import with_value

    here = ("agents", name)
    entry = agents_in(text, file=file).get(name)
    if entry is None:
        value: dict[str, list[str]] = {"tokens": [token_hash]}
        if groups:
            value["groups"] = list(dict.fromkeys(groups))
        return with_value(text, here, value, file=file)
    if len(entry.tokens) >= MAX_TOKENS:
        hint = f"revoke one first: mitmgate agent revoke {name} --token-prefix HASH"
        raise ConfigError(
            Problem(f"has {_count(entry.tokens)}, the most there may be", file,
                    key=f"agents.{name}", hint=hint))  # fmt: skip
    text = with_value(text, (*here, "tokens"), [*entry.tokens, token_hash], file=file)
    joined = list(dict.fromkeys([*entry.groups, *groups]))
    if joined == list(entry.groups):
        return text
    return with_value(text, (*here, "groups"), joined, file=file)


def policy_check(path: Path) -> Callable[[str], object]:
    """Return what refuses a text that is no policy; its problems name the file at *path*."""
    from mitmgate.policy.load import load_policy

    return lambda text: load_policy(text, file=str(path))


def _chosen(tokens: Sequence[str], name: str, prefix: str | None) -> tuple[str, ...]:
    """Return the tokens that *prefix* chooses, or the only one there is."""
    if prefix is None:
        if len(tokens) > 1:
            raise _wrong("NAME", f"{name} has {_count(tokens)}",
                         hint="choose one with --token-prefix, or say --all")  # fmt: skip
        return tuple(tokens)
    digits = prefix.lower().removeprefix("sha256:")
    # Never quoted: it may be the token itself.
    if len(digits) < _LEAST_DIGITS or digits.strip("0123456789abcdef"):
        raise _wrong("--token-prefix", "is the start of a hash, as in sha256:4f1a",
                     hint="`mitmgate agent list` shows the hashes")  # fmt: skip
    found = list(dict.fromkeys(one for one in tokens if one.startswith(f"sha256:{digits}")))
    if not found:
        raise _wrong("--token-prefix", f"no token of {name} has a hash that starts so",
                     hint="`mitmgate agent list` shows the hashes")  # fmt: skip
    if len(found) > 1:
        raise _wrong("--token-prefix", f"{len(found)} tokens of {name} have hashes that start so",
                     hint="give more of it")  # fmt: skip
    return tuple(found)


def _agent(known: Mapping[str, AgentEntry], name: str, path: Path) -> AgentEntry:
    from mitmgate.strictyaml import did_you_mean

    if name in known:
        return known[name]
    nearest = did_you_mean(name, known)
    hint = f"did you mean {nearest}?" if nearest else "`mitmgate agent list` shows who there is"
    raise ConfigError(Problem(f"no agent is named {name}", str(path), key="agents", hint=hint))


def _existing(option: Path | None, folder: Path) -> Path:
    path = option or folder / POLICY_FILE
    if option is None and not path.exists():
        raise ConfigError(
            Problem("there is no policy of your own yet: the starter is in force", str(path),
                    hint="copy the starter policy there, or name your file with --policy")
        )  # fmt: skip
    return path


def _usable(parse: Callable[[str], str], text: str, *, key: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        raise ConfigError(Problem(str(error), key=key)) from None


def _wrong(key: str, message: str, *, hint: str) -> ConfigError:
    return ConfigError(Problem(message, key=key, hint=hint))


def _count(tokens: Sequence[str]) -> str:
    return "1 token" if len(tokens) == 1 else f"{len(tokens) or 'no'} tokens"


def _words(words: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(words) or "none"
