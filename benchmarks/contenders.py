"""
What peers in Python have in common: contenders in threads of their own, which lead until they are told to resign.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from benchmarks.worker import serve, tell
from leadership._clock import now


class Contender(ABC):
    """
    One contender of an election, in a thread of its own from the beginning.

    `resigned` is the moment before it gives the election up, `elected` the one at which the library's call tells it.
    """

    def __init__(self, election: str) -> None:
        self.election = election
        self.leads = False
        self._began = now()
        self._resign = threading.Event()
        self._cool_down = 0.0

    def start(self) -> None:
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            self.campaign()
            self.lead()
            self.resign()
            self.rest()

    def rest(self) -> None:
        """
        Let others lead.
        """
        time.sleep(self._cool_down)

    def lead(self) -> None:
        """
        Tell it, and return when it is time to resign.
        """
        at = now()
        self.leads = True
        tell("elected", at, token=int(1e6 * at), election=self.election, began=self._began)
        self._resign.wait()
        self._resign.clear()
        self.leads = False
        tell("resigned", now())

    def ask_to_resign(self, cool_down: float) -> None:
        self._cool_down = cool_down
        self._resign.set()

    @abstractmethod
    def campaign(self) -> None:
        """
        Return when it is elected.
        """

    @abstractmethod
    def resign(self) -> None:
        """
        Give it up.
        """


def contend(
    stand: Callable[[str, float], Contender],
    ending: Callable[[], None] | None = None,
    **more: Callable[..., None],
) -> None:
    """
    Take commands: stand for an election with a TTL, have the present leader resign, and others.
    """
    contenders: list[Contender] = []

    def stands(election: str, ttl: float = 15.0) -> None:
        contender = stand(election, ttl)
        contenders.append(contender)
        contender.start()

    def resigns(cool_down: float) -> None:
        (leader,) = [contender for contender in contenders if contender.leads]
        leader.ask_to_resign(cool_down)

    serve({"stand": stands, "resign": resigns, **more}, ending)
