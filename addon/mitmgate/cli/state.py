"""Where a command finds its files: the state folder and the policy in force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mitmgate.policy.load import Policy

POLICY_FILE = "policy.yaml"
SOCKET_FILE = "control.sock"


def state_dir(option: Path | None) -> Path:
    """Return the state folder: *option*, else the environment's, else the user's own."""
    if option is not None:
        return option.expanduser().absolute()
    from mitmgate.serve.state import default_state_dir

    return default_state_dir(os.environ)


def policy_in_force(option: Path | None, state: Path) -> tuple[Policy, str]:
    """Return the policy that ``run`` would use now, and where it came from.

    That is *option*, else ``policy.yaml`` in the state folder, else the starter policy.
    """
    from mitmgate.policy.load import load_policy_file, starter_policy

    if option is not None:
        return load_policy_file(option), str(option)
    own = state / POLICY_FILE
    if own.exists():
        return load_policy_file(own), str(own)
    return starter_policy(), "the starter policy"
