"""A start does without the addons that a gate has no use for, and stock keeps them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "flask", "ldap3", "mitmproxy.addons.onboardingapp"
OURS = "import mitmgate.mitm.gate, mitmgate.mitm.master"


def loaded(code: str) -> str:
    """Return what a fresh interpreter prints after *code*."""
    told = f"print(mitmgate.mitm.SLIM, *(name in sys.modules for name in {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}\n{told}"],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (OURS, "True False False False"),
        (f"import mitmproxy.addons\n{OURS}", "False True True True"),
    ],
    ids=["run", "stock"],
)
def test_what_a_start_loads(code: str, expected: str) -> None:
    assert loaded(code) == expected


def test_the_addons_that_are_needed_still_work() -> None:
    code = "from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig, disable_h2c"
    assert loaded(f"{OURS}\n{code}").startswith("True")
