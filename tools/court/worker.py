"""
The process of one contender: it stands, is looked at every 5 ms, and writes to the resource while it believes.

Everything that is seen is one line of JSON in one write, in the folder of the present round. It takes commands on
standard input, and answers on standard output, where changes of belief are told too.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from typing import Any, Final

from court.clock import now
from court.contender import Contender, LibraryContender, LoopContender, Role
from court.controls import CONTROLS
from court.journal import Journal
from court.mischief import MISCHIEF

IDLE: Final = 0.005
WORK: Final = 0.04
"""Seconds from the look that allows a write to the write: what a pause falls into."""


def tell(**facts: Any) -> None:
    """
    A line for the conductor.
    """
    os.write(1, f"{json.dumps(facts)}\n".encode())


def sample(contender: Contender, journal: Journal, pause: float) -> None:
    """
    Look again and again, for ever.
    """
    believed: int | bool | None = False
    while True:
        look = journal.look(contender)
        belief = (look.token or True) if look.leads else False
        if belief != believed:
            believed = belief
            tell(believes=look.leads, token=look.token, at=look.after)
        time.sleep(pause)


class Writer:
    """
    Work of a leader that looks first and writes a moment later, to the fenced resource and to its twin.
    """

    def __init__(self, contender: Contender, node: str, address: str, ports: list[int]) -> None:
        self._contender = contender
        self._node = node
        self._address = address
        self._ports = ports
        self._sockets = {port: socket.create_connection((address, port), timeout=5.0) for port in ports}

    def run(self) -> None:
        """
        For ever.
        """
        while True:
            look = self._contender.look()
            if not look.leads or look.token is None:
                time.sleep(IDLE)
                continue
            time.sleep(WORK)
            for port in self._ports:
                self._write(port, look.token)

    def _write(self, port: int, token: int) -> None:
        try:
            if port not in self._sockets:
                self._sockets[port] = socket.create_connection((self._address, port), timeout=5.0)
            self._sockets[port].sendall(f"{json.dumps({'node': self._node, 'token': token})}\n".encode())
            self._sockets[port].recv(16)
        except OSError:
            broken = self._sockets.pop(port, None)
            if broken is not None:
                broken.close()


def step_wall_clock(seconds: float) -> None:
    """
    What the wall clock says in this process from now on, where Python's `time.time` is asked.
    """
    real = time.time
    time.time = lambda: real() + seconds


def main() -> None:
    """
    Serve commands until standard input ends.
    """
    told = json.loads(sys.argv[1])
    role = Role(**told["role"])
    journal = Journal(role.node)
    journal.turn(told["folder"])
    ours = LoopContender if role.face == "asyncio" else LibraryContender
    contender: Contender = (ours if role.kind == "library" else CONTROLS[role.kind])(role, journal.say)
    threading.Thread(target=sample, args=(contender, journal, role.sample), daemon=True).start()
    for number in range(role.writers):
        writer = Writer(contender, role.node, told["address"], told["ports"])
        threading.Timer(number * WORK / role.writers, writer.run).start()
    tell(answer="ready", at=now())
    for line in sys.stdin:
        command = json.loads(line)
        at = now()
        settled = True
        facts: dict[str, Any] = {}  # what a command tells beside
        match command["do"]:
            case "start":
                contender.start()
            case "round":
                journal.turn(command["folder"])
            case "resign":
                settled = contender.resign()
            case "leave":
                settled = isinstance(contender, LibraryContender) and contender.leave()
            case "hang":
                settled = contender.hang(command["seconds"])
            case "wall_clock":
                step_wall_clock(command["by"])
            case do:
                facts = MISCHIEF[do](contender, journal, command)
        journal.say("command", **command)
        tell(**{"answer": command["do"], "at": at, "settled": settled, **facts})
    os._exit(0)


if __name__ == "__main__":
    main()
