"""HTTP headers that repeat a message's body (revision 2026-07-28, SEP-2243), and what they say.

Routers in between trust the header and the server the body: the two must agree, before an
edit and after it.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Notification, Request, Result
from mitmgate.wire.recognise import VERSION_KEY, header_values, is_modern, meta_version
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import escape_token, resolve_pointer

MOST_PARAMS = 128
"""A tool with more mirrored parameters is treated as one with a bad ``x-mcp-header``."""

_PARAM = "mcp-param-"
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


def header_mismatch(
    message: Message | Batch, headers: Headers, params: Mapping[str, str] | None = None
) -> str | None:
    """Say how the mirrored headers of a modern *message* differ from its body, or None.

    *params* are the :func:`param_headers` of the called tool; without them ``Mcp-Param-*`` is
    only refused when it is there twice, as intermediaries must forward what they do not know.
    Older revisions mirror nothing, and nothing is checked there.
    """
    if not is_modern(message, headers):
        return None
    match message:
        case Request():
            return _request_mismatch(message, headers, params or {})
        case Notification():
            return _mirror("Mcp-Method", message.method, headers, required=False)
        case Batch():
            return "revision 2026-07-28 has no batches"
        case Result() | Failure():
            return None


def _request_mismatch(request: Request, headers: Headers, params: Mapping[str, str]) -> str | None:
    members = request.params or {}
    version = meta_version(members)
    if version is None:
        return "the body does not name the protocol version of its header"
    checks = [("MCP-Protocol-Version", version), ("Mcp-Method", request.method)]
    name = members.get(_NAMED_BY.get(request.method, ""))
    if isinstance(name, str):
        checks.append(("Mcp-Name", name))
    found = [_mirror(shown, value, headers, required=True) for shown, value in checks]
    found.append(_repeated_param(headers))
    if request.method == "tools/call":
        arguments = members.get("arguments")
        found += [
            _param_mismatch(header, _argument(arguments, pointer), headers)
            for header, pointer in params.items()
        ]
    return next((problem for problem in found if problem is not None), None)


def _mirror(shown: str, expected: str, headers: Headers, *, required: bool) -> str | None:
    values = list(header_values(headers, shown.lower()))
    if not values:
        return f"the header {shown} is missing" if required else None
    if len(values) > 1:
        return f"the header {shown} is there {len(values)} times"
    if decode_value(values[0]) != expected:
        return f"the header {shown} differs from the body"
    return None


def _repeated_param(headers: Headers) -> str | None:
    names = Counter(name for name, _ in headers if name.startswith(_PARAM))
    twice = next((name for name, count in names.items() if count > 1), None)
    # One reader takes the first of them and the next reader the last.
    return None if twice is None else f"the header {_param_shown(twice)} is there more than once"


def _param_mismatch(header: str, value: Any, headers: Headers) -> str | None:
    written = next(header_values(headers, header), None)
    shown = _param_shown(header)
    if not _is_mirrored(value):
        return None if written is None else f"the header {shown} has no argument in the body"
    if written is None:
        return f"the header {shown} is missing"
    return None if _agrees(written, value) else f"the header {shown} differs from the body"


def _param_shown(header: str) -> str:
    # The rest of its name is the server's text, or the client's.
    return f"Mcp-Param-{header.removeprefix(_PARAM)[:64]}"


def _is_mirrored(value: Any) -> bool:
    """Say whether an argument of *value* has a header: null and what is no scalar have none."""
    return isinstance(value, (str, int, float))


def _agrees(written: str, value: str | float) -> bool:
    """Say whether the header value *written* stands for the JSON scalar *value*."""
    decoded = decode_value(written)
    if decoded is None:
        return False
    if decoded == _rendered(value):
        return True
    # 42.0 and 42 are one number: servers are told to compare them as numbers.
    number = not isinstance(value, (str, bool))
    return number and _is_decimal(decoded) and Decimal(decoded) == Decimal(str(value))


def _is_decimal(text: str) -> bool:
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole + fraction
    return bool(whole and (fraction or not point)) and digits.isascii() and digits.isdigit()


def _rendered(value: str | float) -> str:
    """Return the header form of a JSON scalar, before it is made safe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _argument(arguments: Any, pointer: str) -> Any:
    """Return what is at *pointer*, through objects only, as headers are defined; else None."""
    value = arguments
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


