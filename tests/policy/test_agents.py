"""Agents: names, token hashes, proxy credentials, and who is let in."""

from __future__ import annotations

import base64
import hmac
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.policy.agents import (
    MAX_GROUPS,
    MAX_HEADER,
    MAX_TOKENS,
    AgentEntry,
    AgentTable,
    Credentials,
    agents_in,
    credentials,
    hash_token,
    new_token,
    parse_agent_name,
    parse_token_hash,
)

URL_SAFE = frozenset(string.ascii_letters + string.digits + "-_")


def basic(pair: str | bytes, scheme: str = "Basic") -> str:
    raw = pair.encode() if isinstance(pair, str) else pair
    return f"{scheme} {base64.b64encode(raw).decode()}"


# --- names and hashes ----------------------------------------------------------------------

GOOD_NAMES = {
    "letters": "laptop",
    "a host name": "ci-runner.example.com",
    "a letter among the numbers": "10.0.0.x",
    "a number behind a word": "runner.1",
    "a short name that starts like a token": "mg_bot",
    "the longest name": "x" * 100,
}
BAD_NAMES = {
    "nothing": ("", "a name has 1 to 100"),
    "too long": ("x" * 101, "a name has 1 to 100"),
    "a colon, which ends the name in credentials": ("a:b", "a name has 1 to 100"),
    "a space": ("a b", "a name has 1 to 100"),
    "digits of another script": ("١٢", "a name has 1 to 100"),
    "an IPv4 address": ("10.0.0.1", "must not look like an IP address"),
    "an IPv4 address in short": ("127.1", "must not look like an IP address"),
    "an IPv4 address as one number": ("2130706433", "must not look like an IP address"),
    "an IPv4 address in hexadecimal": ("0x7F.0.0.1", "must not look like an IP address"),
    "an IPv4 address with a dot behind": ("10.0.0.1.", "must not look like an IP address"),
    "an IPv6 address": ("fe80::1", "a name has 1 to 100"),
}


@pytest.mark.parametrize("name", GOOD_NAMES.values(), ids=GOOD_NAMES)
def test_good_names(name: str) -> None:
    assert parse_agent_name(name) == name


