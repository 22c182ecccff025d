"""The outcomes of a replay as JUnit XML, one test case each, written while they come.

The schema is that of the Jenkins xUnit plugin, which GitLab, Azure and GitHub's actions read:
https://github.com/jenkinsci/xunit-plugin (``junit-10.xsd``). Weaker is an *error*, different a
*failure*, and what could not be compared is *skipped*, with the reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import printable
from mitmgate.replay.compare import Difference, NotCompared
from mitmgate.replay.golden import Golden
from mitmgate.replay.report import shown_path

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_BEGIN = '<testsuite name="mitmgate replay"'
_COUNTED = {"tests": "tests", "errors": "error", "failures": "failure", "skipped": "skipped"}
_ROOM = 200  # for the counts, which are known at the end: blanks in a tag mean nothing
_END = "</testsuite>\n"


class JUnit:
    """Writes outcomes to a file beside *path*, which it replaces at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with self._writing():
            self._file = self._temporary.open("w", encoding="utf-8", newline="\n")
            self._file.write(f"{_DECLARATION}{_BEGIN:{_ROOM}}>\n")
        self._counts: Counter[str] = Counter()

    def hear(
        self, file: Path, line: int, side: Golden, found: Difference | NotCompared | None
    ) -> None:
        """Write one outcome."""
        subject = [side.server or side.channel, side.tool or side.method, side.kind]
        name = f"exchange {side.exchange} message {side.message}: {' '.join(subject)}"
        begin = f"<testcase classname={_attribute(shown_path(file))} name={_attribute(name)}"
        place = escape(printable(f"{shown_path(file)}:{line}" if line else shown_path(file)))
        tag, text = "", f"{begin}/>\n"
        if isinstance(found, NotCompared):
            tag, told = "skipped", f"<skipped message={_attribute(found.why)}/>"
            text = f"{begin}>{told}<system-out>{place}</system-out></testcase>\n"
        elif found is not None:
            tag, kind = ("error", "weaker") if found.weaker else ("failure", "different")
            what = _attribute(found.what)
            text = f'{begin}><{tag} type="{kind}" message={what}>{place}</{tag}></testcase>\n'
        self._counts.update(("tests", tag))
        with self._writing():
            self._file.write(text)

    def close(self) -> None:
        """Put the file at its place."""
        with self._writing():
            self._file.write(_END)
            told = "".join(f' {name}="{self._counts[tag]}"' for name, tag in _COUNTED.items())
            self._file.seek(len(_DECLARATION))
            self._file.write(f"{_BEGIN}{told}")
            self._file.close()
            self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave no file, where :meth:`close` was not reached."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                Problem(f"cannot write the JUnit file: {error.strerror}", file=str(self._path),
                        hint="name a file in a folder that you may write to")
            ) from error  # fmt: skip


def _attribute(text: str) -> str:
    return quoteattr(printable(text))
