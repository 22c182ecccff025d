"""``mitmgate packs``: a line for each file that is shipped, and the file itself."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from mitmgate.cli.check import check
from mitmgate.cli.packs import STARTERS, Shipped, listing, packs
from mitmgate.errors import ConfigError
from mitmgate.policy.layers import shipped_packs


def out_of(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_pack_is_a_line() -> None:
    found = [Shipped("a", "Stops a", 1, ""), Shipped("long-name", "Stops b", 12, "")]
    assert list(listing(found)) == [
        "a            1 rule  Stops a",
        "long-name  12 rules  Stops b",
    ]


def test_every_pack_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    packs()
    names = [line.split()[0] for line in out_of(capsys).splitlines()]
    assert names == list(shipped_packs())


def test_starters_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    packs(starters=True)
    lines = out_of(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(STARTERS)
    assert all(" For " in line for line in lines)


def test_the_list_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    packs(as_json=True)
    found = json.loads(out_of(capsys))
    assert [one["name"] for one in found] == list(shipped_packs())
    assert all(set(one) == {"name", "description", "rules"} and one["rules"] for one in found)


@pytest.mark.parametrize(
    ("name", "folder"), [("git", "rulesets"), ("strict", "policies"), ("observe", "policies")]
)
def test_one_is_printed_as_it_is(
    name: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packs(name)
    file = resources.files("mitmgate_rules").joinpath(folder, f"{name}.yaml")
    assert out_of(capsys) == file.read_text("utf-8")


def test_one_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    packs("git", as_json=True)
    found = json.loads(out_of(capsys))
    assert (found["name"], "id: git-force-push" in found["text"]) == ("git", True)


def test_what_is_printed_is_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in STARTERS:
        packs(name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(out_of(capsys), "utf-8")
        check([path])
        assert out_of(capsys).startswith(f"ok {path} (policy, ")


@pytest.mark.parametrize(
    ("name", "hint"), [("gti", "did you mean git?"), ("\x1b[2J", "mitmgate packs lists them")]
)
def test_a_name_that_is_not_shipped_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        packs(name)
    (problem,) = caught.value.problems
    assert problem.hint == hint
    assert "\x1b" not in str(problem)
