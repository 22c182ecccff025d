"""What a capture and the files beside it must not hold: looks for secrets that are left in them.

Read-only. What is found is told by its place and rule, never by its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import re2

from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.record.capture import GOLDEN_SUFFIX, golden_path
from mitmgate.record.digits import is_long, is_stand_in_number
from mitmgate.record.folders import files_below
from mitmgate.record.meta import META_SUFFIX, check_sums, meta_path, read_meta
from mitmgate.record.places import is_secret_pointer
from mitmgate.record.scrub import Scans
from mitmgate.record.sensitive import is_sensitive, secret_values
from mitmgate.record.views import views
from mitmgate.scan.finding import Finding
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, Text

_LONGEST = 16 * 1024 * 1024
_LARGEST_HAR = 256 * 1024 * 1024
_SUFFIXES = (".jsonl", ".har", META_SUFFIX)
_BY_PLACE = "secret-by-place"
_HIDDEN = frozenset({"secrets", "canary"})
_CREDENTIALS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "mcp-session-id", "x-api-key",
     "last-event-id"}
)  # fmt: skip
# What stands for a secret, and what redaction puts between two of them.
_PLACEHOLDER = re2.compile(
    r"\[[a-z0-9][a-z0-9._-]*(:[a-z0-9+-]+)*\]|opaque\.[0-9]+|\[redacted\]|\[withheld\]"
)
_MOST_FOUND = 1_000
_DEEPEST = 3  # documents within strings of documents


@dataclass(frozen=True, slots=True)
class Leak:
    """Something left: ``pointer`` is where in the JSON value on ``line`` (from 1), ``rule`` what.

    The rule is ``secret-by-place`` where no rule knows the value but a name before it does.
    """

    file: Path
    line: int
    pointer: str
    rule: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.pointer or '/'}: {self.rule}"


@dataclass(slots=True)
class Looked:
    """What was found in ``files`` files; ``problems`` are files that could not be read."""

    files: int = 0
    found: list[Leak] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 nothing, 1 something is left, 2 a file cannot be read."""
        if self.problems:
            return 2
        return 1 if self.found else 0


_IDS = re2.compile(r'((?:progressToken|requestId)\\*"\s*:\s*\\*")[^"\\]*')
"""What a client numbers its messages with, often a UUID: no secret for the name before it.

The value itself is looked at all the same.
"""


def files_in(path: Path) -> list[Path]:
    """Return the files that *path* names: itself, or those of a folder that can be looked at.

    Of a folder those in the folders below it, too; ConfigError where there are none.
    """
    if not path.exists():
        raise ConfigError(Problem("there is no such file or folder", file=str(path)))
    if not path.is_dir():
        return [path]
    try:
        files = [file for file in files_below(path) if file.name.endswith(_SUFFIXES)]
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    if not files:
        raise ConfigError(
            Problem("no captures in this folder", file=str(path),
                    hint="name a folder of captures, or files")
        )  # fmt: skip
    return files


def look_at(files: Iterable[Path], scanner: Scans) -> Looked:
    """Look into captures, golden, meta and HAR files for what should not be in them.

    A capture, its golden and its meta file belong together: whichever of them is named, all are
    looked at, once, and the sums of the meta file are checked.
    """
    looked = Looked()
    for capture, together in _together(files).items():
        before = len(looked.problems)
        for file in together:
            looked.files += 1
            try:
                looked.found += islice(_leaks(file, scanner), _MOST_FOUND - len(looked.found))
            except (ConfigError, OSError) as error:
                looked.problems += _problems(error, file)
        if len(looked.problems) == before:
            try:
                _check_sums(capture)
            except (ConfigError, OSError) as error:
                looked.problems += _problems(error, capture)
    return looked


