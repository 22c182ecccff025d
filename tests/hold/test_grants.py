"""Remembered answers: what each scope covers, for how long, and that a denial comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.hold.grants import Grants, GrantsFullError, NotCoveredError, Said, Scope
from mitmgate.hold.target import On, Target

PUSH = Target(
    agent="a", channel="mcp", method="tools/call", call="c1", session=1, server="files",
    tool="push", arguments={"repo": "h1", "branch": "h2"},
)  # fmt: skip
PAGE = Target(
    agent="a", channel="egress", method="GET", call="c9", origin="https://x:443",
    path="/a/b/c", url="u1", arguments={},
)  # fmt: skip


def covers(made_for: Target, scope: Scope, other: Target, answer: str = "allow") -> bool:
    grants = Grants()
    said = Said("deny" if answer == "deny" else "allow", scope, "x.0")
    grants.add(made_for, said, now=0.0)
    return grants.covering(other, now=0.0) is not None


NEXT_CALL = replace(PUSH, call="c2")
OTHER_VALUE = replace(NEXT_CALL, arguments={"repo": "h1", "branch": "other"})
OTHER_TOOL = replace(OTHER_VALUE, tool="delete")
OTHER_SERVER = replace(PUSH, server="mail")
OTHER_AGENT = replace(PUSH, agent="b")
OTHER_SESSION = replace(NEXT_CALL, session=2)

COVERED: dict[str, tuple[Target, Scope, Target]] = {
    "the exact call, again": (PUSH, Scope("call"), PUSH),
    "the exact call in another session": (PUSH, Scope("call"), replace(PUSH, session=2)),
    "the same values": (PUSH, Scope("values", ("branch", "repo")), NEXT_CALL),
    "the same value of one": (PUSH, Scope("values", ("repo",)), OTHER_VALUE),
    "the tool": (PUSH, Scope("tool"), OTHER_VALUE),
    "the server": (PUSH, Scope("server"), OTHER_TOOL),
    "the tool in this session": (PUSH, Scope("tool", session=1), NEXT_CALL),
    "the URL": (PAGE, Scope("url"), replace(PAGE, call="c8")),
    "a folder": (PAGE, Scope("prefix", prefix="/a"), replace(PAGE, path="/a/z/y", url="u")),
    "the host": (PAGE, Scope("host"), replace(PAGE, path="/z", method="PUT", url="u")),
}
NOT_COVERED: dict[str, tuple[Target, Scope, Target]] = {
    "another call": (PUSH, Scope("call"), NEXT_CALL),
    "another value": (PUSH, Scope("values", ("branch",)), OTHER_VALUE),
    "one argument less": (PUSH, Scope("values", ("branch",)), replace(PUSH, arguments={})),
    "another tool": (PUSH, Scope("tool"), OTHER_TOOL),
    "another tool with the same values": (
        PUSH, Scope("values", ("repo",)), replace(NEXT_CALL, tool="delete")),
    "another method with the same name": (PUSH, Scope("tool"), replace(PUSH, method="prompts/get")),
    "the same tool of another server": (PUSH, Scope("tool"), OTHER_SERVER),
    "another server": (PUSH, Scope("server"), OTHER_SERVER),
    "another agent": (PUSH, Scope("server"), OTHER_AGENT),
    "another agent's exact call": (PUSH, Scope("call"), OTHER_AGENT),
    "another session": (PUSH, Scope("tool", session=1), OTHER_SESSION),
    "no session": (PUSH, Scope("tool", session=1), replace(NEXT_CALL, session=None)),
    "a call that nobody hashed": (PUSH, Scope("call"), replace(PUSH, call=None)),
    "values that nobody hashed": (PUSH, Scope("values", ("repo",)), replace(PUSH, arguments=None)),
    "another URL": (PAGE, Scope("url"), replace(PAGE, url="u2")),
    "another method": (PAGE, Scope("url"), replace(PAGE, method="PUT")),
    "a folder that begins alike": (
        PAGE, Scope("prefix", prefix="/a/b"), replace(PAGE, path="/a/bc/d")),
    "the folder itself": (PAGE, Scope("prefix", prefix="/a/b"), replace(PAGE, path="/a/b")),
    "a folder on another port": (
        PAGE, Scope("prefix", prefix="/a"), replace(PAGE, origin="https://x:444")),
    "a folder with another method": (
        PAGE, Scope("prefix", prefix="/a"), replace(PAGE, method="PUT")),
    "a path that is read in several ways": (
        PAGE, Scope("prefix", prefix="/a"), replace(PAGE, path=None)),
    "another host": (PAGE, Scope("host"), replace(PAGE, origin="https://y:443")),
}  # fmt: skip


@pytest.mark.parametrize(("made_for", "scope", "other"), COVERED.values(), ids=COVERED)
def test_an_answer_covers(made_for: Target, scope: Scope, other: Target) -> None:
    assert covers(made_for, scope, other)
    assert covers(made_for, scope, other, "deny")


@pytest.mark.parametrize(("made_for", "scope", "other"), NOT_COVERED.values(), ids=NOT_COVERED)
def test_an_approval_does_not_cover(made_for: Target, scope: Scope, other: Target) -> None:
    assert not covers(made_for, scope, other)


UNKNOWN = {
    "a call that nobody hashed": (Scope("call"), PUSH, replace(PUSH, call=None)),
    "values of too many arguments": (
        Scope("values", ("repo",)), PUSH, replace(PUSH, call="c2", arguments=None)),
    "a path that is read in several ways": (
        Scope("prefix", prefix="/a"), PAGE, replace(PAGE, path=None)),
}  # fmt: skip


@pytest.mark.parametrize(("scope", "made_for", "other"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_denial_covers_also_what_may_be_the_same(
    scope: Scope, made_for: Target, other: Target
) -> None:
    assert covers(made_for, scope, other, "deny")
    for elsewhere in (replace(other, agent="b"), replace(other, method="x")):
        assert not covers(made_for, scope, elsewhere, "deny")


NOT_THERE: dict[str, tuple[Target, Scope]] = {
    "a host of MCP": (PUSH, Scope("host")),
    "a tool of egress": (PAGE, Scope("tool")),
    "an argument that is not there": (PUSH, Scope("values", ("nope",))),
    "no argument at all": (PUSH, Scope("values")),
    "an argument twice": (PUSH, Scope("values", ("repo", "repo"))),
    "very many arguments": (PUSH, Scope("values", tuple("abcdefghi"))),
    "a folder that the path is not in": (PAGE, Scope("prefix", prefix="/z")),
    "the root": (PAGE, Scope("prefix", prefix="")),
    "the exact call where there is none": (replace(PUSH, call=None), Scope("call")),
}


@pytest.mark.parametrize(("target", "scope"), NOT_THERE.values(), ids=NOT_THERE)
def test_there_is_nothing_to_remember_an_answer_for(target: Target, scope: Scope) -> None:
    grants = Grants()
    with pytest.raises(NotCoveredError):
        grants.add(target, Said("allow", scope, "x.0"), now=0.0)
    assert len(grants) == 0


def test_a_denial_comes_before_an_approval_however_narrow() -> None:
    grants = Grants()
    grants.add(PUSH, Said("allow", Scope("call"), "x.0"), now=0.0)
    denied = grants.add(PUSH, Said("deny", Scope("server"), "x.0"), now=0.0)
    assert grants.covering(PUSH, now=0.0) == denied


def test_of_two_approvals_the_narrower_one_is_named() -> None:
    grants = Grants()
    grants.add(PUSH, Said("allow", Scope("server"), "x.0"), now=0.0)
    narrow = grants.add(PUSH, Said("allow", Scope("values", ("repo",)), "x.0"), now=0.0)
    assert grants.covering(PUSH, now=0.0) == narrow


def test_a_newer_answer_of_the_same_scope_takes_the_place_of_the_older() -> None:
    grants = Grants()
    grants.add(PUSH, Said("deny", Scope("tool"), "x.0"), now=0.0)
    newer = grants.add(PUSH, Said("allow", Scope("tool"), "x.1"), now=0.0)
    assert grants.good(now=0.0) == (newer,)
    assert grants.covering(PUSH, now=0.0) == newer


def test_an_answer_for_a_time_ends() -> None:
    grants = Grants()
    made = grants.add(PUSH, Said("allow", Scope("tool"), "x.0", until=10.0), now=0.0)
    assert grants.next_end() == 10.0
    assert grants.covering(PUSH, now=9.99) == made
    assert grants.covering(PUSH, now=10.0) is None
    assert grants.expire(now=10.0) == [made]
    assert len(grants) == 0


def test_an_answer_that_was_undone_covers_nothing() -> None:
    grants = Grants()
    made = grants.add(PUSH, Said("allow", Scope("values", ("repo",)), "x.0"), now=0.0)
    assert grants.revoke(made.id) == made
    assert grants.covering(PUSH, now=0.0) is None
    assert grants.revoke(made.id) is None
    assert grants.get(made.id) is None


def test_no_answer_is_forgotten_to_make_room_for_another() -> None:
    grants = Grants(limit=2)
    kept = grants.add(PUSH, Said("deny", Scope("tool"), "x.0"), now=0.0)
    grants.add(PUSH, Said("allow", Scope("call"), "x.0", until=5.0), now=0.0)
    with pytest.raises(GrantsFullError):
        grants.add(PUSH, Said("allow", Scope("server"), "x.0"), now=0.0)
    assert grants.covering(PUSH, now=0.0) == kept
    grants.add(PUSH, Said("allow", Scope("server"), "x.0"), now=5.0)  # one ended meanwhile


TARGETS = st.builds(
    Target,
    agent=st.sampled_from("ab"),
    channel=st.just("mcp"),
    method=st.just("tools/call"),
    call=st.sampled_from(["c1", "c2"]),
    session=st.sampled_from([1, 2, None]),
    server=st.sampled_from(["s", "t"]),
    tool=st.sampled_from(["x", "y"]),
    arguments=st.fixed_dictionaries({"p": st.sampled_from("12"), "q": st.sampled_from("12")}),
)
SCOPES = st.builds(
    lambda on, session: Scope(on, ("p",) if on == "values" else (), None, session),
    st.sampled_from(["call", "values", "tool", "server"]), st.sampled_from([1, 2, None]),
)  # fmt: skip


def said_of(made_for: Target, scope: Scope, other: Target) -> bool:
    """Say what the words of the scope mean, without any table of keys."""
    parts: dict[On, bool] = {
        "server": made_for.server == other.server,
        "tool": (made_for.server, made_for.tool) == (other.server, other.tool),
        "values": (made_for.server, made_for.tool, (made_for.arguments or {})["p"])
        == (other.server, other.tool, (other.arguments or {})["p"]),
        "call": (made_for.server, made_for.tool, made_for.call)
        == (other.server, other.tool, other.call),
    }
    return (
        made_for.agent == other.agent and parts[scope.on] and scope.session in (None, other.session)
    )


@given(TARGETS, SCOPES, TARGETS)
def test_an_answer_covers_what_its_words_say(made_for: Target, scope: Scope, other: Target) -> None:
    assert covers(made_for, scope, other) == said_of(made_for, scope, other)


DEEP = replace(PAGE, path="/a/" + "/".join("bcdefghijklmnopqrstuvwxyz") + "/page")


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_an_answer_for_a_folder_covers_what_lies_very_deep_in_it(answer: str) -> None:
    assert covers(PAGE, Scope("prefix", prefix="/a"), DEEP, answer)
    assert not covers(PAGE, Scope("prefix", prefix="/a/b"), replace(DEEP, path="/a"), answer)


def test_a_folder_that_is_not_among_the_deepest_can_be_named() -> None:
    assert "/a" not in DEEP.prefixes
    assert covers(DEEP, Scope("prefix", prefix="/a"), PAGE)


def test_of_two_folders_the_deeper_one_is_named() -> None:
    grants = Grants()
    grants.add(PAGE, Said("allow", Scope("prefix", prefix="/a"), "x.0"), now=0.0)
    deeper = grants.add(PAGE, Said("allow", Scope("prefix", prefix="/a/b"), "x.0"), now=0.0)
    assert grants.covering(PAGE, now=0.0) == deeper
    grants.revoke(deeper.id)
    found = grants.covering(PAGE, now=0.0)
    assert found is not None
    assert found.scope.prefix == "/a"


@pytest.mark.parametrize(
    "scope", [Scope("tool"), Scope("values", ("repo",))], ids=["tool", "values"]
)
def test_an_answer_that_was_replaced_can_be_put_back(scope: Scope) -> None:
    grants = Grants()
    denied = grants.add(PUSH, Said("deny", scope, "x.0"), now=0.0)
    assert grants.same(PUSH, scope) == denied
    allowed = grants.add(PUSH, Said("allow", scope, "x.1"), now=0.0)
    grants.revoke(allowed.id)
    grants.restore(PUSH, denied)
    assert (grants.covering(PUSH, now=0.0), len(grants)) == (denied, 1)
    assert grants.revoke(denied.id) == denied


def test_what_was_said_for_a_session_ends_with_it() -> None:
    grants = Grants(limit=3)
    for session in (1, 2):
        grants.add(PUSH, Said("allow", Scope("tool", session=session), "x.0"), now=0.0)
    lasting = grants.add(PUSH, Said("allow", Scope("call"), "x.0"), now=0.0)
    grants.end_session(1)
    assert grants.covering(NEXT_CALL, now=0.0) is None
    assert grants.covering(OTHER_SESSION, now=0.0) is not None
    grants.end_session(2)
    assert grants.good(now=0.0) == (lasting,)
