"""
The version of a server, by the word `srvr`, which ZooKeeper answers outside of its protocol unless it is forbidden.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from leadership.backends._zookeeper_errors import Options

MOST: Final = 4096
"""Bytes of an answer that are looked at."""


async def about(options: Options) -> str:
    """
    ZooKeeper and its version, if one of the servers tells it; whether they can be reached is another question.
    """
    for host, port in options.address.hosts if options.tls is None else ():
        try:
            async with asyncio.timeout(min(1.0, options.timeout)):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(b"srvr")
                    answer = await reader.read(MOST)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            continue
        version = re.search(rb"version: ([\w.]+)", answer)
        if version is not None:
            return f"ZooKeeper {version[1].decode()}"
    return "ZooKeeper, which does not tell its version"
