"""What the operators of ``where`` say about one JSON value: functions from a value to a Truth.

Those that read text as a server would (paths, hosts, addresses, commands) are ``UNSURE`` where
servers may read it in several ways. No test raises, and each takes linear time.
"""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final

import re2

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_authority, normalise_host
from mitmgate.net.domains import DomainSet, parse_domain_pattern
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.paths import Folders
from mitmgate.policy.shell import Reading, read_argv, read_command
from mitmgate.policy.syntax import Network, json_equal, parse_network
from mitmgate.policy.truth import Truth, agreed, truth_of

type Test = Callable[[Any], Truth]

MAX_GLOB = 256
MAX_PATTERN = 1_000
MAX_TEXT = 1 << 20
"""Characters of a string that a pattern or glob is tried on, as far as ``MAX_WORK`` allows."""
MAX_PROGRAM = 10_000
"""Instructions that RE2 may make of a pattern: ``.{900}`` takes 7,204, ``\\pL{9}`` 10,768."""
MAX_WORK = 1 << 27
"""Instructions times bytes of one search: a second at worst, where every instruction is active at
every byte (``a[ab]{500}c``). A pattern of 100 instructions has it for a text of a megabyte."""
MAX_ITEMS = 100_000
"""Items of an array that ``contains`` compares: 0.4 s where they are objects."""
# The states that RE2 keeps of each pattern: it is slower, never wrong, where they do not suffice.
_PATTERN_MEMORY = 1 << 20
_LONGEST_NETWORK = 64
_URL_ENDS: Final = ("/", "?", "#")
_SCHEME_CHARS: Final = frozenset(string.ascii_letters + string.digits + "+-.")


# --- compiling what a policy file says ------------------------------------------------------


def compile_pattern(text: str) -> re2.Pattern:
    """Return the RE2 pattern *text*, or raise ValueError saying what is wrong with it."""
    if not text or len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern has 1 to {MAX_PATTERN} characters")
    compiled = _compiled(text)
    if compiled.programsize > MAX_PROGRAM:
        raise ValueError(f"it is {compiled.programsize} instructions to RE2, and {MAX_PROGRAM} are "
                         "allowed; repeat less, or smaller classes of characters")  # fmt: skip
    return compiled


def _compiled(text: str) -> re2.Pattern:
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False  # it would print the pattern to standard error
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown reason"
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 refuses it: {words}") from None


def check_text_glob(text: str) -> str:
    """Return *text* if it is a glob over a text, which unlike one over a name may have blanks."""
    if not text or len(text) > MAX_GLOB:
        raise ValueError(f"a glob has 1 to {MAX_GLOB} characters")
    if any(char in "[]{}\\" for char in text):
        raise ValueError("bad glob: only * and ? are special, brackets and \\ are not supported; "
                         "list the texts instead, or write a pattern")  # fmt: skip
    if "**" in text:
        raise ValueError("bad glob: write one * where you wrote several")
    if not text.isprintable():
        raise ValueError("bad glob: control characters are not allowed; write a pattern")
    return text


def check_command_glob(text: str) -> str:
    """Return *text* if it is a glob over a command: words with one blank between them."""
    checked = check_text_glob(text)
    if text.split() != text.split(" "):
        raise ValueError("a command is matched as its words with one blank between them")
    return checked


# --- plain values -----------------------------------------------------------------------------


def equal_to(wanted: Any) -> Test:
    """Return the test for the JSON value *wanted*."""
    return lambda value: truth_of(json_equal(value, wanted))


def one_of(wanted: Sequence[Any]) -> Test:
    """Return the test for any of the JSON values *wanted*; texts cost one look-up."""
    texts = frozenset(one for one in wanted if isinstance(one, str))
    others = tuple(one for one in wanted if not isinstance(one, str))

    def test(value: Any) -> Truth:
        if isinstance(value, str):
            return truth_of(value in texts)
        return truth_of(any(json_equal(value, one) for one in others))

    return test


def of_type(names: Iterable[str]) -> Test:
    """Return the test for the JSON types *names*; ``1.0`` is an integer, as in JSON Schema."""
    wanted = frozenset(names)
    return lambda value: truth_of(not wanted.isdisjoint(_types(value)))


