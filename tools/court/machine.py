"""
What the court asks of the machine: commands of the system, and a small disk.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import ServerFailed
from servers._guard import GUARD


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[None]:
    """
    A small disk at a folder: a tmpfs, which needs root. It goes with this process, however that ends.
    """
    folder.mkdir(parents=True)
    place = folder.absolute()
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "court", str(place))
    GUARD.add(place)
    try:
        yield
    finally:
        run("umount", "--lazy", str(place))
        GUARD.discard(place)


def run(*command: str) -> None:
    """
    Run a command of the system.

    Raises:
        ServerFailed: It failed; what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command)}: {done.stderr.strip()}"
        raise ServerFailed(msg)
