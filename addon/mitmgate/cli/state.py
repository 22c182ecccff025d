"""Where a command finds its files: the state folder and the policy in force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmgate.policy.load import Policy
    from mitmgate.policy.source import PolicySource

POLICY_FILE = "policy.yaml"
SOCKET_FILE = "control.sock"


def state_dir(option: Path | None) -> Path:
    """Return the state folder: *option*, else the environment's, else the user's own."""
    if option is not None:
        return option.expanduser().absolute()
    from mitmgate.serve.state import default_state_dir

    return default_state_dir(os.environ)


def policy_source(option: Path | None, state: Path, locked: Path | None = None) -> PolicySource:
    """Return where ``run`` would take its policy from now, and the locked layer over it.

    That is *option*, else ``policy.yaml`` in the state folder, else the starter policy.
    """
    from mitmgate.policy.source import PolicySource, locked_file

    own = state / POLICY_FILE
    path = option if option is not None else own if own.exists() else None
    return PolicySource(path, locked_file(locked))


def policy_in_force(
    option: Path | None, state: Path, locked: Path | None = None
) -> tuple[Policy, str]:
    """Return the policy that ``run`` would use now, and where it came from."""
    source = policy_source(option, state, locked)
    return source.read()[0].policy, source.name
