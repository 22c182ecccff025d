"""``mitmgate agent``: a token is shown once, the policy keeps its hash and its comments."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from mitmgate.cli.agent import app
from mitmgate.errors import ConfigError
from mitmgate.policy.agents import (
    MAX_TOKENS,
    AgentEntry,
    AgentTable,
    agents_in,
    credentials,
    hash_token,
)
from mitmgate.policy.load import starter_text

PROXY = ("--listen", "127.0.0.1:8080")
TOKENS = {word: hash_token(word) for word in ("one", "two", "three")}
SHORT = {word: token[: len("sha256:") + 12] for word, token in TOKENS.items()}
POLICY = f"""\
version: 1   # the format
agents:
  # builds
  ci:
    tokens:
      - "{TOKENS["one"]}"   # since May
      - "{TOKENS["two"]}"
    groups: [bots]   # see the wiki
  laptop: {{tokens:  ["{TOKENS["three"]}"]}}   # Ann's
  old: {{tokens: []}}

# servers come next
servers:
  github: {{url:   "https://api.githubcopilot.com/mcp/**"}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, "utf-8")
    return path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def add(path: Path, *arguments: str) -> str:
    """Return the token that the command printed."""
    out = run("add", *arguments, "--policy", path, *PROXY)
    (line,) = [line for line in out.splitlines() if line.startswith("token ")]
    return line.split()[1]


def refused(path: Path, *arguments: str) -> str:
    before = path.read_text("utf-8")
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(app, [*arguments, "--policy", str(path)], catch_exceptions=False)
    assert path.read_text("utf-8") == before
    assert [*path.parent.iterdir()] == [path]
    (problem,) = caught.value.problems
    return str(problem).replace(str(path), "FILE")


def agents(path: Path) -> dict[str, AgentEntry]:
    return dict(agents_in(path.read_text("utf-8"), file="policy.yaml"))


