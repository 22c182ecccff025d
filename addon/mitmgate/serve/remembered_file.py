"""One edit of the file of remembered answers: made whole, or not at all, and taken back."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mitmgate.errors import ConfigError
from mitmgate.judge.ever import warm
from mitmgate.policy.remembered import Kept, Remembered, parse_remembered
from mitmgate.policy.source import FileStamp, stamp_of
from mitmgate.strictyaml import read_file


class NotSavedError(Exception):
    """An edit was not made, and the file is as it was. ``changed``: it is another than expected."""

    def __init__(self, detail: str, *, changed: bool = False) -> None:
        super().__init__(detail)
        self.changed = changed


@dataclass(frozen=True, slots=True)
class Edit:
    """Puts ``text`` in the place of ``before``; where that is None there is no file yet.

    ``empty`` is the text of a file without rules.
    """

    kept: Kept
    before: str | None
    text: str
    empty: str

    def make(self, in_force: Remembered | None) -> tuple[Remembered, FileStamp | None]:
        """Make the edit; return what the file says now, and its stamp if nobody came in between.

        Raises NotSavedError where it cannot be, and where the file says something else than what is
        *in_force*: a change by hand that waits must not come in by another way.
        """
        try:
            made = self._parsed(self.text)
            known = None if self.before is None else self._parsed(self.before)
        except ConfigError as error:
            raise NotSavedError(str(error.problems[0])) from None
        if (() if known is None else known.rules) != (() if in_force is None else in_force.rules):
            raise NotSavedError("it says something else than what is in force", changed=True)
        warm(made)
        self._put(self.before, self.text)
        stamp = stamp_of(self.kept.path)
        try:
            return made, stamp if read_file(self.kept.path) == self.text else None
        except ConfigError:
            return made, None

    def back(self) -> None:
        """Take the edit back; NotSavedError where that cannot be."""
        if self.before is None:
            self.kept.path.unlink(missing_ok=True)
        else:
            self._put(self.text, self.before)

    def _put(self, before: str | None, text: str) -> None:
        from mitmgate.strictyaml.editing import editing  # noqa: PLC0415 - rarely needed

        fresh = before is None and self._created()
        try:
            with editing(self.kept.path, check=self._parsed) as file:
                if file.text != (self.empty if fresh else before):
                    raise NotSavedError("it was changed", changed=True)
                file.save(text)
        except (ConfigError, NotSavedError) as error:
            if fresh:
                self.kept.path.unlink(missing_ok=True)
            if isinstance(error, ConfigError):
                raise NotSavedError(str(error.problems[0])) from None
            raise

    def _created(self) -> bool:
        """Make a file without rules, for its user alone."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            handle = os.open(self.kept.path, flags, 0o600)
        except FileExistsError:
            raise NotSavedError("there is one by now", changed=True) from None
        except OSError as error:
            raise NotSavedError(f"it cannot be made: {error.strerror}") from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.empty.encode("utf-8"))
        except OSError as error:
            self.kept.path.unlink(missing_ok=True)
            raise NotSavedError(f"it cannot be written: {error.strerror}") from None
        return True

    def _parsed(self, text: str) -> Remembered:
        return parse_remembered(text, key=self.kept.key, file=str(self.kept.path))
