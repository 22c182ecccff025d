"""MCP servers that a request asks its receiver to call: found by their shape, in any JSON.

Model APIs let a client name MCP servers that the provider then calls itself, past every gate of
the client: OpenAI's Responses and Realtime APIs and those made after them (``tools`` items of type
``mcp``), Anthropic (``mcp_servers``, ``mcp_toolset``), Gemini (``mcpServers``, ``mcp_server``),
Mistral (``connector``), LM Studio (``integrations``). Keys count as the sloppiest parser reads
them. Pure; work is linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_authority
from mitmgate.wire.delegated_text import (
    SERVER_LISTS,
    ambiguous,
    documents,
    may_delegate,
    plain_key,
)
from mitmgate.wire.edit import Cut
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import escape_token

MOST_SERVERS = 64
_MOST_DEPTH = 16
LONGEST_LABEL = 100
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_URLS = ("serverurl", "serveruri", "url", "uri", "endpoint", "baseurl")
_LABELS = ("serverlabel", "name", "servername", "label", "id")
_CONNECTORS = ("connectorid", "projectconnectionid", "connectionid", "tunnelid", "serverid", "id",
               "serverlabel", "name")  # fmt: skip
_RESOLVED = frozenset(_CONNECTORS[:5])
_INNER = ("server", "transport", "streamablehttptransport", "ssetransport", "httptransport")
_SCHEMA = frozenset({"properties", "patternproperties", "$defs", "definitions", "enum"})
_TOOLS = frozenset({"tools", "integrations", "additionaltools"})
_NAMING = frozenset({"mcp", "mcpserver", "ephemeralmcp", "remotemcp", "hostedmcp", "mcpconnector",
                     "connector"})  # fmt: skip
_SAID = frozenset({"mcpcall", "mcplisttools", "mcpapprovalrequest", "mcpapprovalresponse",
                   "mcptooluse", "mcptoolresult", "mcptoolset"})  # fmt: skip
# Items of a conversation, and what was said to or by a tool there: data, whatever it looks like.
_PAST = frozenset({"tooluse", "toolresult", "servertooluse", "mcptooluse", "mcptoolresult",
                   "functioncall", "functioncalloutput", "functionresult", "customtoolcall",
                   "customtoolcalloutput", "mcpcall"})  # fmt: skip
_TALKS = frozenset({"content[]", "input[]", "output[]", "messages[]"})
_PAST_DATA = frozenset({"input", "arguments", "output", "content", "result"})
_CALLS_DATA = {"parts[]": frozenset({"functioncall", "functionresponse"}),
               "toolcalls[]": frozenset({"function", "args", "arguments"})}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delegation:
    """A server that the receiver shall call. ``pointer`` is where it is named (RFC 6901).

    ``url`` is as written; None for a ``connector`` that only the provider can resolve. ``label``
    is the name that the request gives it, ``refs`` are the other places that use that name.
    """

    pointer: str
    label: str
    url: str | None = None
    connector: str | None = None
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delegated:
    """What a body hands over. ``value`` is its JSON, None where it holds several documents."""

    servers: tuple[Delegation, ...] = ()
    value: Any = None


def delegations(text: str, *, json_type: bool = True) -> Delegated:
    """Return the servers that *text*, a body, asks its receiver to call.

    Several documents are read one by one. WireError ``ambiguous_delegation`` for a text that could
    name one and cannot be read in one way; *json_type*: its sender calls it JSON.
    """
    if not may_delegate(text):
        return Delegated()
    bare = text.lstrip("\ufeff")
    begins = bare.replace("\0", "").lstrip()[:1] in ("{", "[")
    if begins and "\0" in bare[:4]:
        # json.loads() of Python finds UTF-16 and UTF-32 by it (RFC 4627 section 3).
        raise ambiguous("it may name MCP servers in UTF-16 or UTF-32, which nothing declares")
    try:
        value = parse_json(bare) if begins else None
    except WireError as problem:
        return _of_several(bare, problem, strict=json_type or problem.code != "not_json")
    if not begins:
        return Delegated(_in_all(documents(bare)[0]))
    # Behind a second byte order mark nothing is edited.
    return Delegated(_found(value), value if bare == text else None)


def _of_several(text: str, problem: WireError, *, strict: bool) -> Delegated:
    values, alone = documents(text, lines_only=problem.code == "too_many_values")
    found = _in_all(values)
    if not alone and (strict or found):
        # Sloppy parsers stop after the first document, and others skip what is none.
        raise ambiguous(f"it may name MCP servers, and {problem}")
    return Delegated(found)


def _in_all(values: Iterable[Any]) -> tuple[Delegation, ...]:
    found: list[Delegation] = []
    for value in values:
        found += _found(value)
        if len(found) > MOST_SERVERS:
            raise ambiguous(f"it names more than {MOST_SERVERS} MCP servers")
    return tuple(found)


def endpoint_of(url: str) -> tuple[Endpoint, str]:
    """Return the endpoint that *url* names, and the URL as it may be shown: no query.

    WireError ``ambiguous_delegation`` for what two programs could read in two ways.
    """
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    odd = not url.isprintable() or any(char in url for char in ' \\"<>^`{|}')
    if odd or not mark or scheme not in _PORTS or len(url) > 8192:
        raise ambiguous("the URL of an MCP server cannot be read in one way")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    try:
        where = normalise_authority(rest[:end])
    except WireError:
        raise ambiguous("the host of an MCP server cannot be read in one way") from None
    path = rest[end:].partition("#")[0].partition("?")[0] or "/"
    plain = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    endpoint = Endpoint(plain, where.host, where.port or _PORTS[scheme], path)
    return endpoint, f"{plain}://{where}{path[:300]}"


def cuts(value: Any, servers: Iterable[Delegation]) -> tuple[Cut, ...]:
    """Return the changes that take *servers* and what refers to them out of the JSON *value*.

    A list or an object that nothing is left of goes with them.
    """
    gone: dict[str, None] = {}
    for server in servers:
        gone.update(dict.fromkeys((server.pointer, *server.refs)))
    return tuple(map(Cut, _emptied(value, gone)))


def _emptied(value: Any, gone: dict[str, None]) -> list[str]:
    sizes = {pointer: _size_at(value, _parent(pointer)) for pointer in gone}
    for depth in range(_MOST_DEPTH + 2, 1, -1):
        counts: dict[str, int] = {}
        for pointer in gone:
            if pointer.count("/") == depth:
                parent = _parent(pointer)
                counts[parent] = counts.get(parent, 0) + 1
                sizes.setdefault(pointer, _size_at(value, parent))
        for parent, count in counts.items():
            if parent and count == _size_at(value, parent):
                gone[parent] = None
                if parent.endswith("/tools"):
                    # To choose from no tools is a mistake to every provider.
                    gone.update(_choice_beside(value, parent))
    return [one for one in gone if not _lies_in(one, gone)]


def _choice_beside(value: Any, tools: str) -> dict[str, None]:
    parent = _at(value, _parent(tools))
    keys = parent if isinstance(parent, Mapping) else ()
    return {f"{_parent(tools)}/{key}": None for key in keys if key == "tool_choice"}


def _lies_in(pointer: str, gone: Mapping[str, None]) -> bool:
    while pointer := _parent(pointer):
        if pointer in gone:
            return True
    return False


def _parent(pointer: str) -> str:
    return pointer.rpartition("/")[0]


def _size_at(value: Any, pointer: str) -> int:
    found = _at(value, pointer)
    return len(found) if isinstance(found, (dict, list)) else 0


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(token)]
        else:
            value = value[token.replace("~1", "/").replace("~0", "~")]
    return value


@dataclass(frozen=True, slots=True)
class _Place:
    """A container of the document: its pointer, the folded name it stands under, its depth."""

    pointer: str
    name: str
    value: Any
    depth: int
    chosen: bool = False


def _found(value: Any) -> tuple[Delegation, ...]:
    found: list[Delegation] = []
    uses: list[tuple[str, str]] = []
    todo = [_Place("", "", value, 0)]
    while todo:
        place = todo.pop()
        if isinstance(place.value, Mapping):
            members = _folded(place.value)
            delegation = _delegation(place, members)
            if delegation is not None:
                found.append(delegation)
            elif (used := _use(place, members)) is not None:
                uses.append(used)
        elif isinstance(place.value, str):
            found += _named_alone(place)
        if len(found) > MOST_SERVERS:
            raise ambiguous(f"it names more than {MOST_SERVERS} MCP servers")
        if place.depth < _MOST_DEPTH:
            todo.extend(_children(place))
    return tuple(_with_refs(one, uses) for one in reversed(found))


def _with_refs(one: Delegation, uses: list[tuple[str, str]]) -> Delegation:
    refs = tuple(pointer for pointer, label in uses if label == one.label)
    return Delegation(one.pointer, one.label, one.url, one.connector, refs)


def _children(place: _Place) -> Iterator[_Place]:
    value, depth = place.value, place.depth + 1
    if isinstance(value, Mapping):
        by_name = place.name in SERVER_LISTS and not _is_item(place)
        data = _data_of(place)
        for key, item in value.items():
            name = plain_key(key)
            if name in data:
                continue
            chosen = place.chosen or name == "toolchoice"
            text_too = by_name and isinstance(item, str) and "://" in item
            # A schema that has a parameter of such a name hands over nothing.
            if (isinstance(item, (dict, list)) and name not in _SCHEMA) or text_too:
                # What stands in "mcpServers" by name is a server whatever its name is.
                under = place.name if by_name else name
                pointer = f"{place.pointer}/{escape_token(key)}"
                yield _Place(pointer, under, item, depth, chosen)
    elif isinstance(value, list):
        text_too = place.name in SERVER_LISTS or place.name == "integrations"
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)) or (text_too and isinstance(item, str)):
                yield _Place(f"{place.pointer}/{index}", f"{place.name}[]", item, depth,
                             place.chosen)  # fmt: skip


def _data_of(place: _Place) -> frozenset[str]:
    """Return the members of the object at *place* that are data of a tool, and ask for nothing."""
    if place.name not in _TALKS:
        return _CALLS_DATA.get(place.name, frozenset())
    kind = _folded(place.value).get("type")
    return _PAST_DATA if isinstance(kind, str) and plain_key(kind) in _PAST else frozenset()


def _is_item(place: _Place) -> bool:
    """Tell whether the object at *place* is itself a server: then its members are no servers."""
    members = _folded(place.value)
    return _url_of(members) is not None or isinstance(members.get("command"), str)


def _folded(members: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *members* under folded keys; one that is there twice becomes an ambiguous one."""
    folded: dict[str, Any] = {}
    for key, value in members.items():
        plain = plain_key(key)
        folded[plain] = _TWICE if plain in folded and plain in _READ else value
    return folded


