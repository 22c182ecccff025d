"""Edits of files: replaced whole or not at all, and their rights stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mitmgate.errors import ConfigError, Problem
from mitmgate.strictyaml.editing import Editing, editing


def accept(text: str) -> None:
    assert text


def write(path: Path, text: str = "a: 1\n") -> Path:
    path.write_text(text, "utf-8")
    return path


@contextmanager
def refused(message: str) -> Iterator[None]:
    with pytest.raises(ConfigError) as caught:
        yield
    assert message in str(caught.value)
    assert caught.value.problems[0].hint


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    with editing(path, check=accept) as file:
        assert file.text == "a: 1\n"
        file.save("b: 2\n")
        assert file.text == "b: 2\n"
    assert path.read_text() == "b: 2\n"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "p.yaml")
    path.chmod(mode)
    with editing(path, check=accept) as file:
        file.save("b: 2\n")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_owner_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.yaml")
    given_to: list[tuple[int, int]] = []
    real = Path.stat

    def of_another(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        fields = list(real(self, follow_symlinks=follow_symlinks))
        fields[4:6] = [4321, 1234]
        return os.stat_result(fields)

    def fchown(_: int, user: int, group: int) -> None:
        given_to.append((user, group))

    monkeypatch.setattr(Path, "stat", of_another)
    monkeypatch.setattr(os, "fchown", fchown)
    with editing(path, check=accept) as file:
        file.save("b: 2\n")
    assert given_to == [(4321, 1234)]


def test_a_file_that_cannot_keep_its_owner_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "p.yaml")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    with refused("cannot be written: Operation not permitted"), editing(path, check=accept) as file:
        file.save("b: 2\n")
    assert path.read_text() == "a: 1\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = write(tmp_path / "real" / "p.yaml")
    link = tmp_path / "p.yaml"
    link.symlink_to(path)
    with editing(link, check=accept) as file:
        file.save("b: 2\n")
    assert link.is_symlink()
    assert path.read_text() == "b: 2\n"


def test_what_the_check_refuses_is_not_written(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    seen: list[str] = []

    def check(text: str) -> None:
        seen.append(text)
        raise ConfigError(Problem("no policy", hint="none"))

    with refused("no policy"), editing(path, check=check) as file:
        file.save("b: 2\n")
    assert seen == ["b: 2\n"]
    assert path.read_text() == "a: 1\n"
    assert [*tmp_path.iterdir()] == [path]


CHANGES = {
    "written in place": lambda path: write(path, "c: 3\n"),
    "replaced by an editor": lambda path: write(path.with_name("x"), "c: 3\n").replace(path),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path, change: Any) -> None:
    path = write(tmp_path / "p.yaml")
    with (
        refused("changed while it was edited (run the command again)"),
        editing(path, check=accept) as file,
    ):
        change(path)
        file.save("b: 2\n")
    assert path.read_text() == "c: 3\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_went_away_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    with refused("cannot be written: No such file"), editing(path, check=accept) as file:
        path.unlink()
        file.save("b: 2\n")
    assert [*tmp_path.iterdir()] == []


def test_a_second_edit_at_the_same_time_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    with editing(path, check=accept) as file:
        with refused("another command is editing it"), editing(path, check=accept):
            pass
        file.save("b: 2\n")
    with editing(path, check=accept) as file:
        file.save("c: 3\n")
    assert path.read_text() == "c: 3\n"


def test_nothing_is_written_through_a_link_in_the_place_of_the_temporary_file(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "p.yaml")
    victim = write(tmp_path / "victim", "v")
    (tmp_path / ".p.yaml.edit").symlink_to(victim)
    with refused("another command is editing it"), editing(path, check=accept):
        pass
    assert victim.read_text() == "v"


def test_the_temporary_file_is_private_until_it_is_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    with editing(path, check=accept):
        assert stat.S_IMODE((tmp_path / ".p.yaml.edit").stat().st_mode) == 0o600


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9\n")
    for path, message in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "this is not a file"),
        (tmp_path / "pipe", "this is not a file"),
        (tmp_path / "loop", "cannot be read"),
        (latin, "not UTF-8 text"),
    ):
        with refused(message), editing(path, check=accept):
            pass
    assert not [*tmp_path.glob(".*")]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "p.yaml")
    real = os.open

    def refuse(name: Any, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)  # root may write anywhere, so it is pretended
    with refused("cannot be written: Permission denied"), editing(path, check=accept):
        pass


def test_an_edit_that_is_not_saved_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    before = path.stat()
    with editing(path, check=accept) as file:
        assert isinstance(file, Editing)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
