"""
What the witnesses inside a contender's process write: one record is one line of JSON in one write.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, Protocol

from court.clock import now
from court.evidence import Look


class Looked(Protocol):
    """
    Who can be looked at.
    """

    def look(self) -> Look:
        """
        Whether it believes that it leads.
        """
        ...


class Journal:
    """
    Where this process writes what it sees.
    """

    def __init__(self, node: str, ending: str = ".jsonl") -> None:
        self.node = node
        self.folder = ""
        self._name = f"{node}-{os.getpid()}{ending}"
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def turn(self, folder: str) -> None:
        """
        Go on in the folder of another round.
        """
        new = os.open(Path(folder) / self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.folder = folder
        with self._lock:
            old, self._descriptor = self._descriptor, new
            if old is not None:
                os.close(old)

    def write(self, line: str) -> None:
        """
        One record.
        """
        with self._lock:
            if self._descriptor is not None:
                os.write(self._descriptor, f"{line}\n".encode())

    def say(self, what: str, **facts: Any) -> None:
        """
        Something that happened.
        """
        self.write(json.dumps({"what": what, "at": now(), **facts}))

    def look(self, contender: Looked) -> Look:
        """
        Look at a contender, and write down what was seen.
        """
        look = contender.look()
        token = "null" if look.token is None else str(look.token)
        deadline = "null" if look.deadline is None else f"{look.deadline:.6f}"
        leads = "true" if look.leads else "false"
        self.write(f'{{"b":{look.before:.6f},"a":{look.after:.6f},"l":{leads},"t":{token},"d":{deadline}}}')
        return look