def changed_lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the lines that went from POLICY and those that came."""
    old, new = POLICY.splitlines(), path.read_text("utf-8").splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


# --- add -----------------------------------------------------------------------------------


def test_what_add_prints(policy: Path) -> None:
    out = run("add", "new", "--group", "bots", "--group", "night", "--policy", policy, *PROXY)
    token = out.splitlines()[3].split()[1]
    assert out.startswith(
        "agent   new\n"
        "tokens  1\n"
        "groups  bots, night\n"
        f"token   {token}\n"
        f"proxy   http://new:{token}@127.0.0.1:8080\n"
        "\n"
    )
    assert agents(policy)["new"] == AgentEntry(
        tokens=(hash_token(token),), groups=("bots", "night")
    )


def test_a_new_agent_is_one_line_below_the_others(policy: Path) -> None:
    token = add(policy, "new", "--group", "bots")
    line = f'  new: {{tokens: ["{hash_token(token)}"], groups: [bots]}}'
    assert changed_lines(policy) == ([], [line])
    lines = policy.read_text("utf-8").splitlines()
    assert lines.index(line) == lines.index("  old: {tokens: []}") + 1


def test_an_agent_that_is_there_gets_one_more_token(policy: Path) -> None:
    token = add(policy, "ci")
    assert changed_lines(policy) == ([], [f'      - "{hash_token(token)}"'])
    assert agents(policy)["ci"].tokens == (TOKENS["one"], TOKENS["two"], hash_token(token))


def test_groups_are_added_to_those_it_has(policy: Path) -> None:
    add(policy, "ci", "--group", "bots", "--group", "night", "--group", "night")
    assert agents(policy)["ci"].groups == ("bots", "night")
    assert "    groups: [bots, night]   # see the wiki\n" in policy.read_text("utf-8")


def test_an_agent_that_was_locked_out_gets_in_again(policy: Path) -> None:
    token = add(policy, "old")
    assert agents(policy)["old"].tokens == (hash_token(token),)


def test_an_agent_without_the_key_gets_a_token(policy: Path) -> None:
    policy.write_text("version: 1\nagents:\n  ci: {groups: [bots]}\n", "utf-8")
    token = add(policy, "ci")
    assert agents(policy)["ci"] == AgentEntry(tokens=(hash_token(token),), groups=("bots",))


def test_the_starter_gets_its_first_agent_at_its_end(policy: Path) -> None:
    policy.write_text(starter_text(), "utf-8")
    token = add(policy, "ci")
    end = f'\nagents:\n  ci: {{tokens: ["{hash_token(token)}"]}}\n'
    assert policy.read_text("utf-8") == starter_text() + end


def test_a_name_that_yaml_would_read_as_something_else(policy: Path) -> None:
    names = ("on", "null", "1e3", "0x1F.a", "_", ".x")
    for name in names:
        add(policy, name)
    assert [*agents(policy)] == ["ci", "laptop", "old", *names]


def test_the_policy_of_the_state_folder_is_edited(policy: Path) -> None:
    run("add", "new", "--state-dir", policy.parent, *PROXY)
    assert "new" in agents(policy)


ADDRESSES = {
    "an IPv6 address is in brackets": ("[::1]:9000", "[::1]:9000"),
    "all addresses are dialled on loopback": ("0.0.0.0:9000", "127.0.0.1:9000"),
}


@pytest.mark.parametrize(("listen", "dialled"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_proxy_to_set(policy: Path, listen: str, dialled: str) -> None:
    out = run("add", "new", "--policy", policy, "--listen", listen)
    (line,) = [line for line in out.splitlines() if line.startswith("proxy ")]
    assert line.endswith(f"@{dialled}")


def test_what_the_proxy_url_makes_a_client_send_is_let_in_until_it_is_revoked(policy: Path) -> None:
    out = run("add", "new", "--policy", policy, *PROXY)
    (line,) = [line for line in out.splitlines() if line.startswith("proxy ")]
    url = urlsplit(line.split()[1])
    pair = f"{url.username}:{url.password}".encode()
    shown = credentials(f"Basic {base64.b64encode(pair).decode()}")
    assert shown is not None
    assert AgentTable.of(agents(policy)).verify(shown)
    run("revoke", "new", "--policy", policy)
    assert not AgentTable.of(agents(policy)).verify(shown)


def test_every_token_is_another_one(policy: Path) -> None:
    assert len({add(policy, "new") for _ in range(3)}) == 3
    assert len(agents(policy)["new"].tokens) == 3


def test_the_token_is_in_no_file_and_in_no_list(policy: Path) -> None:
    tokens = [add(policy, "ci"), add(policy, "new", "--group", "bots")]
    shown = [policy.read_text("utf-8"), run("list", "--policy", policy),
             run("list", "--json", "--policy", policy)]  # fmt: skip
    for token in tokens:
        assert not any(token in text or token[3:] in text for text in shown)
    assert [*policy.parent.iterdir()] == [policy]


ADD_REFUSED: dict[str, tuple[Sequence[str], str]] = {
    "an address as the name": (
        ["10.0.0.1"],
        "NAME: an agent's name must not look like an IP address; add a letter"),
    "a colon in the name": (
        ["a:b"], "NAME: a name has 1 to 100 letters, digits, hyphens, dots, underscores"),
    "a space in a group": (
        ["ci", "--group", "a b"],
        "--group: a name has 1 to 100 letters, digits, hyphens, dots, underscores"),
    "no port to dial": (
        ["ci", "--listen", "127.0.0.1"],
        "--listen: '127.0.0.1' is no address (write HOST:PORT, such as 127.0.0.1:8080)"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), ADD_REFUSED.values(), ids=ADD_REFUSED)
def test_what_add_refuses(policy: Path, arguments: Sequence[str], message: str) -> None:
    assert refused(policy, "add", *arguments) == message


def test_an_agent_has_so_many_tokens_and_no_more(policy: Path) -> None:
    for _ in range(MAX_TOKENS - 2):
        add(policy, "ci")
    assert refused(policy, "add", "ci", *PROXY) == (
        "FILE: agents.ci: has 16 tokens, the most there may be "
        "(revoke one first: mitmgate agent revoke ci --token-prefix HASH)"
    )


def test_a_policy_that_is_broken_elsewhere_is_left_alone(policy: Path) -> None:
    policy.write_text(POLICY + "mode: maybe\n", "utf-8")
    assert refused(policy, "add", "new", *PROXY).startswith("FILE:16: mode: must be")
    assert refused(policy, "revoke", "laptop").startswith("FILE:15: mode: must be")


def test_a_token_as_the_name_is_refused_and_not_shown(policy: Path) -> None:
    token = add(policy, "ci")
    for command in ("add", "revoke"):
        message = refused(policy, command, token)
        assert "must not look like a token" in message
        assert token not in message


def test_without_a_policy_of_ones_own_nothing_is_made(tmp_path: Path) -> None:
    for command in (["add", "ci", *PROXY], ["revoke", "ci"]):
        with pytest.raises(ConfigError, match="no policy of your own yet"):
            run(*command, "--state-dir", tmp_path)
        with pytest.raises(ConfigError, match="no such file"):
            run(*command, "--policy", tmp_path / "none.yaml")
    assert [*tmp_path.iterdir()] == []


# --- revoke --------------------------------------------------------------------------------

REVOKED: dict[str, tuple[list[str], str, tuple[list[str], list[str]]]] = {
    "the only token needs no option": (
        ["laptop"],
        f"revoked {SHORT['three']}; laptop has no tokens left\n",
        ([POLICY.splitlines()[8]], ["  laptop: {tokens: []}   # Ann's"])),
    "the start of a hash chooses": (
        ["ci", "--token-prefix", SHORT["one"]],
        f"revoked {SHORT['one']}; ci has 1 token left\n",
        ([POLICY.splitlines()[5]], [])),
    "the start of a hash without the algorithm, in capitals": (
        ["ci", "--token-prefix", TOKENS["two"][7:20].upper()],
        f"revoked {SHORT['two']}; ci has 1 token left\n",
        ([POLICY.splitlines()[6]], [])),
    "the whole hash": (
        ["ci", "--token-prefix", TOKENS["two"]],
        f"revoked {SHORT['two']}; ci has 1 token left\n",
        ([POLICY.splitlines()[6]], [])),
    "all of them": (
        ["ci", "--all"],
        f"revoked {SHORT['one']}, {SHORT['two']}; ci has no tokens left\n",
        (POLICY.splitlines()[4:7], ["    tokens: []"])),
    "nothing to revoke is no mistake": (
        ["old", "--all"], "old has no token: nothing to revoke\n", ([], [])),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said", "lines"), REVOKED.values(), ids=REVOKED)
def test_revoke(
    policy: Path, arguments: list[str], said: str, lines: tuple[list[str], list[str]]
) -> None:
    assert run("revoke", *arguments, "--policy", policy) == said
    assert changed_lines(policy) == lines


def test_a_token_that_stands_there_twice_is_gone_after_one_revoke(policy: Path) -> None:
    two = f'["{TOKENS["one"]}", "{TOKENS["one"]}"]'
    policy.write_text(f"version: 1\nagents: {{a: {{tokens: {two}}}}}\n", "utf-8")
    run("revoke", "a", "--token-prefix", SHORT["one"], "--policy", policy)
    assert agents(policy)["a"].tokens == ()


REVOKE_REFUSED: dict[str, tuple[Sequence[str], str]] = {
    "an unknown agent": (["lptop"], "FILE: agents: no agent is named lptop (did you mean laptop?)"),
    "an agent like no other": (
        ["zzz"],
        "FILE: agents: no agent is named zzz (`mitmgate agent list` shows who there is)"),
    "several tokens and no choice": (
        ["ci"], "NAME: ci has 2 tokens (choose one with --token-prefix, or say --all)"),
    "both options": (
        ["ci", "--all", "--token-prefix", "abcd"],
        "--all: is every token already (leave --token-prefix out)"),
    "a start that no hash has": (
        ["ci", "--token-prefix", "sha256:0000000000"],
        "--token-prefix: no token of ci has a hash that starts so "
        "(`mitmgate agent list` shows the hashes)"),
    "the hash of another agent": (
        ["ci", "--token-prefix", SHORT["three"]],
        "--token-prefix: no token of ci has a hash that starts so "
        "(`mitmgate agent list` shows the hashes)"),
    "a start that says too little": (
        ["ci", "--token-prefix", TOKENS["one"][:10]],
        "--token-prefix: is the start of a hash, as in sha256:4f1a "
        "(`mitmgate agent list` shows the hashes)"),
    "the algorithm alone": (
        ["ci", "--token-prefix", "sha256:"],
        "--token-prefix: is the start of a hash, as in sha256:4f1a "
        "(`mitmgate agent list` shows the hashes)"),
    "the token instead of its hash": (
        ["ci", "--token-prefix", "mg_one"],
        "--token-prefix: is the start of a hash, as in sha256:4f1a "
        "(`mitmgate agent list` shows the hashes)"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REVOKE_REFUSED.values(), ids=REVOKE_REFUSED)
def test_what_revoke_refuses(policy: Path, arguments: Sequence[str], message: str) -> None:
    assert refused(policy, "revoke", *arguments) == message


def test_a_start_that_several_hashes_have_is_refused(policy: Path) -> None:
    same = [f"sha256:{'a' * 60}{number:04d}" for number in range(2)]
    policy.write_text(f"version: 1\nagents: {{a: {{tokens: {json.dumps(same)}}}}}\n", "utf-8")
    assert refused(policy, "revoke", "a", "--token-prefix", "aaaa") == (
        "--token-prefix: 2 tokens of a have hashes that start so (give more of it)"
    )
    run("revoke", "a", "--token-prefix", same[1], "--policy", policy)
    assert agents(policy)["a"].tokens == (same[0],)


# --- list ----------------------------------------------------------------------------------


def test_list(policy: Path) -> None:
    assert run("list", "--policy", policy) == (
        "ci\n"
        f"    tokens  2: {SHORT['one']}, {SHORT['two']}\n"
        "    groups  bots\n"
        "laptop\n"
        f"    tokens  1: {SHORT['three']}\n"
        "    groups  none\n"
        "old\n"
        "    tokens  0: locked out\n"
        "    groups  none\n"
    )


def test_list_as_json(policy: Path) -> None:
    assert json.loads(run("list", "--json", "--state-dir", policy.parent)) == {
        "agents": [
            {"name": "ci", "groups": ["bots"], "tokens": [SHORT["one"], SHORT["two"]]},
            {"name": "laptop", "groups": [], "tokens": [SHORT["three"]]},
            {"name": "old", "groups": [], "tokens": []},
        ]
    }


def test_the_starter_names_no_agents(tmp_path: Path) -> None:
    nobody = "The policy names no agents. To name one: mitmgate agent add NAME\n"
    assert run("list", "--state-dir", tmp_path) == nobody
    assert json.loads(run("list", "--json", "--state-dir", tmp_path)) == {"agents": []}


def test_a_policy_that_is_not_there_is_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        run("list", "--policy", tmp_path / "none.yaml")
