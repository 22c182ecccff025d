"""The file of remembered answers: what it may say, what is refused, and what loosens."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.load import load_policy, with_remembered
from mitmgate.policy.loosening import loosened
from mitmgate.policy.remembered import (
    MOST_RULES,
    Kept,
    Remembered,
    entry_of,
    key_name,
    keyed,
    parse_remembered,
)
from mitmgate.policy.source import PolicySource
from mitmgate.strictyaml.listing import with_item

KEY = b"k" * 32
HEAD = f'version: 1\nkey: "{key_name(KEY)}"\nrules:\n'
HASH = keyed(KEY, "x")
TOOL = "id: a, then: allow, covers: tool, agent: me, server: s, method: tools/call, tool: t"


def parse(*rules: str) -> Remembered:
    text = HEAD + "".join(f"  - {{{rule}}}\n" for rule in rules)
    return parse_remembered(text, key=KEY, file="r.yaml")


GOOD = {
    "a tool": TOOL,
    "a name that would be a glob": TOOL.replace("tool: t", 'tool: "*"'),
    "a call": f"{TOOL}, call: '{HASH}'".replace("covers: tool", "covers: call"),
    "a call without a tool": "id: a, then: deny, covers: call, agent: me, server: s, method: ping, "
    f"call: '{HASH}'",
    "values": f"{TOOL}, values: {{x: '{HASH}'}}".replace("covers: tool", "covers: values"),
    "a server": "id: a, then: deny, covers: server, agent: me, server: 'https://a.example:443/mcp'",
    "a URL": f"id: a, then: allow, covers: url, agent: me, origin: 'https://a.example:443', "
    f"method: GET, url: '{HASH}'",
    "a prefix": "id: a, then: allow, covers: prefix, agent: me, origin: 'https://a.example:443', "
    "method: GET, prefix: /x",
    "a host": "id: a, then: allow, covers: host, agent: me, origin: 'https://a.example:443'",
}


@pytest.mark.parametrize("rule", GOOD.values(), ids=GOOD)
def test_what_is_read_is_what_was_written(rule: str) -> None:
    remembered = parse(rule)
    text = with_item(HEAD, "rules", entry_of(remembered.rules[0]), file="r.yaml")
    assert parse_remembered(text, key=KEY, file="r.yaml").rules == remembered.rules


BAD = {
    "a rule that asks": (TOOL.replace("allow", "ask"), "then: must be 'allow' or 'deny'"),
    "what hides": (f"{TOOL}, hide: true", "hide: unknown key"),
    "what edits": (f"{TOOL}, redact: secrets", "redact: unknown key"),
    "what overrules findings": (f"{TOOL}, scan: {{secrets: log}}", "scan: unknown key"),
    "another phase": (f"{TOOL}, phase: result", "phase: unknown key"),
    "shadow mode": (f"{TOOL}, mode: shadow", "mode: unknown key"),
    "no agent": (TOOL.replace("agent: me, ", ""), "agent: this key is missing"),
    "no tool": (TOOL.replace(", tool: t", ""), "covers: tool needs tool"),
    "a condition that its scope does not have": (
        f"{TOOL}, values: {{x: '{HASH}'}}", "covers: tool would leave values out"),
    "a scope of the other kind": (
        TOOL.replace("covers: tool", "covers: host"), "covers: host goes with origin"),
    "both kinds": (f"{TOOL}, origin: x", "give one"),
    "a value in clear": (
        f"{TOOL}, values: {{x: secret}}".replace("covers: tool", "covers: values"), "hex digits"),
    "a prefix that can be read in two ways": (
        GOOD["a prefix"].replace("/x", "/x/../y"), "a prefix is a plain path"),
    "the whole host as a prefix": (GOOD["a prefix"].replace("/x", "/"), "a prefix is a plain path"),
    "the id of a built-in rule": (TOOL.replace("id: a", "id: otherwise"), "built-in"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "problem"), BAD.values(), ids=BAD)
def test_what_a_remembered_rule_cannot_say(rule: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(rule)
    assert problem in str(refused.value)


def test_ids_are_unique() -> None:
    with pytest.raises(ConfigError, match="already the id"):
        parse(TOOL, TOOL.replace("tool: t", "tool: u"))


def test_there_is_an_end_to_it() -> None:
    rules = [TOOL.replace("id: a", f"id: a{n}").replace("tool: t", f"tool: t{n}")
             for n in range(MOST_RULES + 1)]  # fmt: skip
    with pytest.raises(ConfigError, match="take some back"):
        parse(*rules)


def test_too_many_sets_of_arguments_of_one_tool() -> None:
    rules = [
        GOOD["values"].replace("id: a", f"id: a{n}").replace("{x:", f"{{x{n}:") for n in range(65)
    ]
    with pytest.raises(ConfigError, match="too many rules look at other arguments"):
        parse(*rules)


def test_hashes_of_another_key_are_told() -> None:
    with pytest.raises(ConfigError, match="another hash"):
        parse_remembered(HEAD, key=b"other", file="r.yaml")


LOOSENED = {
    "an allow that is new": ((), (TOOL,), ("remembered rule a is new and allows",)),
    "an allow that is gone": ((TOOL,), (), ()),
    "a deny that is new": ((), (GOOD["a server"],), ()),
    "a deny that is gone": ((GOOD["a server"],), (), ("remembered rule a is gone, it denied",)),
    "another id, and another note": ((TOOL,), (TOOL.replace("id: a", "id: b, note: x"),), ()),
    "another agent": (
        (TOOL,), (TOOL.replace("agent: me", "agent: you"),),
        ("remembered rule a is new and allows",)),
    "an allow that was a deny": (
        (TOOL.replace("allow", "deny"),), (TOOL,),
        ("remembered rule a is new and allows", "remembered rule a is gone, it denied")),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences"), LOOSENED.values(), ids=LOOSENED)
def test_changes_by_hand_that_loosen(
    old: tuple[str, ...], new: tuple[str, ...], sentences: tuple[str, ...]
) -> None:
    policy = load_policy("version: 1\n", file="p.yaml")
    before, now = with_remembered(policy, parse(*old)), with_remembered(policy, parse(*new))
    assert loosened(before, now) == sentences


def test_the_hash_of_the_policy_names_the_file_too(tmp_path: Path) -> None:
    source = PolicySource(None, kept=Kept(tmp_path / "r.yaml", KEY))
    plain, _ = source.read()
    assert plain.policy.hash == plain.policy.base
    (tmp_path / "r.yaml").write_text(f"{HEAD}  - {{{TOOL}}}\n")
    read, stamp = source.read()
    assert read.policy.remembered is not None
    assert read.policy.remembered.rules == parse(TOOL).rules
    assert (read.policy.base, read.policy.hash != plain.policy.hash) == (plain.policy.hash, True)
    assert str(tmp_path / "r.yaml") in {one[0] for one in stamp}
    assert with_remembered(read.policy, None).hash == plain.policy.hash


def test_a_broken_file_stops_the_reading(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\n")
    with pytest.raises(ConfigError):
        PolicySource(None, kept=Kept(tmp_path / "r.yaml", KEY)).read()


def test_the_key_is_not_shown() -> None:
    assert "kkkk" not in repr(parse(TOOL)) + repr(Kept(Path("x"), KEY))