_OPEN, _CLOSE = "=?base64?", "?="


def decode_value(value: str) -> str | None:
    """Return what a header value stands for, None for one that can be read in two ways.

    ``=?base64?…?=`` holds UTF-8 in canonical base64; all else is visible ASCII, blank and tab.
    """
    if not (value.isascii() and value.replace("\t", " ").isprintable()):
        # Latin-1 to one reader, UTF-8 to the next.
        return None
    if not _is_packed(value):
        return value
    packed = value[len(_OPEN) : -len(_CLOSE)]
    try:
        data = base64.b64decode(packed, validate=True)
        text = data.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    # Stray bits after the last byte: some decoders refuse them, and some "=?base64?=" itself.
    canonical = base64.b64encode(data).decode() == packed
    return text if canonical and len(value) >= len(_OPEN) + len(_CLOSE) else None


def encode_value(text: str) -> str:
    """Return the header value that stands for *text*: itself, or its ``=?base64?…?=`` form."""
    plain = text.isascii() and text.isprintable() and text == text.strip(" ")
    if plain and not _is_packed(text):
        return text
    return f"{_OPEN}{base64.b64encode(text.encode()).decode()}{_CLOSE}"


def _is_packed(value: str) -> bool:
    return value.startswith(_OPEN) and value.endswith(_CLOSE)


