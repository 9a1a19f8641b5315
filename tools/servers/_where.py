"""
Where the programs of the servers are: a folder of this checkout that git ignores, or $LEADERSHIP_SERVERS.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

FETCH: Final = "make servers-fetch"


class ServersMissing(Exception):
    """
    A program of a server is not here, and why.
    """


def home() -> Path:
    """
    The folder that holds all that was fetched.
    """
    return Path(os.environ.get("LEADERSHIP_SERVERS") or Path(__file__).parents[2] / ".servers").absolute()


def root() -> Path:
    """
    The unpacked packages.
    """
    return home() / "root"


def program(name: str) -> str:
    """
    A fetched program.
    """
    places = [root() / "usr" / folder / name for folder in ("bin", "sbin")]
    for path in places:
        if path.exists():
            return str(path)
    msg = f"{name} is not at {places[0]}: `{FETCH}` fetches it"
    raise ServersMissing(msg)


def libraries() -> str:
    """
    Where the fetched programs find fetched libraries, for LD_LIBRARY_PATH.
    """
    return os.pathsep.join(str(path) for path in sorted((root() / "usr" / "lib").glob("*-linux-*")))


def java_here() -> str | None:
    """
    The Java of this machine, or the fetched one.
    """
    fetched = sorted(root().glob("usr/lib/jvm/*/bin/java"))
    return shutil.which("java") or (str(fetched[0]) if fetched else None)


def java() -> str:
    """
    A Java for ZooKeeper.
    """
    found = java_here()
    if found is None:
        msg = f"there is no java on PATH nor below {root()}: `{FETCH}` fetches one"
        raise ServersMissing(msg)
    return found


def jars(*names: str) -> list[str]:
    """
    Fetched Java libraries.
    """
    paths = [root() / "usr" / "share" / "java" / f"{name}.jar" for name in names]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        msg = f"missing: {', '.join(missing)}: `{FETCH}` fetches them"
        raise ServersMissing(msg)
    return [str(path) for path in paths]
