"""The wheel installs and runs away from the repository; neither archive holds a key."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"mitmgate", "mitmgate_tui", "mitmgate_rules"}
SECRET_SUFFIXES = {".pem", ".key", ".p12", ".pfx", ".jks"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build wheel and sdist from a tree that has a key lying about, as a careless one would."""
    tree = copy_of_the_tree(tmp_path_factory.mktemp("tree"))
    for folder in ("certs", "addon/mitmgate/ca", "rules/mitmgate_rules", "tests"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder / "ca-key.pem").write_text("not a real key")
    built = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(built)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def copy_of_the_tree(target: Path) -> Path:
    """Copy what builds need; without .gitignore, which hides keys from hatch by itself."""
    listed = ["addon", "tui", "rules", "stubs", "tests", "pyproject.toml",
              "README.md", "CHANGELOG.md", "LICENSE"]  # fmt: skip
    subprocess.run(["cp", "-R", *listed, str(target)], cwd=ROOT, check=True)
    return target


@pytest.fixture(scope="module")
def installed(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a fresh ``venv`` that got the wheel by pip, and nothing by network."""
    home = tmp_path_factory.mktemp("away")
    venv.create(home / "venv", with_pip=True)
    subprocess.run(
        [home / "venv/bin/python", "-m", "pip", "--isolated", "install", "--quiet", "--no-deps",
         "--no-index", archives["wheel"]],
        cwd=home, check=True, capture_output=True,
    )  # fmt: skip
    # A path line shows the dependencies that this environment has; .pth files in there are
    # not read again, so that the editable install of this repository stays out.
    (site,) = (home / "venv/lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def run_away(home: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a *script* of the fresh environment far from the repository, with bare variables."""
    return subprocess.run(
        [str(home / "venv/bin" / script), *arguments],
        cwd=home, env={"HOME": str(home), "PATH": os.defpath, "COLUMNS": "100"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wheel_holds_the_three_packages_and_no_other_name(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_no_key(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        assert not [name for name in wheel.namelist() if Path(name).suffix in SECRET_SUFFIXES]


def test_the_sdist_holds_no_key(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as sdist:
        assert not [name for name in sdist.getnames() if Path(name).suffix in SECRET_SUFFIXES]


def test_the_sdist_holds_what_it_takes_to_build_and_test(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as sdist:
        inside = {name.split("/")[1] for name in sdist.getnames() if "/" in name}
    assert inside >= {
        "addon",
        "tui",
        "rules",
        "tests",
        "stubs",
        "LICENSE",
        "README.md",
        "pyproject.toml",
    }
    assert not inside & {".venv", ".git", "certs", "requirements"}


def test_the_wheel_carries_licence_description_and_both_commands(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        (info,) = {n.partition("/")[0] for n in wheel.namelist() if ".dist-info/" in n}
        metadata = wheel.read(f"{info}/METADATA").decode()
        scripts = wheel.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.13" in metadata
    assert "mitmgate = mitmgate.cli:main" in scripts
    assert "mitmgate-tui = mitmgate_tui.cli:main" in scripts


def test_the_wheel_brings_the_pytest_plugin(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        (points,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
        assert "[pytest11]\nmitmgate = mitmgate.testing.plugin\n" in wheel.read(points).decode()
        assert {"mitmgate/testing/__init__.py", "mitmgate/testing/plugin.py"} <= set(
            wheel.namelist()
        )


def test_the_rules_travel_with_the_wheel(archives: dict[str, Path]) -> None:
    data = {path.relative_to(ROOT / "rules").as_posix()
            for path in (ROOT / "rules" / "mitmgate_rules").rglob("*.yaml")}  # fmt: skip
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        assert data
        assert data <= set(wheel.namelist())


@pytest.mark.parametrize("script", ["mitmgate", "mitmgate-tui"])
def test_help_works_away_from_the_repository(installed: Path, script: str) -> None:
    done = run_away(installed, script, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout.lower()


def test_the_installed_command_checks_the_starter_policy(installed: Path) -> None:
    starter = next((installed / "venv").rglob("mitmgate_rules/**/starter.yaml"))
    done = run_away(installed, "mitmgate", "check", str(starter))
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_installed_command_makes_its_ca_in_the_users_state_folder(installed: Path) -> None:
    done = run_away(installed, "mitmgate", "ca", "path")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed / ".local" / "state" / "mitmgate")


def test_pytest_finds_the_plugin_of_the_installed_wheel(installed: Path) -> None:
    code = (
        "import sys, pytest; print(pytest.main(['--help', '-p', 'no:cacheprovider'])); "
        "print(sys.modules['mitmgate.testing.plugin'].__file__)"
    )
    done = run_away(installed, "python", "-c", code)
    assert "--policy-update" in done.stdout, done.stderr
    assert str(installed) in done.stdout.splitlines()[-1]


def test_nothing_of_the_repository_is_loaded(installed: Path) -> None:
    code = "import mitmgate, mitmgate_rules; print(mitmgate.__file__, mitmgate_rules.__file__)"
    done = run_away(installed, "python", "-c", code)
    assert str(installed) in done.stdout
    assert str(ROOT) not in done.stdout
