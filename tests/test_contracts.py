"""What the static import graph cannot see: what really gets loaded, and the budgets of size."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("addon", "tui", "rules")
LAYERS = ("errors", "net", "wire", "strictyaml", "scan", "policy", "hold", "record", "judge")

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
# each entry carries its reason
EXCUSED: dict[str, str] = {}

LOAD = """
import importlib, pkgutil, sys

def load(name):
    module = importlib.import_module(name)
    for child in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(child.name)

for name in sys.argv[1:]:
    load(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_by(*modules: str) -> set[str]:
    """Return the top-level modules in a new interpreter after importing *modules* whole."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_from_judge_down_nothing_loads_a_proxy_a_web_server_or_a_terminal() -> None:
    loaded = loaded_by(*(f"mitmgate.{layer}" for layer in LAYERS))
    foreign = {"asyncio", "mitmproxy", "starlette", "uvicorn", "httpx", "textual", "mcp"}
    assert loaded.isdisjoint(foreign)


def test_from_wire_down_only_the_decoders_come_with_the_standard_library() -> None:
    loaded = loaded_by("mitmgate.wire", "mitmgate.net", "mitmgate.errors")
    assert "asyncio" not in loaded
    foreign = loaded - set(sys.stdlib_module_names) - loaded_by()
    assert foreign <= {
        "mitmgate", "idna", "brotli", "_brotli", "zstandard", "_cffi_backend",
    }  # fmt: skip


def test_the_proxy_never_loads_the_console() -> None:
    loaded = loaded_by("mitmgate.cli", "mitmgate.serve", "mitmgate.mitm", "mitmgate.demo")
    assert loaded.isdisjoint({"textual", "mitmgate_tui"})


def test_the_console_never_loads_the_proxy() -> None:
    loaded = loaded_by("mitmgate_tui")
    assert loaded.isdisjoint({"mitmproxy", "uvicorn"})


def test_help_loads_no_heavy_library() -> None:
    loaded = loaded_by("mitmgate.errors") | subprocess_modules("import mitmgate.cli")
    assert loaded.isdisjoint({"mitmproxy", "textual", "cryptography", "starlette", "mcp"})


def subprocess_modules(statement: str) -> set[str]:
    """Return the top-level modules in a new interpreter after *statement*."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def sources() -> list[Path]:
    return sorted(path for root in SOURCES for path in (ROOT / root).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_and_its_functions_stay_readable(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{path.relative_to(ROOT)}::{node.name}"
            assert lines_of_body(node) <= LONGEST_FUNCTION or name in EXCUSED, name


def lines_of_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count without signature and docstring: those of a command are a table and a manual."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_module_takes_the_name_of_a_standard_one() -> None:
    # `mitmdump -s` puts the folder of the script first on sys.path.
    tops = {path.stem for root in SOURCES for path in (ROOT / root).glob("*")}
    assert tops.isdisjoint(sys.stdlib_module_names)


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [p for p in sources() if p.stem in {"utils", "util", "helpers", "common", "misc"}]