def _types(value: Any) -> tuple[str, ...]:
    match value:
        case None:
            return ("null",)
        case bool():
            return ("boolean",)
        case str():
            return ("string",)
        case int():
            return ("number", "integer")
        case float():
            return ("number", "integer") if value.is_integer() else ("number",)
        case Mapping():
            return ("object",)
        case _:
            return ("array",)


def compared(compare: Callable[[Any, Any], bool], bound: float) -> Test:
    """Return the test that *compare* holds between a number and *bound*, exactly.

    A text that begins like a number is unsure: some servers take ``"5"`` for 5, some do not.
    """

    def test(value: Any) -> Truth:
        if isinstance(value, str):
            return Truth.UNSURE if _like_number(value) else Truth.NO
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return truth_of(number and compare(value, bound))

    return test


def _like_number(text: str) -> bool:
    # Parsers differ in what may follow (1e3, 0x10, 1_000, 12 monkeys), so nothing is read on.
    bare = text.strip().lstrip("+-.")
    return bare[:1].isdigit() or bare[:3].lower() in ("inf", "nan")


def measured(compare: Callable[[Any, Any], bool], bound: int) -> Test:
    """Return the test that *compare* holds between a length and *bound*.

    Characters of texts, items of arrays and members of objects are counted.
    """

    def test(value: Any) -> Truth:
        return truth_of(isinstance(value, str | list | Mapping) and compare(len(value), bound))

    return test


def containing(wanted: Any) -> Test:
    """Return the test for a text, an array or an object that contains *wanted*."""

    def test(value: Any) -> Truth:
        if isinstance(value, list):
            if any(json_equal(item, wanted) for item in islice(value, MAX_ITEMS)):
                return Truth.YES
            return Truth.UNSURE if len(value) > MAX_ITEMS else Truth.NO
        within = isinstance(wanted, str) and isinstance(value, str | Mapping)
        return truth_of(within and wanted in value)

    return test


# --- texts ------------------------------------------------------------------------------------


def beginning_with(heads: Sequence[str]) -> Test:
    """Return the test for a text that begins with one of *heads*."""
    wanted = tuple(heads)
    return lambda value: truth_of(isinstance(value, str) and value.startswith(wanted))


def ending_with(tails: Sequence[str]) -> Test:
    """Return the test for a text that ends with one of *tails*."""
    wanted = tuple(tails)
    return lambda value: truth_of(isinstance(value, str) and value.endswith(wanted))


def matching(texts: Iterable[str]) -> Test:
    """Return the test for a text in which one of the patterns *texts* is found."""
    patterns = tuple(map(compile_pattern, texts))
    return lambda value: _found(patterns, value) if isinstance(value, str) else Truth.NO


def like(texts: Iterable[str]) -> Test:
    """Return the test for a text that one of the globs *texts* matches as a whole."""
    found = _glob_matcher(texts)
    return lambda value: found(value) if isinstance(value, str) else Truth.NO


def _glob_matcher(texts: Iterable[str]) -> Callable[[str], Truth]:
    globs = GlobSet.of(texts)
    # As RE2, for a Glob tries each ? at each place: that is for names, not for megabytes.
    patterns = tuple(_glob_pattern(glob.text) for glob in globs.globs)

    def found(text: str) -> Truth:
        return Truth.YES if text in globs.exact else _found(patterns, text)

    return found


def _glob_pattern(glob: str) -> re2.Pattern:
    wild = {"*": ".*", "?": "."}
    body = "".join(wild.get(char) or re2.escape(char) for char in glob)
    return _compiled(rf"(?s)\A{body}\z")


def _found(patterns: Iterable[re2.Pattern], text: str) -> Truth:
    if len(text) > MAX_TEXT:
        return Truth.UNSURE
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        return Truth.UNSURE  # half a surrogate pair has no bytes that RE2 could read
    truth = Truth.NO
    for pattern in patterns:
        if pattern.programsize * len(data) > MAX_WORK:
            truth = Truth.UNSURE
        elif pattern.search(data) is not None:
            return Truth.YES
    return truth


# --- what servers read ------------------------------------------------------------------------


