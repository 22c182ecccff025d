"""The console beside a proxy: its own process, handed the operator key through a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

STOP_EVERYTHING = 130


async def run_console(state: Path, key: str, *extra: str) -> int:
    """Run the console on this terminal until it is left; return its exit code.

    The key travels through an inherited pipe, so it stands in no argument, no environment
    and no file that another process could read.
    """
    reading, writing = os.pipe()
    try:
        os.write(writing, key.encode())
    finally:
        os.close(writing)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mitmgate_tui",
            "--state-dir",
            str(state),
            "--key-fd",
            str(reading),
            *extra,
            pass_fds=(reading,),
        )
    finally:
        os.close(reading)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
