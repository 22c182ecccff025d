"""Rules for ever decide as answers for a time do: the same calls, the same way."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mitmgate.hold.grants import Grants, NotCoveredError, Said, Scope
from mitmgate.hold.target import Target
from mitmgate.judge.ever import needs_hashes, rule_for
from mitmgate.policy.remembered import Remembered, RememberedRule

KEY = b"k" * 32
NONE = Remembered((), KEY)
NAMES = st.sampled_from(["*", "a?", "ab", "a"])
HASHES = st.sampled_from(["h1", "h2"])
MCP = st.builds(
    Target, agent=st.sampled_from(["me", "you"]), channel=st.just("mcp"),
    method=st.just("tools/call"), call=st.none() | HASHES, session=st.none(),
    server=st.sampled_from(["s", "t"]), tool=NAMES,
    arguments=st.none() | st.dictionaries(st.sampled_from(["x", "y"]), HASHES),
)  # fmt: skip
EGRESS = st.builds(
    Target, agent=st.just("me"), channel=st.just("egress"), method=st.sampled_from(["GET", "POST"]),
    call=st.none() | HASHES, session=st.none(), origin=st.sampled_from(["https://a:443", "b"]),
    path=st.none() | st.sampled_from(["/", "/x", "/x/y", "/x/y/z"]), url=HASHES,
)  # fmt: skip
SCOPES = st.builds(
    Scope, on=st.sampled_from(["call", "values", "tool", "server", "url", "prefix", "host"]),
    names=st.sampled_from([("x",), ("x", "y")]), prefix=st.sampled_from(["/x", "/x/y"]),
)  # fmt: skip


def rule_of(target: Target, scope: Scope, answer: str, number: int) -> RememberedRule:
    on, given, is_mcp = scope.on, target.arguments or {}, target.channel == "mcp"
    return RememberedRule(
        id=f"r{number}", then="allow" if answer == "allow" else "deny", covers=on,
        agent=target.agent, server=target.server if is_mcp else None,
        origin=None if is_mcp else target.origin,
        method=None if on in ("server", "host") else target.method,
        tool=target.tool if is_mcp and on in ("call", "values", "tool") else None,
        prefix=scope.prefix if on == "prefix" else None,
        call=NONE.keyed(target.call) if on == "call" and target.call else None,
        url=NONE.keyed(target.url) if on == "url" else None,
        values=tuple((n, NONE.keyed(given[n])) for n in scope.names) if on == "values" else (),
    )  # fmt: skip


@given(
    st.lists(
        st.tuples(MCP | EGRESS, SCOPES, st.sampled_from(["allow", "deny"])), min_size=1, max_size=6
    ),
    MCP | EGRESS,
)
def test_a_rule_decides_what_an_answer_for_a_time_would(
    said: list[tuple[Target, Scope, str]], target: Target
) -> None:
    grants, rules = Grants(), list[RememberedRule]()
    for number, (about, scope, answer) in enumerate(sorted(said, key=lambda one: one[2])):
        names = scope.names if scope.on == "values" else ()
        scope = Scope(scope.on, names, scope.prefix if scope.on == "prefix" else None)  # noqa: PLW2901
        try:
            grants.add(about, Said("allow" if answer == "allow" else "deny", scope, "x"), now=0.0)
        except NotCoveredError:
            continue
        rules.append(rule_of(about, scope, answer, number))
    remembered = Remembered(tuple(reversed(rules)), KEY)
    expected, found = grants.covering(target, now=0.0), rule_for(remembered, target)
    assert (None if found is None else found.then) == (
        None if expected is None else expected.answer
    )


def test_a_rule_that_looks_at_no_hash_needs_none() -> None:
    about = Target("me", "mcp", "tools/call", "h", server="s", tool="t", arguments={})
    tool = rule_of(about, Scope("tool"), "allow", 0)
    call = rule_of(about, Scope("call"), "deny", 1)
    coarse, fine = Remembered((tool,), KEY), Remembered((tool, call), KEY)
    assert (needs_hashes(coarse), needs_hashes(fine)) == (False, True)
    unknown = replace(about, call=None, arguments=None)
    assert rule_for(coarse, unknown) == tool
    assert rule_for(fine, unknown) == call  # it may be the call that was denied


def test_of_two_rules_for_the_same_calls_the_denial_counts() -> None:
    about = Target("me", "mcp", "tools/call", "h", server="s", tool="t", arguments={})
    allow, deny = (
        rule_of(about, Scope("tool"), word, n) for n, word in enumerate(("allow", "deny"))
    )
    for rules in ((allow, deny), (deny, allow)):
        assert rule_for(Remembered(rules, KEY), about) == deny
