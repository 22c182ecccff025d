"""What was seen of servers: exact for ordinary ones, bounded and total for hostile ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire import inventory as module
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import MOST_AGENTS, MOST_TOOLS, Inventory, SeenServer, Transport

INFO = {"name": "notes", "title": "Notes", "version": "1.2"}
META = "io.modelcontextprotocol/serverInfo"


def endpoint(number: int = 1) -> Endpoint:
    return Endpoint("https", "mcp.example", 443, f"/{number}")


def url(number: int = 1) -> str:
    return f"https://mcp.example/{number}"


def see(inventory: Inventory, number: int = 1, **changes: Any) -> None:
    """Let *inventory* see a message to a server; *changes* say what is special about it."""
    usual: dict[str, Any] = {
        "url": url(number), "agent": "a", "server": "notes", "now": 10.0,
        "transport": Transport.STREAMABLE_HTTP,
    }  # fmt: skip
    inventory.saw(endpoint(number), **{**usual, **changes})


def only(inventory: Inventory) -> SeenServer:
    [server] = inventory.seen()
    return server


def page(*names: object) -> dict[str, Any]:
    return {"tools": [{"name": name} for name in names]}


def test_a_message_makes_a_server_known() -> None:
    inventory = Inventory()
    assert inventory.seen() == ()
    see(inventory, protocol_version="2025-11-25", called=True)
    assert only(inventory) == SeenServer(
        url=url(), server="notes", name=None, title=None, version=None,
        protocol_versions=("2025-11-25",), transports=("streamable_http",), tools=(), tools_total=0,
        agents=("a",), agents_total=1, calls=1, first_seen=10.0, last_seen=10.0,
    )  # fmt: skip


def test_later_messages_add_to_it() -> None:
    inventory = Inventory()
    see(inventory, server=None)
    see(inventory, agent="b", transport=Transport.SSE, now=20.0, called=True)
    see(inventory, now=15.0, called=True)
    server = only(inventory)
    assert (server.agents, server.agents_total) == (("a", "b"), 2)
    assert server.transports == ("sse", "streamable_http")
    assert (server.first_seen, server.last_seen, server.calls) == (10.0, 20.0, 2)
    assert server.server == "notes"


def test_the_one_last_seen_comes_first() -> None:
    inventory = Inventory()
    for number, now in ((1, 1.0), (2, 3.0), (3, 2.0), (4, 3.0)):
        see(inventory, number, now=now)
    assert [server.url for server in inventory.seen()] == [url(n) for n in (4, 2, 3, 1)]


INTRODUCTIONS: dict[str, dict[str, Any]] = {
    "initialize": {"protocolVersion": "2025-11-25", "serverInfo": INFO},
    "server/discover": {"supportedVersions": ["2025-11-25"], "_meta": {META: INFO}},
    "both, and the newer one counts": {
        "protocolVersion": "2025-11-25", "serverInfo": {"name": "old"}, "_meta": {META: INFO},
    },
}  # fmt: skip


@pytest.mark.parametrize("result", INTRODUCTIONS.values(), ids=INTRODUCTIONS)
def test_a_server_says_what_it_is(result: dict[str, Any]) -> None:
    inventory = Inventory()
    see(inventory, protocol_version="2099-01-01")
    inventory.introduced(endpoint(), result)
    server = only(inventory)
    assert (server.name, server.title, server.version) == ("notes", "Notes", "1.2")
    assert server.protocol_versions == ("2025-11-25",)  # what it said, not what it was asked


def test_a_new_introduction_replaces_the_name_and_adds_the_revision() -> None:
    inventory = Inventory()
    see(inventory)
    inventory.introduced(endpoint(), {"protocolVersion": "2025-06-18", "serverInfo": INFO})
    inventory.introduced(
        endpoint(), {"protocolVersion": "2025-03-26", "serverInfo": {"name": "new"}}
    )
    server = only(inventory)
    assert (server.name, server.title, server.version) == ("new", None, None)
    assert server.protocol_versions == ("2025-03-26", "2025-06-18")


ODD_INTRODUCTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a name that is no text": {"serverInfo": {"name": 1}},
    "an empty name": {"serverInfo": {"name": ""}},
    "information that is no object": {"serverInfo": ["notes"], "_meta": {META: "notes"}},
    "a _meta that is no object": {"_meta": 3},
    "versions that are no texts": {"protocolVersion": 1, "supportedVersions": [None, {}]},
    "versions that are no list": {"supportedVersions": "2025-11-25"},
}


@pytest.mark.parametrize("result", ODD_INTRODUCTIONS.values(), ids=ODD_INTRODUCTIONS)
def test_an_odd_introduction_changes_nothing(result: dict[str, Any]) -> None:
    inventory = Inventory()
    see(inventory)
    before = inventory.revision, inventory.seen()
    inventory.introduced(endpoint(), result)
    assert (inventory.revision, inventory.seen()) == before


def test_the_first_page_of_tools_replaces_and_the_others_add() -> None:
    inventory = Inventory()
    see(inventory)
    inventory.listed(endpoint(), page("old"), first=True)
    inventory.listed(endpoint(), page("a", "b"), first=True)
    inventory.listed(endpoint(), page("b", "c"), first=False)
    assert (only(inventory).tools, only(inventory).tools_total) == (("a", "b", "c"), 3)
    inventory.listed(endpoint(), page(), first=True)
    assert (only(inventory).tools, only(inventory).tools_total) == ((), 0)


ODD_PAGES: dict[str, dict[str, Any]] = {
    "no tools": {},
    "tools that are no list": {"tools": {"name": "a"}},
}


@pytest.mark.parametrize("result", ODD_PAGES.values(), ids=ODD_PAGES)
def test_a_page_without_tools_changes_nothing(result: dict[str, Any]) -> None:
    inventory = Inventory()
    see(inventory)
    inventory.listed(endpoint(), page("a"), first=True)
    before = inventory.revision, inventory.seen()
    inventory.listed(endpoint(), result, first=True)
    assert (inventory.revision, inventory.seen()) == before


def test_tools_without_a_name_are_left_out() -> None:
    inventory = Inventory()
    see(inventory)
    inventory.listed(endpoint(), {"tools": [1, {}, {"name": None}, {"name": "a"}]}, first=True)
    assert (only(inventory).tools, only(inventory).tools_total) == (("a",), 1)


def test_an_endpoint_that_was_never_seen_says_nothing() -> None:
    inventory = Inventory()
    inventory.introduced(endpoint(), {"serverInfo": INFO})
    inventory.listed(endpoint(), page("a"), first=True)
    assert (inventory.seen(), inventory.revision) == ((), 0)


def test_the_revision_counts_what_is_new_and_no_calls() -> None:
    inventory = Inventory()
    introduction = {"protocolVersion": "2025-11-25", "serverInfo": INFO}
    steps: dict[str, Callable[[], None]] = {
        "the first message": lambda: see(inventory),
        "another agent": lambda: see(inventory, agent="b"),
        "another name in the policy": lambda: see(inventory, server=None),
        "another transport": lambda: see(inventory, server=None, transport=Transport.SSE),
        "another revision": lambda: see(inventory, server=None, protocol_version="2025-06-18"),
        "an introduction": lambda: inventory.introduced(endpoint(), introduction),
        "tools": lambda: inventory.listed(endpoint(), page("a"), first=True),
    }
    for what, step in steps.items():
        for news in (True, False):
            before = inventory.revision
            step()
            assert (inventory.revision > before) == news, what
    before = inventory.revision
    see(inventory, server=None, now=99.0, called=True)
    assert inventory.revision == before


def test_the_server_longest_unseen_is_forgotten_first() -> None:
    inventory = Inventory(limit=2)
    for number in (1, 2, 1, 3):
        see(inventory, number)
    assert {server.url for server in inventory.seen()} == {url(1), url(3)}
    see(inventory, 2, agent="b")  # and it begins anew when it comes again
    assert inventory.seen()[0].agents == ("b",)


def test_an_inventory_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Inventory(limit=0)


def test_texts_are_cut_and_whole() -> None:
    inventory = Inventory()
    see(inventory, agent="a" * 300, url="https://x/" + "p" * 3000, protocol_version="9" * 100)
    info = {"name": "n" * 300, "title": "\ud800" * 3, "version": "v" * 300}
    inventory.introduced(endpoint(), {"serverInfo": info})
    inventory.listed(endpoint(), page("t" * 300, "\udfff"), first=True)
    server = only(inventory)
    assert (server.name, server.title, server.version) == ("n" * 200, "???", "v" * 200)
    assert (server.agents, server.tools) == (("a" * 200,), ("t" * 200, "?"))
    assert (len(server.url), server.protocol_versions) == (1000, ("9" * 40,))


def test_only_the_first_tools_are_kept_and_all_are_counted() -> None:
    inventory = Inventory()
    see(inventory)
    inventory.listed(endpoint(), page(*map(str, range(5000))), first=True)
    inventory.listed(endpoint(), page("0", "x", "y"), first=False)
    server = only(inventory)
    assert server.tools == tuple(map(str, range(MOST_TOOLS)))
    assert server.tools_total == 5002


def test_only_the_first_agents_are_kept_and_a_thousand_are_counted() -> None:
    inventory = Inventory()
    for number in [*range(1500), *range(1500)]:
        see(inventory, agent=str(number))
    server = only(inventory)
    assert server.agents == tuple(map(str, range(MOST_AGENTS)))
    assert server.agents_total == 1000
    before = inventory.revision
    see(inventory, agent="one more")
    assert inventory.revision == before


def test_the_last_ten_revisions_are_kept() -> None:
    inventory = Inventory()
    for number in range(30):
        see(inventory, protocol_version=f"20{number:02}-01-01")
    assert only(inventory).protocol_versions == tuple(f"20{n}-01-01" for n in range(20, 30))


def test_many_servers_with_many_tools_have_a_bound_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 10)
    inventory = Inventory()
    for number in range(5):
        see(inventory, number)
        inventory.listed(endpoint(number), page("a", "b", "c"), first=True)
        inventory.listed(endpoint(number), page("a", "b", "c", "d"), first=True)
    assert [(server.url, len(server.tools)) for server in inventory.seen()] == [
        (url(4), 4), (url(3), 4),
    ]  # fmt: skip
    restored = Inventory(seen=[*inventory.seen(), seen_before(9, tools=("a", "b", "c"))])
    assert len(restored.seen()) == 2


def test_the_same_endpoint_stays_one_server_when_its_url_is_shown_redacted() -> None:
    inventory = Inventory()
    see(inventory)
    see(inventory, url="https://mcp.example/[redacted]", called=True)
    assert (only(inventory).url, only(inventory).calls) == (url(), 1)


def test_endpoints_that_are_shown_alike_are_one_server() -> None:
    inventory = Inventory()
    for number in (1, 2):
        see(inventory, number, url="https://mcp.example/[redacted]", called=True)
    assert only(inventory).calls == 2


def test_endpoints_that_are_shown_alike_have_a_bound_too() -> None:
    inventory = Inventory(limit=2)
    for number in (1, 2, 3):
        see(inventory, number, url="https://mcp.example/[redacted]")
    inventory.introduced(endpoint(1), {"serverInfo": INFO})
    assert only(inventory).name is None
    inventory.introduced(endpoint(3), {"serverInfo": INFO})
    assert only(inventory).name == "notes"


def seen_before(number: int = 1, **changes: Any) -> SeenServer:
    usual: dict[str, Any] = {
        "url": url(number), "server": "notes", "name": "n", "title": None, "version": "1",
        "protocol_versions": ("2025-06-18",), "transports": ("sse",), "tools": ("a",),
        "tools_total": 1, "agents": ("z",), "agents_total": 1, "calls": 5, "first_seen": 1.0,
        "last_seen": 2.0,
    }  # fmt: skip
    return SeenServer(**{**usual, **changes})


def test_what_an_earlier_run_saw_goes_on() -> None:
    earlier = seen_before()
    inventory = Inventory(seen=[earlier])
    assert (inventory.seen(), inventory.revision) == ((earlier,), 0)
    see(inventory, called=True, protocol_version="2099-01-01")
    server = only(inventory)
    assert (server.first_seen, server.last_seen, server.calls) == (1.0, 10.0, 6)
    assert (server.agents, server.tools, server.name) == (("z", "a"), ("a",), "n")
    assert server.protocol_versions == ("2025-06-18",)


def test_what_was_only_asked_of_a_server_gives_way_to_what_it_says() -> None:
    inventory = Inventory(seen=[seen_before(name=None)])
    assert only(inventory).protocol_versions == ("2025-06-18",)
    see(inventory)
    inventory.introduced(endpoint(), {"protocolVersion": "2025-11-25"})
    assert only(inventory).protocol_versions == ("2025-11-25",)


def test_the_agents_of_an_earlier_run_are_not_counted_twice() -> None:
    agents = tuple(map(str, range(MOST_AGENTS)))
    inventory = Inventory(seen=[seen_before(agents=agents, agents_total=150)])
    for number in range(MOST_AGENTS, 150):
        see(inventory, agent=str(number))
    assert only(inventory).agents_total == 150
    see(inventory, agent="new")
    assert only(inventory).agents_total == 151


def test_what_this_run_saw_stays_when_an_earlier_one_is_restored() -> None:
    inventory = Inventory(limit=3)
    see(inventory)
    inventory.restore([seen_before(number, last_seen=float(number)) for number in range(1, 6)])
    assert [server.url for server in inventory.seen()] == [url(n) for n in (1, 5, 4)]
    see(inventory, 6)  # the restored ones are the older ones
    assert [server.url for server in inventory.seen()] == [url(n) for n in (6, 1, 5)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
        ["tools", "name", "serverInfo", "_meta", META, "protocolVersion", "supportedVersions",
         "title", "version"]), inner),
)  # fmt: skip
RESULT = st.dictionaries(
    st.sampled_from(["tools", "serverInfo", "_meta", "protocolVersion", "supportedVersions"]), JSON
)
STEP = st.tuples(st.sampled_from(["saw", "introduced", "first", "later"]), st.integers(0, 4),
                 RESULT, st.text(max_size=3))  # fmt: skip


@given(st.lists(STEP, max_size=30))
def test_anything_can_be_said_and_what_is_restored_is_what_was_seen(
    steps: list[tuple[str, int, dict[str, Any], str]],
) -> None:
    inventory = Inventory(limit=3)
    for kind, number, result, text in steps:
        if kind == "saw":
            see(inventory, number, agent=text, protocol_version=text, now=float(number))
        elif kind == "introduced":
            inventory.introduced(endpoint(number), result)
        else:
            inventory.listed(endpoint(number), result, first=kind == "first")
    seen = inventory.seen()
    assert len(seen) <= 3
    for server in seen:
        str(server).encode()
        assert server.tools_total >= len(set(server.tools)) == len(server.tools)
        assert server.agents_total >= len(server.agents)
    assert sorted(map(str, Inventory(limit=3, seen=seen).seen())) == sorted(map(str, seen))
