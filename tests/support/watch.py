"""What a proxy in this process asks the resolver for, and whom it dials.

``socket.getaddrinfo`` is replaced by a table of names, and an audit hook (PEP 578) sees what goes
around that. A loop of uvloop raises no such events: watch a plain one.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CLIENT = "client"
"""What the names of threads begin with that are the test's own."""

_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_watching: list[Watch] = []
_hooked = threading.Event()

type Answers = tuple[str, ...]


@dataclass
class Watch:
    """Names that were looked up and addresses that were dialled, by no thread of the test.

    ``answers``: for each name the addresses of every lookup in turn; the last ones stay.
    """

    answers: dict[str, list[Answers]] = field(default_factory=dict)
    lookups: list[str] = field(default_factory=list)
    dials: list[Any] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    own: int = field(default_factory=threading.get_ident)
    dialled: int = 0

    @property
    def seen(self) -> tuple[list[str], list[Any], list[str]]:
        """All of it: names, addresses, and lookups that went around the table."""
        return self.lookups, self.dials, self.around

    def clear(self) -> None:
        """Forget what was seen; ``dialled`` goes on counting."""
        for seen in self.seen:
            seen.clear()

    def sees_thread(self) -> bool:
        """Tell whether the thread that runs is watched."""
        current = threading.current_thread()
        return current.ident != self.own and not current.name.startswith(CLIENT)

    def take(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note *event* of the audit hook."""
        if event in _LOOKUPS and not _is_address(arguments[0]):
            self.around.append(str(arguments[0]))
        elif event in _SENDS and isinstance(arguments[1], tuple):
            self.dials.append(arguments[1][:2])
            self.dialled += 1

    def look_up(self, host: str) -> Answers:
        """Return what the table has for *host*, and note that it was asked for."""
        self.lookups.append(host)
        answers = self.answers.get(host, [()])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def watching(answers: dict[str, Sequence[Answers]]) -> Iterator[Watch]:
    """Watch for the length of the block; no name leaves this process."""
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(_hook)  # it stays for as long as the process does
    watch = Watch({name: list(each) for name, each in answers.items()})
    asked = socket.getaddrinfo

    def table(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if not watch.sees_thread() or host is None or _is_address(host):
            return asked(host, port, *rest, **named)
        found = watch.look_up(str(host))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [_entry(address, port) for address in found]

    socket.getaddrinfo = table
    _watching.append(watch)
    try:
        yield watch
    finally:
        _watching.remove(watch)
        socket.getaddrinfo = asked


def _entry(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _LOOKUPS or event in _SENDS:
        for watch in _watching:
            if watch.sees_thread():
                watch.take(event, arguments)


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True
