"""What the kernel says about a process and this machine. Linux only."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path


def memory(pid: int) -> int:
    """Return the bytes of memory that *pid* has now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """Return the most that *pid* had since :func:`forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let the peak of *pid* begin at what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that *pid* has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(pid: int, *, limit: float = 30.0) -> None:
    """Wait until *pid* does nothing any more, at most *limit* seconds."""
    ends = time.monotonic() + limit
    before = -1.0
    while time.monotonic() < ends:
        now = processor_time(pid)
        if now - before < 0.02:
            return
        before = now
        time.sleep(0.5)  # noqa: TID251 - another process has no event for it


def machine() -> dict[str, object]:
    """Return the facts that results depend on."""
    models = [line.partition(":")[2].strip()
              for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]  # fmt: skip
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        "mitmproxy": version("mitmproxy"),
        "mitmgate": version("mitmgate"),
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        "cryptography": version("cryptography"),
        "uvloop": version("uvloop"),
        "re2": version("google-re2"),
        "commit": _commit(),
    }


def _commit() -> str:
    command = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
