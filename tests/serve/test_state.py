"""The state folder: private, used by one proxy at a time, with a key that stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.serve.state import hash_key, locked_state, run_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    with locked_state(tmp_path / "a" / "state") as made:
        assert made.stat().st_mode & 0o777 == 0o700
        assert (made / "run.lock").stat().st_mode & 0o777 == 0o600


def test_a_second_proxy_is_refused_until_the_first_has_gone(folder: Path) -> None:
    with (
        locked_state(folder),
        pytest.raises(ConfigError, match="another mitmgate runs"),
        locked_state(folder),
    ):
        pass
    with locked_state(folder):
        pass


def test_a_failure_inside_gives_the_folder_free(folder: Path) -> None:
    with pytest.raises(RuntimeError), locked_state(folder):
        raise RuntimeError
    with locked_state(folder):
        pass


def test_a_folder_open_to_others_is_refused(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="open to other users"), locked_state(folder):
        pass


def test_the_key_is_made_once_and_private(folder: Path) -> None:
    key = hash_key(folder)
    assert len(key) == 32
    assert (folder / "hash.key").stat().st_mode & 0o777 == 0o600
    assert hash_key(folder) == key


DAMAGED = {"an empty key": b"", "a short key": b"x" * 31, "a long key": b"x" * 33}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_key_is_refused_and_left_alone(content: bytes, folder: Path) -> None:
    path = folder / "hash.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged") as caught:
        hash_key(folder)
    assert caught.value.problems[0].hint
    assert path.read_bytes() == content


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    hash_key(folder)
    (folder / "hash.key").chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        hash_key(folder)


def test_a_folder_in_place_of_the_key_is_refused(folder: Path) -> None:
    (folder / "hash.key").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"hash\.key"):
        hash_key(folder)


def test_where_the_proxy_listens_is_told_for_as_long_as_it_runs(folder: Path) -> None:
    with run_file(folder, {"listen": "127.0.0.1:1"}):
        assert json.loads((folder / "run.json").read_text()) == {"listen": "127.0.0.1:1"}
        assert (folder / "run.json").stat().st_mode & 0o777 == 0o600
    assert not (folder / "run.json").exists()
