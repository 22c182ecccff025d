"""What is wrong with a list of definitions as a whole: names, cross references, hidden text.

Pure functions over decoded results. The rules of the packs read single strings; what is looked
for here needs the list, or the names of other servers' tools, or characters that no pattern names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import re2

from mitmgate.scan.finding import Severity
from mitmgate.scan.patterns import encode, quiet_options
from mitmgate.scan.views.tables import CONFUSABLE
from mitmgate.wire.surfaces import Surface, Text, walk_json

MOST_FINDINGS = 500
"""So many findings are made of one result; a list that has more is no less refused."""
HUGE = 20_000
"""A description of more characters than this is reported: nobody reads it."""

_LISTS = ("tools", "prompts", "resources", "resourceTemplates")
_MOST_NAME = 128
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./")
_PROSE = frozenset({"description", "title", "instructions"})
_AROUND = 160
_MOST_NAMES = 2_000
_LONG_WORD = 5
_UNSEEN = frozenset({"Cf", "Mn", "Me", "Cc"})
_SPACES = str.maketrans("_./-", "    ")
_TWINS = str.maketrans("10i|", "loll")


@dataclass(frozen=True, slots=True)
class DefinitionFinding:
    """A hit in one string of a result.

    ``pointer`` is the JSON pointer of the string inside the result; where ``key`` is true, the
    hit is in the key that leads there. ``item`` is the name of the tool, prompt or resource that
    holds it, empty outside of one. ``start`` and ``end`` are offsets in code points.
    """

    rule: str
    severity: Severity
    pointer: str
    item: str
    start: int
    end: int
    key: bool = False


def examine(result: Any, *, others: Collection[str] = ()) -> list[DefinitionFinding]:
    """Return what is wrong in *result*, in document order within each check.

    *result* is the decoded result of ``tools/list``, ``prompts/list``, ``resources/list``,
    ``resources/templates/list`` or ``initialize``. *others* are the names of the tools of other
    servers that the same agent sees. Total on any JSON; time grows with the text. At most
    ``MOST_FINDINGS`` findings.
    """
    if not isinstance(result, Mapping):
        return []
    listed = _Listed(result, others)
    return list(islice(listed.findings(), MOST_FINDINGS))


class _Listed:
    """One result, its texts and the names that count."""

    def __init__(self, result: Mapping[str, Any], others: Collection[str]) -> None:
        self._texts = walk_json(Surface.DEFINITIONS, result)
        self._tools = _items(result, "tools")
        self._names = {
            (kind, index): name
            for kind in _LISTS
            for index, item in _items(result, kind)
            if (name := _name(item))
        }
        self._own = frozenset(name for (kind, _), name in self._names.items() if kind == "tools")
        self._others = frozenset(others) - self._own
        self._own_spelled = frozenset(encode(name) for name in self._own)
        self._others_spelled = frozenset(encode(name) for name in self._others)

    def findings(self) -> Iterator[DefinitionFinding]:
        yield from self._odd_names()
        yield from self._alike_names()
        for text in self._texts:
            yield from self._hidden(text)
            if not text.key:
                yield from self._cross_references(text)
        yield from self._harvesting_parameters()

    def _odd_names(self) -> Iterator[DefinitionFinding]:
        for index, tool in self._tools:
            name = tool.get("name")
            if isinstance(name, str) and not _is_plain(name):
                yield self._at("poisoning.odd-name", "low", f"/tools/{index}/name", name)

    def _alike_names(self) -> Iterator[DefinitionFinding]:
        # A tool is called by its name: one that looks like another's is called in its place.
        foreign, own, slips = _Shapes(self._others), _Shapes(()), _Slips(self._others)
        for index, tool in self._tools[:_MOST_NAMES]:
            name, place = _name(tool), f"/tools/{index}/name"
            if not name:
                continue
            if foreign.holds_double(name):
                yield self._at("poisoning.look-alike", "high", place, name)
            elif own.holds_double(name) or (name not in self._others and slips.holds_near(name)):
                yield self._at("poisoning.look-alike", "medium", place, name)
            own.add(name)

    def _hidden(self, text: Text) -> Iterator[DefinitionFinding]:
        data = encode(text.text)
        if (span := _first(_CONTROL, data)) is not None:
            yield self._found("poisoning.control-character", "medium", text, _points(data, span))
        if not data.isascii() and (span := _invisible_in(data)) is not None:
            yield self._found("poisoning.invisible-text", "high", text, _points(data, span))
        if (span := _first(_GAP, data)) is not None:
            yield self._found("poisoning.scrolled-away", "medium", text, _points(data, span))
        if len(text.text) > HUGE and not text.key and _leaf(text.pointer) in _PROSE:
            whole = (HUGE, len(text.text))
            yield self._found("poisoning.huge-description", "low", text, whole)

    def _cross_references(self, text: Text) -> Iterator[DefinitionFinding]:
        if _leaf(text.pointer) not in _PROSE:
            return
        data = encode(text.text)
        item = encode(self._item(text.pointer))
        for match in _TOKEN.finditer(data):
            start, end = match.span()
            word = data[start:end]
            foreign = word in self._others_spelled
            if not foreign and (word not in self._own_spelled or word == item):
                continue
            steering = _ORDERS if foreign else _TAMPERS
            if steering.search(data[max(0, start - _AROUND) : end + _AROUND]) is not None:
                yield self._found("poisoning.cross-tool", "high", text, _points(data, (start, end)))
                return

    def _harvesting_parameters(self) -> Iterator[DefinitionFinding]:
        for index, tool in self._tools:
            schema = tool.get("inputSchema")
            properties = schema.get("properties") if isinstance(schema, Mapping) else None
            if not isinstance(properties, Mapping):
                continue
            wanted = [
                key for key in properties if isinstance(key, str) and _plainly(key) in _HARVESTS
            ]
            if wanted and not _is_about_models(tool, properties):
                for key in wanted:
                    place = f"/tools/{index}/inputSchema/properties/{_token(key)}"
                    yield DefinitionFinding(
                        "poisoning.context-parameter",
                        "medium",
                        place,
                        _name(tool),
                        0,
                        len(key),
                        key=True,
                    )

    def _item(self, pointer: str) -> str:
        parts = pointer.split("/", 3)
        if len(parts) < 3 or not parts[2].isdecimal():
            return ""
        return self._names.get((parts[1], int(parts[2][:9])), "")

    def _at(self, rule: str, severity: Severity, pointer: str, value: str) -> DefinitionFinding:
        return DefinitionFinding(rule, severity, pointer, self._item(pointer), 0, len(value))

    def _found(
        self, rule: str, severity: Severity, text: Text, span: tuple[int, int]
    ) -> DefinitionFinding:
        item = self._item(text.pointer)
        return DefinitionFinding(rule, severity, text.pointer, item, *span, key=text.key)


class _Shapes:
    """Names by what a reader sees of them."""

    def __init__(self, names: Collection[str]) -> None:
        self._by_shape: dict[str, str] = {}
        for name in islice(sorted(names), _MOST_NAMES):
            self.add(name)

    def add(self, name: str) -> None:
        self._by_shape.setdefault(_shape(name), name)

    def holds_double(self, name: str) -> bool:
        """Tell whether another name looks like *name*; one that differs in case alone does not."""
        double = self._by_shape.get(_shape(name))
        return double is not None and double.casefold() != name.casefold()


class _Slips:
    """Names that one slip of the finger makes of others: a letter lost, doubled or swapped."""

    def __init__(self, names: Collection[str]) -> None:
        shapes = {_shape(name) for name in islice(sorted(names), _MOST_NAMES)}
        self._near = {key: shape for shape in shapes for key in (shape, *_shortened(shape))}

    def holds_near(self, name: str) -> bool:
        """Tell whether a slip inside of a long word parts *name* from another name."""
        shape = _shape(name)
        if self._near.get(shape) == shape:
            return False
        near = (self._near.get(key) for key in (shape, *_shortened(shape)))
        return any(other is not None and _is_slip(shape, other) for other in near)


def _shortened(shape: str) -> Iterator[str]:
    """Yield *shape* without one letter inside a long word.

    The ends of words are left alone: ``list_users`` is no slip of ``list_user``.
    """
    start = 0
    for word in shape.translate(_SPACES).split(" "):
        if len(word) >= _LONG_WORD:
            for at in range(start + 1, start + len(word) - 1):
                yield shape[:at] + shape[at + 1 :]
        start += len(word) + 1


def _is_slip(shape: str, other: str) -> bool:
    if len(shape) != len(other):
        return True
    differ = [at for at, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    # One letter for another makes other words too easily (state, stage); a swap does not.
    return len(differ) == 2 and sorted(shape[differ[0] :][:2]) == sorted(other[differ[0] :][:2])


def _shape(name: str) -> str:
    """Return *name* as it looks: without invisible letters, each in its plainest form."""
    if not name.isascii():
        plain = unicodedata.normalize("NFKD", name[:_MOST_NAME])
        name = "".join(
            CONFUSABLE.get(c, c) for c in plain if unicodedata.category(c) not in _UNSEEN
        )
    shape = name[:_MOST_NAME].lower().translate(_TWINS)
    return shape.replace("rn", "m").replace("vv", "w")


def _items(result: Mapping[str, Any], kind: str) -> list[tuple[int, Mapping[str, Any]]]:
    items = result.get(kind)
    if not isinstance(items, list | tuple):
        return []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, Mapping)]


def _name(item: Mapping[str, Any]) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else ""


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= _MOST_NAME and _NAME_LETTERS.issuperset(name)


def _leaf(pointer: str) -> str:
    return pointer.rpartition("/")[2]


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _plainly(key: str) -> str:
    return "".join(c for c in key[:_MOST_NAME].lower() if c.isalnum())


def _compiled(pattern: str) -> re2.Pattern:
    return re2.compile(pattern, quiet_options())


# Line breaks and tabs are all that a description needs of the control characters.
_CONTROL = _compiled(r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{80}-\x{84}\x{86}-\x{9f}]+")
_GAP = _compiled(
    r"(?: {100,}|\t{24,}|(?:[ \t]*\n){24,}[ \t]*|\x{3000}{40,}|\x{a0}{40,})[^\s\x{a0}]"
)
# Bidirectional overrides and isolates, tags, and letters that have no shape at all.
_NEVER = _compiled(
    r"[\x{202a}-\x{202e}\x{2066}-\x{2069}\x{e0000}-\x{e001f}\x{e0080}-\x{e00ff}\x{115f}\x{1160}"
    r"\x{3164}\x{ffa0}\x{fff9}-\x{fffb}\x{2061}-\x{2064}\x{206a}-\x{206f}]+"
    r"|[\x{e0020}-\x{e007f}]{2,}|[\x{e0100}-\x{e01ef}\x{fe00}-\x{fe0f}]{3,}"
)
_FLAG = "\U0001f3f4".encode()
# Joiners belong into Persian words and emoji, a space without width into long addresses: what
# cuts a Latin word does not.
_IN_WORD = _compiled(r"[A-Za-z][\x{200b}-\x{200f}\x{2060}\x{feff}\x{180e}\x{ad}]{1,}[A-Za-z]")
_CROWD = _compiled(r"[\x{200b}-\x{200f}\x{2060}\x{feff}]{8,}")
_SOFT = "\xad".encode()
_TOKEN = _compiled(r"[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)+|[a-z]+(?:[A-Z][a-z0-9]+)+")


def _first(pattern: re2.Pattern, data: bytes) -> tuple[int, int] | None:
    match = pattern.search(data)
    return None if match is None else match.span()


def _points(data: bytes, span: tuple[int, int]) -> tuple[int, int]:
    """Return *span* of the bytes of a text in code points."""
    start = len(data[: span[0]].decode("utf-8", "replace"))
    return start, start + len(data[span[0] : span[1]].decode("utf-8", "replace"))


def _invisible_in(data: bytes) -> tuple[int, int] | None:
    """Return the first run of characters in *data* that only a machine reads, in bytes."""
    for match in _NEVER.finditer(data):
        start, end = match.span()
        if not data.endswith(_FLAG, 0, start):  # flags of regions are spelled in tags
            return start, end
    for pattern in (_IN_WORD, _CROWD):
        for match in pattern.finditer(data):
            start, end = match.span()
            if _SOFT not in data[start:end]:  # hyphenation is harmless
                return start, end
    return None


_ORDERS = _compiled(
    r"(?i)\b(?:must|always|never|do not|don't|should|instead|before|after|whenever|when|every|each"
    r"|replace[sd]?|overrid\w+|change[sd]?|bcc|forward\w*|redirect\w*|ignore|first|also|call|use)\b"
)
_TAMPERS = _compiled(
    r"(?i)\b(?:bcc|secretly|silently|redirect(?:ed|s)?|intercept\w*|tamper\w*|hijack\w*"
    r"|(?:recipients?|address(?:es)?|amount|account|destination|remote|attendees?|iban|wallet)"
    r"\s+(?:\S+\s+){0,6}?(?:must|should|has to|have to)\s+(?:always\s+)?be\s+(?:changed|replaced"
    r"|set|redirected|altered)|overrides? the (?:behaviou?r|instructions|description) of"
    r"|(?:is|are|was) (?:compromised|malicious|hacked|infected)"
    r"|(?:change|replace|alter|swap)\s+(?:the|its|any|all)\s+(?:\S+\s+){0,3}?(?:recipients?"
    r"|destination|amount|account|iban|wallet|remote|attendees?))\b"
)

_HARVESTS = frozenset(
    {
        "allmessages", "availabletools", "chainofthought", "chathistory", "chatlog",
        "contextwindow",
        "conversation", "conversationcontext", "conversationhistory", "conversationlog",
        "developerprompt", "envvars", "environmentvariables", "fullcontext", "fullconversation",
        "hiddeninstructions", "initialprompt", "initialinstructions", "internalreasoning",
        "messagehistory", "modelinstructions", "previousconversation", "previousmessages",
        "promptcontext", "reasoningtrace", "sessiontranscript", "sidenote", "systeminstructions",
        "systemmessage", "systemprompt", "toolcallhistory", "toolhistory", "toollist",
        "usercredentials", "userpassword", "usersecrets",
    }
)  # fmt: skip
"""Names of parameters, letters only, that ask for what the model has and the tool does not need."""

_ABOUT = _compiled(
    r"(?i)\b(?:prompts?|chat\w*|conversations?|llms?|agents?|assistants?|models?|messages?|dialog\w*"
    r"|ai|completions?|threads?|inference|evaluat\w+|grades?|judge\w*|sampling|env|environment"
    r"|containers?|process|deploy\w*|transcripts?|login|log in|account|memory|memories|handoff)\b"
)


def _is_about_models(tool: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Tell whether *tool* says of itself that it works with chats, prompts or environments."""
    words = [tool.get("name"), tool.get("title"), tool.get("description")]
    words += [key for key in islice(properties, 64) if _plainly(str(key)) not in _HARVESTS]
    told = " ".join(word.replace("_", " ") for word in words if isinstance(word, str))
    return _ABOUT.search(encode(told[:HUGE])) is not None