def _together(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return *files* by their capture, each once, with those that belong to it and are there."""
    found: dict[Path, list[Path]] = {}
    known: set[Path] = set()
    for file in files:
        capture = _capture_of(file)
        beside = [capture, golden_path(capture), meta_path(capture)] if _is_one(file) else []
        for one in dict.fromkeys([file, *(other for other in beside if other.exists())]):
            if one.absolute() not in known:
                known.add(one.absolute())
                found.setdefault(capture, []).append(one)
    return found


def _is_one(file: Path) -> bool:
    return file.name.endswith((".jsonl", META_SUFFIX))


def _capture_of(file: Path) -> Path:
    for suffix in (GOLDEN_SUFFIX, META_SUFFIX):
        if file.name.endswith(suffix):
            return file.with_name(file.name.removesuffix(suffix) + ".jsonl")
    return file


def _problems(error: ConfigError | OSError, file: Path) -> list[Problem]:
    if isinstance(error, ConfigError):
        return list(error.problems)
    return [Problem(f"cannot be read: {error.strerror}", file=str(file))]


def _check_sums(capture: Path) -> None:
    if not _is_one(capture):
        return
    meta = read_meta(capture)
    if meta is None:
        return
    problems = check_sums(meta, capture, golden_path(capture))
    golden = golden_path(capture)
    if meta.sha256 is not None and capture.exists() and not golden.exists():
        hint = "restore it from a copy, or make it anew with mitmgate replay --update"
        problem = Problem("is missing, and the meta file has its sum", file=str(golden), hint=hint)
        problems.append(problem)
    if problems:
        raise ConfigError(*problems)


def _leaks(file: Path, scanner: Scans) -> Iterator[Leak]:
    seen: set[tuple[int, str, str]] = set()
    for number, text in _pieces(file):
        for pointer, rule in _found(text, file, number, scanner):
            if (number, pointer, rule) not in seen:
                seen.add((number, pointer, rule))
                yield Leak(file, number, pointer, rule)
            if len(seen) > _MOST_FOUND:
                return


def _found(text: str, file: Path, number: int, scanner: Scans) -> Iterator[tuple[str, str]]:
    if file.name.endswith(META_SUFFIX):
        yield from _in_text(text, "", scanner)
        return
    try:
        value = parse_json(text)
    except WireError as error:
        raise ConfigError(
            Problem(str(error), file=str(file), line=number,
                    hint="restore the file from a copy, or remove it")
        ) from None  # fmt: skip
    found = list(_in_value(value, "", scanner, 0))
    yield from found
    # A secret may stand across two strings.
    if not found:
        yield from (("", rule) for rule in _rules(_without_ids(text), scanner))


def _pieces(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the JSON texts of *file* with their lines; all of a meta or HAR file is one."""
    if not file.name.endswith(_SUFFIXES):
        raise ConfigError(
            Problem("not a capture, golden, meta or HAR file", file=str(file),
                    hint="their names end in .jsonl, .meta.yaml or .har")
        )  # fmt: skip
    whole = not file.name.endswith(".jsonl")
    limit = _LARGEST_HAR if whole else _LONGEST
    with file.open("rb") as lines:
        number = 0
        while data := lines.read(limit) if whole else lines.readline(limit):
            number += 1
            if len(data) == limit:
                raise ConfigError(Problem("too long", file=str(file), line=number))
            try:
                yield number, data.removeprefix(b"\xef\xbb\xbf").decode()
            except UnicodeDecodeError:
                raise ConfigError(Problem("not UTF-8", file=str(file), line=number)) from None
        if number == 0 and not file.name.endswith(GOLDEN_SUFFIX):
            raise ConfigError(Problem("the file is empty", file=str(file)))


def _in_value(value: Any, pointer: str, scanner: Scans, depth: int) -> Iterator[tuple[str, str]]:
    """Yield pointer and rule of what is left in a JSON value."""
    match value:
        case str():
            yield from _in_string(value, pointer, scanner, depth)
        case Mapping():
            yield from _in_object(value, pointer, scanner, depth)
        case [str() as name, str() | {"text": str()} as told] if _is_header(pointer):
            if _is_credential(name) and _left(_text_of(told)):
                yield f"{pointer}/1", _BY_PLACE
            for place, item in enumerate(value):
                yield from _in_value(item, f"{pointer}/{place}", scanner, depth)
        case list():
            for place, item in enumerate(value):
                yield from _in_value(item, f"{pointer}/{place}", scanner, depth)
        case bool() | None:
            pass
        case _:
            if is_secret_pointer(pointer) and _is_left(value, pointer):
                yield pointer, _BY_PLACE


def _is_left(value: float, pointer: str) -> bool:
    """Tell whether a number at *pointer*, which is secret, is more than what stands for one."""
    token = str(value)
    return not is_stand_in_number(token) and (
        is_long(token) or not is_sensitive(pointer.rpartition("/")[2])
    )


def _in_object(
    value: Mapping[str, Any], pointer: str, scanner: Scans, depth: int
) -> Iterator[tuple[str, str]]:
    name, told = value.get("name"), value.get("value")
    if isinstance(name, str) and _is_credential(name) and _tells(told):
        yield f"{pointer}/value", _BY_PLACE
    described = pointer.endswith("/properties")
    for key, item in value.items():
        rules = _rules(key, scanner)
        place = f"{pointer}/{'*' if rules else key.replace('~', '~0').replace('/', '~1')}"
        yield from ((f"{place}~key", rule) for rule in rules)
        secret = is_sensitive(key) and not described and isinstance(item, str)
        if secret and _left(item) and not (depth == 0 and _is_own(key, item)):
            yield place, _BY_PLACE
        yield from _in_value(item, place, scanner, depth)


def _tells(told: object) -> bool:
    if isinstance(told, str):
        return _left(told)
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return is_number and not is_stand_in_number(str(told))


def _is_own(key: str, item: str) -> bool:
    """Tell whether a name of ours, in the line itself, only sounds like a secret's."""
    return key == "token_hash" or not item


def _in_string(text: str, pointer: str, scanner: Scans, depth: int) -> Iterator[tuple[str, str]]:
    inner = _document(text) if depth < _DEEPEST else None
    yield from _in_text(text, pointer, scanner, by_name=inner is None)
    if inner is not None:
        found = _in_value(inner, "", scanner, depth + 1)
        yield from ((f"{pointer}#{place}", rule) for place, rule in found)


def _document(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return parse_json(text)
    except WireError:
        return None


def _in_text(
    text: str, pointer: str, scanner: Scans, *, by_name: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield what is left in *text*; *by_name*: what is secret by a name before it, too."""
    for shown in (text, *views(text)):
        yield from ((pointer, rule) for rule in _rules(_without_ids(shown), scanner))
        rest = _PLACEHOLDER.sub("-", shown)  # a value ends at a bracket
        if by_name and any(_left(rest[start:end]) for start, end in secret_values(rest)):
            yield pointer, _BY_PLACE


def _without_ids(text: str) -> str:
    return _IDS.sub(r"\1-", text)


def _rules(text: str, scanner: Scans) -> list[str]:
    found: Iterable[Finding] = scanner.scan((Text(Surface.ARGUMENTS, "", text),))
    return sorted({finding.rule for finding in found if finding.detector in _HIDDEN})


def _is_header(pointer: str) -> bool:
    return pointer.rpartition("/")[0].endswith("/headers")


def _is_credential(name: str) -> bool:
    return name.lower() in _CREDENTIALS or is_sensitive(name)


def _text_of(told: str | Mapping[str, str]) -> str:
    return told if isinstance(told, str) else told["text"]


def _left(value: str) -> bool:
    """Tell whether *value* holds more than what stands for secrets."""
    rest = _PLACEHOLDER.sub("", value)
    return any(char.isalnum() for char in rest) and not is_stand_in_number(value)
