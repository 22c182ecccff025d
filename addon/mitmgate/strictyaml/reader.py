"""YAML events to one Document; every problem is collected on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251 - the one place that reads YAML

from mitmgate.errors import ConfigError, Problem
from mitmgate.strictyaml.document import Document, KeyPath, dotted, refuse
from mitmgate.strictyaml.scalars import CONSTANTS, clip, is_unicode, plain_value, quote_hint

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_file(path: Path) -> str:
    """Return the text of the file at *path*, or raise ConfigError saying what to do."""
    name = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            Problem("no such file", name, hint="check the path, or create the file")
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            Problem("this is a directory", name, hint="name the YAML file inside it")
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            Problem(f"cannot be read: {reason}", name, hint="check its permissions")
        ) from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if len(raw) > MAX_BYTES:  # the cut may have split a character: the size is the news
            raise ConfigError(_too_large(name)) from None
        raise ConfigError(
            Problem("not UTF-8 text", name, line, hint="save the file as UTF-8")
        ) from None


def load(text: str, *, file: str, past_duplicates: bool = False) -> Document:
    """Return the one document in *text*, or raise ConfigError with every problem found.

    With *past_duplicates* a file whose only fault is duplicate keys gives a Document that holds
    them as its problems, so that the caller can add what else is wrong, and refuse it then.
    """
    text = text.removeprefix("\ufeff")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ConfigError(
            Problem("not valid Unicode: a lone surrogate", file, line, hint="remove it")
        ) from None
    if size > MAX_BYTES:
        raise ConfigError(_too_large(file))
    return _Reader(file).read(text, past_duplicates=past_duplicates)


def _too_large(file: str) -> Problem:
    hint = f"split it: {MAX_BYTES // 1024 // 1024} MiB is the limit"
    return Problem("the file is too large", file, hint=hint)


class _Reader:
    """Builds one Document from parser events and collects what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []
        self._duplicates = 0
        self._events: Iterator[Any] = iter(())

    def read(self, text: str, *, past_duplicates: bool) -> Document:
        self._events = yaml.parse(text, Loader=_Loader)
        try:
            value = self._document()
        except yaml.YAMLError as error:
            self._problems.append(_syntax_problem(error, text, self._file))
            raise refuse(self._problems) from None
        if self._problems and not (past_duplicates and len(self._problems) == self._duplicates):
            raise refuse(self._problems)
        return Document(value, self._lines, self._file, tuple(self._problems))

    def _document(self) -> Any:
        value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if event.version or event.tags:
                    self._refuse(event, (), "YAML directives are not allowed", "remove the % line")
            elif not isinstance(
                event, yaml.StreamStartEvent | yaml.StreamEndEvent | yaml.DocumentEndEvent
            ):
                if documents > 1:
                    self._refuse(event, (), "only one document is allowed",
                                 "move what follows --- to a file of its own")  # fmt: skip
                    raise refuse(self._problems)
                value = self._value(event, ())
        if value is None and not self._problems:
            hint = "start with version: 1"
            self._problems.append(Problem("the file is empty", self._file, hint=hint))
        return value

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, path, "aliases (*name) are not allowed", "write the value out")
            return None
        # A rule that looks harmless where it stands may get its teeth from an anchor or a tag
        # far away: the file must mean what its lines say.
        if event.anchor is not None:
            self._refuse(event, path, "anchors (&name) are not allowed", "write the value out")
        if event.tag is not None:
            self._refuse(event, path, "tags (!name) are not allowed", "remove it")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= MAX_DEPTH:
            self._refuse(event, (), f"nested deeper than {MAX_DEPTH} levels", "make it flatter")
            raise refuse(self._problems)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        return self._sequence(path)

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            here = (*path, key)
            if key in items:
                # Readers disagree on which duplicate wins: the operator would read one rule
                # and we would enforce the other.
                self._duplicates += 1
                first = self._lines.get(here)
                self._refuse(event, here, f"duplicate key, first on line {first}", "remove one")
            else:
                self._lines[here] = event.start_mark.line + 1
            value = self._value(next(self._events), here)
            items.setdefault(key, value)
        return items

    def _key(self, event: Any, path: KeyPath) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, path, "a key must be plain text", "write key: value")
            self._value(event, (*path, "?"))
            return "?"
        value = self._value(event, (*path, event.value))
        if not isinstance(value, str):
            self._refuse(event, (*path, event.value), "a key must be text",
                         f"quote it: {json.dumps(clip(event.value))}")  # fmt: skip
        return str(event.value)

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        text: str = event.value
        if event.style:
            if not is_unicode(text):
                self._refuse(event, path, "not valid Unicode: a lone surrogate", "remove it")
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        try:
            return plain_value(text)
        except ValueError as error:
            self._refuse(event, path, f"{clip(text)!r} {error}", quote_hint(text))
            return text

    def _refuse(self, event: Any, path: KeyPath, message: str, hint: str) -> None:
        line = event.start_mark.line + 1
        self._problems.append(Problem(message, self._file, line, dotted(path) or None, hint))


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    line: int | None = None
    what = "unreadable"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        what = error.problem or error.context or what
    elif isinstance(error, yaml.reader.ReaderError):
        what = "a character that YAML does not allow"
        line = _line_of_control(text)
    hint = "check the indentation, the quotes and the brackets"
    if line is not None and "\t" in (text.splitlines()[line - 1 : line] or [""])[0]:
        hint = "indent with spaces, not tabs"
    return Problem(f"not valid YAML: {what}", file, line, hint=hint)


def _line_of_control(text: str) -> int | None:
    for number, line in enumerate(text.split("\n"), start=1):
        if any(not char.isprintable() and char not in "\t\r" for char in line):
            return number
    return None