@pytest.mark.parametrize(("name", "message"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_bad_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_agent_name(name)


def test_a_token_is_no_name_and_the_error_does_not_show_it() -> None:
    token = new_token()
    with pytest.raises(ValueError, match="must not look like a token") as caught:
        parse_agent_name(token)
    assert token not in str(caught.value)


def test_a_token_is_random_and_fits_into_a_url() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert (token[:3], len(token), URL_SAFE.issuperset(token)) == ("mg_", 35, True)


def test_a_hash_is_the_one_that_other_tools_make() -> None:
    # printf abc | sha256sum
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_token("abc") == f"sha256:{abc}"
    assert parse_token_hash(hash_token("abc")) == hash_token("abc")


BAD_HASHES: dict[str, Callable[[], str]] = {
    "nothing": str,
    "digits without the algorithm": lambda: hash_token("a").removeprefix("sha256:"),
    "capitals": lambda: "sha256:" + "A" * 64,
    "a digit too few": lambda: hash_token("a")[:-1],
    "a digit too many": lambda: hash_token("a") + "0",
    "another algorithm": lambda: "sha512:" + "0" * 64,
    "the token itself": new_token,
}


@pytest.mark.parametrize("make", BAD_HASHES.values(), ids=BAD_HASHES)
def test_bad_hashes(make: Callable[[], str]) -> None:
    text = make()
    with pytest.raises(ValueError, match="sha256: and 64 hex digits") as caught:
        parse_token_hash(text)
    assert not text or text not in str(caught.value)


# --- the part of the policy ----------------------------------------------------------------


def test_the_part_of_a_policy() -> None:
    one, two = hash_token("one"), hash_token("two")
    text = f"""\
version: 1
agents:
  ci-runner: {{tokens: ["{one}", "{two}"], groups: [bots]}}
  laptop: {{tokens: []}}
  phone: {{groups: [people]}}
"""
    assert agents_in(text, file="p.yaml") == {
        "ci-runner": AgentEntry(tokens=(one, two), groups=("bots",)),
        "laptop": AgentEntry(tokens=()),
        "phone": AgentEntry(groups=("people",)),
    }


def test_a_policy_without_the_part_has_no_agents() -> None:
    assert agents_in("version: 1", file="p.yaml") == {}


BAD_PARTS = {
    "an agent without a mapping": ("a: []", "p.yaml:1: agents.a: must be a mapping"),
    "one token is a list too": ('a: {tokens: "sha256:0"}', "p.yaml:1: agents.a.tokens: must be"),
    "an unknown key": (
        "a: {tokens: [], group: [x]}",
        "p.yaml:1: agents.a.group: unknown key (did you mean groups?)"),
    "a group is a name": (
        "a: {tokens: [], groups: ['a b']}", "p.yaml:1: agents.a.groups.0: a name has"),
    "too many tokens": (
        f"a: {{tokens: [{', '.join(['sha256:' + '0' * 64] * (MAX_TOKENS + 1))}]}}",
        "p.yaml:1: agents.a.tokens: an agent has at most 16 tokens"),
    "too many groups": (
        f"a: {{tokens: [], groups: [{', '.join(['g'] * (MAX_GROUPS + 1))}]}}",
        "p.yaml:1: agents.a.groups: an agent has at most 100 groups"),
    "an address": ("10.0.0.1: {tokens: []}", "must not look like an IP address"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "message"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_a_bad_part_is_refused_with_its_place(entry: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        agents_in(f"agents: {{{entry}}}", file="p.yaml")
    assert message in str(caught.value.problems[0])


def test_a_token_in_the_place_of_its_hash_is_not_shown_in_the_error() -> None:
    token = new_token()
    with pytest.raises(ConfigError) as caught:
        agents_in(f'agents: {{a: {{tokens: ["{token}"]}}}}', file="p.yaml")
    assert token not in str(caught.value)


# --- credentials ---------------------------------------------------------------------------

SHOWN: dict[str, tuple[str, Credentials]] = {
    "a name and a token": (basic("ci:abc"), Credentials("ci", hash_token("abc"))),
    "the scheme in any case": (basic("ci:abc", "bAsIc"), Credentials("ci", hash_token("abc"))),
    "several spaces": (basic("ci:abc", "Basic  "), Credentials("ci", hash_token("abc"))),
    "a colon in the token": (basic("ci:a:b"), Credentials("ci", hash_token("a:b"))),
    "a token beyond ASCII is UTF-8": (basic("ci:é"), Credentials("ci", hash_token("é"))),
}


@pytest.mark.parametrize(("header", "shown"), SHOWN.values(), ids=SHOWN)
def test_credentials(header: str, shown: Credentials) -> None:
    assert credentials(header) == shown


def test_no_header_is_no_credentials() -> None:
    assert credentials(None) is None


UNREADABLE = {
    "nothing": ("", "of the Basic scheme"),
    "another scheme": ("Bearer abc", "of the Basic scheme"),
    "a scheme that only starts so": (basic("ci:abc", "Basics"), "of the Basic scheme"),
    "the scheme alone": ("Basic", "not readable"),
    "no base64": ("Basic !!!!", "not readable"),
    "base64 of another alphabet": ("Basic -_-_", "not readable"),
    "two headers joined": (f"{basic('a:b')}, {basic('c:d')}", "not readable"),
    "signs that a lax decoder skips": (basic("ci:abc").replace("Y2", "Y!2"), "not readable"),
    "padding that is missing": (basic("ci:a").rstrip("="), "not readable"),
    "letters beyond ASCII": ("Basic é", "not readable"),
    "a lone surrogate": ("Basic \udc80", "not readable"),
    "no UTF-8": (basic(b"ci:\xff\xfe"), "not readable"),
    "no colon": (basic("ci"), "not readable"),
    "a line break": (basic("ci:a\nb"), "not readable"),
    "NUL": (basic("ci\0:ab"), "not readable"),
    "no token": (basic("ci:"), "have no token"),
    "no name": (basic(":abc"), "a name has 1 to 100"),
    "an address as the name": (basic("127.0.0.1:abc"), "must not look like an IP address"),
    "too long": ("Basic " + "A" * MAX_HEADER, "too long"),
}


@pytest.mark.parametrize(("header", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_credentials(header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        credentials(header)


def test_name_and_token_in_each_others_place_are_refused_and_not_shown() -> None:
    token = new_token()
    with pytest.raises(ValueError, match="write NAME:TOKEN") as caught:
        credentials(basic(f"{token}:ci"))
    assert token not in str(caught.value)


def test_the_longest_credentials_that_we_hand_out_are_taken() -> None:
    token = new_token()
    header = basic(f"{'x' * 100}:{token}")
    assert len(header) < MAX_HEADER
    assert credentials(header) == Credentials("x" * 100, hash_token(token))


@given(st.text() | st.binary().map(basic) | st.text().map(lambda text: f"Basic {text}"))
def test_any_header_gives_credentials_or_a_value_error(header: str) -> None:
    try:
        shown = credentials(header)
    except ValueError as error:
        assert type(error) is ValueError
        assert error.__context__ is None  # the error of a decoder carries what it decoded
    else:
        assert shown is not None
        assert parse_agent_name(shown.name) == shown.name


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=300))
def test_any_token_comes_back_as_its_hash_and_is_never_shown(token: str) -> None:
    shown = credentials(basic(f"ci:{token}"))
    assert shown == Credentials("ci", hash_token(token))
    assert repr(shown) == "Credentials(name='ci')"


# --- who is let in -------------------------------------------------------------------------

TABLE = AgentTable.of(
    {
        "ci": AgentEntry(tokens=(hash_token("old"), hash_token("new")), groups=("bots", "ci")),
        "laptop": AgentEntry(tokens=(hash_token("mine"),)),
        "gone": AgentEntry(tokens=(), groups=("bots",)),
    }
)
NOBODY = "sha256:" + "0" * 64

VERIFIED: dict[str, tuple[str, str, bool]] = {
    "the old token, while it is rotated": ("ci", hash_token("old"), True),
    "the new one": ("ci", hash_token("new"), True),
    "a wrong one": ("ci", hash_token("other"), False),
    "the token of somebody else": ("laptop", hash_token("old"), False),
    "an agent without tokens": ("gone", hash_token("old"), False),
    "an unknown name": ("nobody", hash_token("old"), False),
    "a name in capitals": ("CI", hash_token("old"), False),
    "what fills up the comparisons, by an unknown name": ("nobody", NOBODY, False),
    "what fills up the comparisons, by a known one": ("laptop", NOBODY, False),
    "the start of a hash": ("ci", hash_token("old")[:-1], False),
    "no ASCII": ("ci", "é\udc80", False),
}


@pytest.mark.parametrize(("name", "token_hash", "verified"), VERIFIED.values(), ids=VERIFIED)
def test_verify(name: str, token_hash: str, verified: bool) -> None:
    assert TABLE.verify(Credentials(name, token_hash)) is verified


def test_nobody_is_let_in_by_an_empty_table() -> None:
    empty = AgentTable.of({})
    assert not empty
    assert not empty.verify(Credentials("ci", hash_token("old")))
    assert not empty.verify(Credentials("ci", NOBODY))
    assert TABLE


@pytest.mark.parametrize("name", ["ci", "laptop", "gone", "nobody"])
@pytest.mark.parametrize("token", ["old", "new", "other"])
def test_every_name_costs_the_same_comparisons(
    name: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def count(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", count)
    TABLE.verify(Credentials(name, hash_token(token)))
    assert len(compared) == 2


def test_groups() -> None:
    assert TABLE.groups_of("ci") == frozenset({"bots", "ci"})
    assert TABLE.groups_of("laptop") == frozenset()
    assert TABLE.groups_of("nobody") == frozenset()


def test_no_hash_is_shown_by_the_table() -> None:
    assert hash_token("old") not in repr(TABLE)