def mirrored(
    message: Message | Batch, headers: Headers, params: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the headers that repeat *message* truly: name to JSON pointer in the message.

    An ``Mcp-Param-*`` that *params* (see :func:`param_headers`) do not name belongs to the one
    argument of its value, at any depth of objects; it is left out where there is none or two.
    """
    names = dict.fromkeys(name for name, _ in headers if name.startswith("mcp-"))
    if not isinstance(message, Request) or not names:
        return {}
    members, known = message.params or {}, params or {}
    arguments = members.get("arguments")
    scalars = _Scalars(arguments) if any(_is_unknown(name, known) for name in names) else None
    found: dict[str, str] = {}
    for name in names:
        values = set(header_values(headers, name))
        if len(values) > 1:
            continue
        (written,) = values
        if scalars is not None and _is_unknown(name, known):
            place = scalars.place(written)
        elif name in known:
            value = _argument(arguments, known[name])
            agrees = _is_mirrored(value) and _agrees(written, value)
            place = f"/params/arguments{known[name]}" if agrees else None
        else:
            place = _member_place(message, name, decode_value(written))
        if place is not None:
            found[name] = place
    return found


def _is_unknown(name: str, params: Mapping[str, str]) -> bool:
    return name.startswith(_PARAM) and name not in params


def _member_place(request: Request, name: str, decoded: str | None) -> str | None:
    """Return the place in *request* that one of the standard headers repeats."""
    members = request.params or {}
    if name == "mcp-method":
        return "/method" if decoded == request.method else None
    if decoded is None:
        return None
    if name == "mcp-protocol-version":
        named = meta_version(members) == decoded
        return f"/params/_meta/{escape_token(VERSION_KEY)}" if named else None
    if name == "mcp-name":
        own = _NAMED_BY.get(request.method)
        for member in (own,) if own is not None else ("name", "uri", "taskId"):
            if members.get(member) == decoded:
                return f"/params/{member}"
    return None


type _Chain = tuple[_Chain | None, str]


class _Scalars:
    """The scalar arguments of a call by their header forms: one pass for any number of headers."""

    def __init__(self, arguments: Any) -> None:
        self._places: dict[str | Decimal, set[_Chain]] = {}
        todo: list[tuple[_Chain | None, Any]] = [(None, arguments)]
        while todo:
            chain, item = todo.pop()
            if isinstance(item, Mapping):
                todo.extend(((chain, key), value) for key, value in item.items())
            elif chain is not None and _is_mirrored(item):
                self._add(chain, item)

    def place(self, written: str) -> str | None:
        """Return the JSON pointer of the one argument that *written* stands for, if it is one."""
        decoded = decode_value(written)
        if decoded is None:
            return None
        chains = self._places.get(decoded, set())
        if _is_decimal(decoded):
            chains = chains | self._places.get(Decimal(decoded), set())
        return _pointer(next(iter(chains))) if len(chains) == 1 else None

    def _add(self, chain: _Chain, value: str | float) -> None:
        keys: list[str | Decimal] = [_rendered(value)]
        if not isinstance(value, (str, bool)):
            keys.append(Decimal(str(value)))
        for key in keys:
            self._places.setdefault(key, set()).add(chain)


def _pointer(chain: _Chain | None) -> str:
    tokens = []
    while chain is not None:
        chain, key = chain
        tokens.append(escape_token(key))
    return "/".join(["/params/arguments", *reversed(tokens)])


def rewritten(before: Mapping[str, str], edited_text: str) -> dict[str, str]:
    """Return the header values that repeat *edited_text* at the places of *before*.

    *before* is what :func:`mirrored` said of the message as it came. ValueError where a place
    no longer holds what a header can carry: the old header must not go on beside it.
    """
    if not before:
        return {}
    value = parse_json(edited_text)
    return {name: encode_value(_scalar(value, pointer)) for name, pointer in before.items()}


def _scalar(document: Any, pointer: str) -> str:
    try:
        value = resolve_pointer(document, pointer)
    except KeyError:
        value = None
    if not _is_mirrored(value):
        raise ValueError("an edit took away what a header repeats")
    return _rendered(value)


_HEADER_KEY = "x-mcp-header"
_HEADER_TYPES = frozenset({"string", "integer", "boolean"})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
# Where JSON Schema 2020-12 has schemas inside schemas. The others hold data, in which the
# annotation means nothing.
_ONE_SCHEMA = frozenset(
    {
        "items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames",
        "unevaluatedProperties", "not", "if", "then", "else", "contentSchema",
    }
)  # fmt: skip
_SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAPS = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def param_headers(tool: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that a call of *tool* has to carry: lower-case name to JSON pointer.

    The pointers are relative to the arguments. A tool with a bad ``x-mcp-header`` anywhere has
    none: clients must not call it, and servers check nothing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for chain, schema in _schemas(tool.get("inputSchema")):
        if _HEADER_KEY not in schema:
            continue
        token = schema[_HEADER_KEY]
        name = _PARAM + token.lower() if isinstance(token, str) else ""
        if not chain or name in found or not _is_token(token) or not _is_header_type(schema):
            return {}
        found[name] = chain
        if len(found) > MOST_PARAMS:
            return {}
    return {
        name: "".join(f"/{escape_token(key)}" for key in chain) for name, chain in found.items()
    }


def _is_token(token: Any) -> bool:
    if not isinstance(token, str) or not token.isascii():
        return False
    return 0 < len(token) <= 256 and _TOKEN.issuperset(token.lower())


def _is_header_type(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return isinstance(kind, str) and kind in _HEADER_TYPES


def _schemas(root: Any) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Yield every schema in *root* with the property names that lead to it.

    None stands for a way that headers are not defined for: through arrays, choices, references.
    """
    todo: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while todo:
        chain, schema = todo.pop()
        if not isinstance(schema, Mapping):
            continue
        yield chain, schema
        for keyword, value in schema.items():
            if keyword == "properties" and isinstance(value, Mapping):
                todo.extend(
                    (None if chain is None else (*chain, name), inner)
                    for name, inner in value.items()
                )
            else:
                todo.extend((None, inner) for inner in _inner_schemas(keyword, value))


def _inner_schemas(keyword: str, value: Any) -> Iterable[Any]:
    if keyword in _ONE_SCHEMA:
        return (value,)
    if keyword in _SCHEMA_LISTS and isinstance(value, list):
        return value
    if keyword in _SCHEMA_MAPS and isinstance(value, Mapping):
        return value.values()
    return ()