def _read_by(read: Callable[[str], Truth]) -> Test:
    """Return *read* as a test; nobody knows what a server makes of a list in place of a text."""

    def test(value: Any) -> Truth:
        if isinstance(value, str):
            return read(value)
        return Truth.NO if value is None or isinstance(value, bool) else Truth.UNSURE

    return test


def path_in(folders: Iterable[str]) -> Test:
    """Return the test for a path within one of *folders* (see ``mitmgate.policy.paths``)."""
    return _read_by(Folders.of(folders).hold)


def host_among(patterns: Iterable[str]) -> Test:
    """Return the test for a URL or ``host[:port]`` whose host one of *patterns* means."""
    domains = DomainSet.of(map(parse_domain_pattern, patterns))

    def read(text: str) -> Truth:
        host = host_of(text)
        return Truth.UNSURE if host is None else truth_of(domains.matches(host))

    return _read_by(read)


def host_of(text: str) -> str | None:
    """Return the normalised host of the URL or ``host[:port]`` *text*, or None.

    None stands for all that two programs may take for two hosts: user information, blanks,
    backslashes, odd numbers for an address, a scheme without ``//``.
    """
    if "\\" in text or text.split(None, 1) != [text]:
        return None
    cut = _first_end(text, 0)
    head, start = text[:cut], 0
    if text.startswith("//", cut) and (not head or head.endswith(":")):
        if head and not (head[0].isalpha() and _SCHEME_CHARS.issuperset(head[:-1])):
            return None
        start = cut + 2
    authority = text[start : _first_end(text, start)]
    try:
        if start == 0 and authority.count(":") > 1 and not authority.startswith("["):
            return normalise_host(authority)
        return normalise_authority(authority).host
    except WireError:
        return None


def _first_end(text: str, start: int) -> int:
    places = [text.find(end, start) for end in _URL_ENDS]
    return min((place for place in places if place >= 0), default=len(text))


def address_in(networks: Iterable[str]) -> Test:
    """Return the test for an IP address, or a URL with one, within one of *networks*.

    A name is no address: what it resolves to is not asked here.
    """
    return _read_by(partial(_address_in, tuple(map(parse_network, networks))))


def _address_in(networks: tuple[Network, ...], text: str) -> Truth:
    asked = _network_of(text)
    if asked is not None:
        if asked.version == 6 and asked.network_address.ipv4_mapped:
            return Truth.UNSURE  # ::ffff:10.0.0.0/104 is no way that people write 10.0.0.0/8
        inside = any(_is_subnet(asked, network) for network in networks)
        overlapping = any(_is_subnet(network, asked) for network in networks)
        return Truth.UNSURE if overlapping and not inside else truth_of(inside)
    host = host_of(text)
    if host is None:
        return Truth.UNSURE
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Truth.NO
    return truth_of(any(address in network for network in networks))


def _network_of(text: str) -> Network | None:
    """Return the network that *text* spells, as scanners of networks take one: 10.0.0.0/8."""
    if "/" not in text or len(text) > _LONGEST_NETWORK:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_subnet(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _commands_of(text: str) -> Reading:
    return read_command(text) if len(text) > _LONGEST_KEPT else _read_once(text)


# A policy has many rules for the one command of a call, and reading it takes 0.2 ms.
_LONGEST_KEPT = 4096
_read_once = lru_cache(maxsize=32)(read_command)


def command_like(texts: Iterable[str]) -> Test:
    """Return the test for a command line, or an array of a program and its arguments.

    A line may run several commands. Only where all of them match is the answer yes, and only
    where none does, no: an allowing rule must not let ``git status; rm -rf /`` through for its
    first half, nor a denying one for its second.
    """
    found = _glob_matcher(texts)

    def judged(reading: Reading) -> Truth:
        truths = {found(command) for command in reading.commands}
        if not truths and not reading.unsure:
            return Truth.NO
        return Truth.UNSURE if reading.unsure else agreed(truths)

    def test(value: Any) -> Truth:
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            if len(value) != 1:
                return judged(read_argv(value))
            # A program's name, or a whole line as for Python's subprocess with shell=True.
            return agreed((judged(read_argv(value)), judged(_commands_of(value[0]))))
        return _read_by(lambda text: judged(_commands_of(text)))(value)

    return test
