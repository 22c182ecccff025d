"""The outcomes of a replay as JUnit XML, one test case each, written while they come.

The schema is that of the Jenkins xUnit plugin, which GitLab, Azure and GitHub's actions read:
https://github.com/jenkinsci/xunit-plugin (``junit-10.xsd``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import printable
from mitmgate.replay.compare import Difference
from mitmgate.replay.golden import Golden
from mitmgate.replay.report import shown_path

_BEGIN = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="mitmgate replay">\n'
_END = "</testsuite>\n"


class JUnit:
    """Writes outcomes to a file beside *path*, which it replaces at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with self._writing():
            self._file = self._temporary.open("w", encoding="utf-8")
            self._file.write(_BEGIN)

    def hear(self, file: Path, line: int, side: Golden, found: Difference | None) -> None:
        """Write one outcome."""
        subject = [side.server or side.channel, side.tool or side.method, side.kind]
        name = f"exchange {side.exchange} message {side.message}: {' '.join(subject)}"
        begin = f"<testcase classname={_attribute(shown_path(file))} name={_attribute(name)}"
        if found is None:
            text = f"{begin}/>\n"
        else:
            tag, kind = ("error", "weaker") if found.weaker else ("failure", "different")
            what = _attribute(found.what)
            place = escape(printable(f"{shown_path(file)}:{line}"))
            text = f'{begin}><{tag} type="{kind}" message={what}>{place}</{tag}></testcase>\n'
        with self._writing():
            self._file.write(text)

    def close(self) -> None:
        """Put the file at its place."""
        with self._writing():
            self._file.write(_END)
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
