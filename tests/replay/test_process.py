"""A replay in a process of its own: nothing of the network, and the same bytes as here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mitmgate.policy.load import load_policy
from mitmgate.record.capture import golden_path
from mitmgate.serve.replaying import run_files

SEED = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
ALONE = """
import sys

def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.posix_spawn", "os.exec")):
        print("REFUSED", event)
        raise PermissionError(event)

sys.addaudithook(refuse)
if sys.argv[1] == "lookup":
    import socket
    socket.getaddrinfo("localhost", 80)
from mitmgate.cli.app import invoke
sys.exit(invoke(sys.argv[1:]))
"""


def _alone(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": SEED, "HOME": str(state),
                   "MITMGATE_STATE_DIR": str(state)}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", ALONE, *arguments],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip


def test_another_process_without_a_network_writes_the_same_bytes(
    captured: Path, policy_text: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text)
    live = golden_path(captured).read_bytes()
    assert run_files([captured], load_policy(policy_text, file="p"), accept="different").updated
    assert golden_path(captured).read_bytes() == live
    done = _alone("replay", str(captured), "--policy", str(policy), "--update", state=tmp_path)
    assert (done.returncode, "REFUSED" in done.stdout) == (0, False), done.stdout + done.stderr
    assert golden_path(captured).read_bytes() == live


def test_the_guard_of_that_test_refuses_a_lookup(tmp_path: Path) -> None:
    done = _alone("lookup", state=tmp_path)
    assert "REFUSED socket." in done.stdout
    assert done.returncode != 0