_TWICE = object()
_READ = frozenset({*_URLS, *_LABELS, *_CONNECTORS, *_INNER, "type", "mcpservername"})


def _delegation(place: _Place, members: Mapping[str, Any]) -> Delegation | None:
    kind = members.get("type")
    kind = plain_key(kind) if isinstance(kind, str) else ""
    if place.name == "integrations[]" and "mcp" in plain_key(_first(members, ("id",)) or ""):
        kind = "mcp"
    owner = place.name.removesuffix("[]").removesuffix("[]")
    listed = owner in SERVER_LISTS and (place.name != owner or _is_item(place))
    in_tools = owner in _TOOLS and place.name != owner
    if kind == "connector" and not in_tools:
        kind = ""
    if kind in _SAID or not (listed or kind in _NAMING or "mcp" in kind
                             or (in_tools and "serverurl" in members)):  # fmt: skip
        return None
    url = _url_of(members)
    label = _first(members, _LABELS) or ("" if place.name != owner else _name_in(place.pointer))
    if url is not None:
        return Delegation(place.pointer, label[:LONGEST_LABEL], url)
    if place.chosen or not (listed or in_tools) or _is_local(kind, members):
        return None
    connector = _first(members, _CONNECTORS)
    return Delegation(place.pointer, label[:LONGEST_LABEL], None, connector or kind or "unnamed")


