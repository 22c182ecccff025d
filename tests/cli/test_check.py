"""``mitmgate check``: every problem of every file, and one line for each good one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from mitmgate.cli.check import check
from mitmgate.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_good_policy_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "p.yaml", "version: 1\nmcp: {rules: [{id: a, then: ask}]}\n")
    check([path])
    assert capsys.readouterr() == (f"ok {path} (policy, 1 rule)\n", "")


def test_problems_of_all_files_come_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path, "bad.yaml", "version: 1\nmode: maybe\nmcp: {otherwise: never}\n")
    good = write(tmp_path, "good.yaml", "version: 1\n")
    empty = write(tmp_path, "empty.yaml", "")
    with pytest.raises(ConfigError) as caught:
        check([bad, good, empty, tmp_path / "none.yaml"])
    places = [(problem.file, problem.line, problem.key) for problem in caught.value.problems]
    assert places == [
        (str(bad), 2, "mode"),
        (str(bad), 3, "mcp.otherwise"),
        (str(empty), None, None),
        (str(tmp_path / "none.yaml"), None, None),
    ]
    assert capsys.readouterr().out == f"ok {good} (policy, 0 rules)\n"


def test_warnings_do_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = "[{id: a, then: ask}, {id: b, tool: x, then: deny}]"
    path = write(tmp_path, "p.yaml", f"version: 1\nmcp: {{rules: {rules}}}\n")
    check([path])
    out, err = capsys.readouterr()
    assert out == f"ok {path} (policy, 2 rules)\n"
    assert err.startswith(f"warning: {path}:2: mcp.rules.1: rule b never decides: a, above it")


def test_what_we_ship_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = resources.files("mitmgate_rules")
    shipped = [*folder.joinpath("policies").iterdir(), *folder.joinpath("packs").iterdir()]
    copies = [write(tmp_path, file.name, file.read_text("utf-8")) for file in shipped
              if file.name.endswith(".yaml")]  # fmt: skip
    check(copies)
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (len(copies), "")
    assert "(pack of detectors, " in out
    assert "(policy, " in out


def test_a_damaged_pack_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "pack.yaml", "version: 1\npack: x\nkind: secrets\nrules: []\n")
    with pytest.raises(ConfigError, match=r"pack\.yaml:4: rules"):
        check([path])
