"""
Threads that run one at a time, when the simulation says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Abandoned(BaseException):
    """
    Raised inside a callback that still waits when its simulation is closed.
    """


class VirtualThread:
    """
    A real thread that runs only while the simulation waits for it.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self.over = False
        self.abandoned = False
        self._thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        _local.thread = self
        self._go.acquire()
        try:
            if not self.abandoned:
                self._run()
        except Abandoned:
            pass
        finally:
            self.over = True
            self._back.release()

    def resume(self) -> None:
        """
        Let it run until it waits or ends. Called by the simulation.
        """
        if self.over:
            return
        if not self._thread.is_alive():
            self._thread.start()
        self._go.release()
        self._back.acquire()

    def pause(self) -> None:
        """
        Let the simulation run until it resumes this thread. Called by the thread itself.
        """
        self._back.release()
        self._go.acquire()
        if self.abandoned:
            raise Abandoned

    def abandon(self) -> None:
        """
        End it where it waits.
        """
        self.abandoned = True
        self.resume()


class _Local(threading.local):
    thread: VirtualThread | None = None


_local = _Local()


def current_thread() -> VirtualThread | None:
    """
    The virtual thread that the caller runs in.
    """
    return _local.thread