def _is_local(kind: str, members: Mapping[str, Any]) -> bool:
    """Tell whether a server with no URL is a program: settings of a client, nothing to call."""
    remote = "mcp" in kind or not members.keys().isdisjoint(_RESOLVED)
    return not remote and isinstance(members.get("command"), str)


def _name_in(pointer: str) -> str:
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _named_alone(place: _Place) -> Iterator[Delegation]:
    text: str = place.value
    if "://" in text:
        yield Delegation(place.pointer, text[:LONGEST_LABEL], text)
    elif place.name.startswith("mcpserverids") or "mcp" in plain_key(text):
        yield Delegation(place.pointer, text[:LONGEST_LABEL], None, text)


def _url_of(members: Mapping[str, Any]) -> str | None:
    found = _first(members, _URLS)
    if found is not None:
        return found
    for name in _INNER:
        inner = members.get(name)
        if isinstance(inner, Mapping) and (found := _first(_folded(inner), _URLS)) is not None:
            return found
    return None


def _first(members: Mapping[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        value = members.get(name)
        if value is _TWICE:
            raise ambiguous("a server of MCP is named with one key in two spellings")
        if isinstance(value, str) and value:
            return value
    return None


def _use(place: _Place, members: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the place of what uses a server by its label: an Anthropic toolset, a tool choice."""
    label = _first(members, ("mcpservername", "serverlabel"))
    kind = members.get("type")
    if label is None or not isinstance(kind, str):
        return None
    if place.chosen:
        head, choice, _ = _partition_choice(place.pointer)
        return f"{head}{choice}", label[:LONGEST_LABEL]
    return (place.pointer, label[:LONGEST_LABEL]) if plain_key(kind) == "mcptoolset" else None


def _partition_choice(pointer: str) -> tuple[str, str, str]:
    tokens = pointer.split("/")
    at = next(i for i, token in enumerate(tokens) if plain_key(token) == "toolchoice")
    return "/".join(tokens[:at]), f"/{tokens[at]}", "/".join(tokens[at + 1 :])
