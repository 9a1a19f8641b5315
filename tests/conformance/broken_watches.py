"""
Stores with one fault each in what they tell.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leadership.backends.memory import MemoryServer
from leadership.store import Fact, Notify, Outcome, Reply, WatchEvent


class BeginsInSilence(MemoryServer):
    """
    A watch tells changes only.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        watchers = self._election(name).watchers
        watchers.append(notify)
        return lambda: watchers.remove(notify)


class BeginsVacant(MemoryServer):
    """
    A watch begins with nobody, whoever leads.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        asyncio.get_running_loop().call_soon(notify, WatchEvent(Fact.VACANT_OBSERVED))
        return super().watch(name, notify)


class SilentWhenGone(MemoryServer):
    """
    A watch tells who leads, and not that it is over.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        if event.fact is not Fact.KEY_DELETED:
            super()._tell(election, event)


class GoneWithoutToken(MemoryServer):
    """
    A watch tells that something is over, and not what.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        super()._tell(election, replace(event, token=None) if event.fact is Fact.KEY_DELETED else event)


class TellsHalf(MemoryServer):
    """
    A watch leaves out the metadata.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        holder = None if event.holder is None else replace(event.holder, metadata={})
        super()._tell(election, replace(event, holder=holder))


class TellsLate(MemoryServer):
    """
    Good news takes longer than bad.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        delay = 0.02 if event.fact is Fact.LEADER_OBSERVED else 0.0
        asyncio.get_running_loop().call_later(delay, super()._tell, election, event)


class TalksAfterClose(MemoryServer):
    """
    Closing a watch does nothing.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        super().watch(name, notify)
        return lambda: None


class FinishesItsSentence(MemoryServer):
    """
    What was under way when a watch was closed is told all the same.
    """

    @staticmethod
    def _pass_on(election: Any, notify: Notify, event: WatchEvent) -> None:
        notify(event)


class ClosesAll(MemoryServer):
    """
    Closing one watch closes its neighbours.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        super().watch(name, notify)
        return self._election(name).watchers.clear


class OneListener(MemoryServer):
    """
    The newest watch replaces the others.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        self._election(name).watchers.clear()
        return super().watch(name, notify)


class WatchesByPrefix(MemoryServer):
    """
    A watch hears of every election whose name begins as its own does.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        name = next(name for name, each in self.elections.items() if each is election)
        for other, each in self.elections.items():
            if name.startswith(other):
                super()._tell(each, event)


class MixesUpWhatIsGone(MemoryServer):
    """
    A watch hears that some entry is gone, whichever election it was in.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        for each in self.elections.values() if event.fact is Fact.KEY_DELETED else (election,):
            super()._tell(each, event)


class LosesTheReason(MemoryServer):
    """
    A request comes without what the operator wrote.
    """

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        return super().request_resign(name, token, None)


class TellsNewRequestsOnly(MemoryServer):
    """
    A request that was made before a watch began is not told to it.
    """

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        election = self._election(name)
        asked, election.request = election.request, (0, None)
        close = super().watch(name, notify)
        election.request = asked
        return close


class RequestDeposes(MemoryServer):
    """
    A request ends the term itself.
    """

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        reply = super().request_resign(name, token, reason)
        if reply.outcome is Outcome.DONE:
            self.vacate(name, Fact.KEY_DELETED)
        return reply


class RequestOutlivesTheTerm(MemoryServer):
    """
    A request stays for whoever leads next.
    """

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        self.__dict__.setdefault("reasons", {}).setdefault(name, reason)
        return super().request_resign(name, token, reason)

    def _tell(self, election: Any, event: WatchEvent) -> None:
        super()._tell(election, event)
        name = next(name for name, each in self.elections.items() if each is election)
        reasons = self.__dict__.get("reasons", {})
        if event.fact is Fact.LEADER_OBSERVED and name in reasons:
            request = WatchEvent(Fact.RESIGN_REQUESTED, token=election.token, reason=reasons[name])
            super()._tell(election, request)


class AsksAnyone(MemoryServer):
    """
    A request does not compare the token.
    """

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        self._tell(self._election(name), WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason))
        return Reply(Outcome.DONE)


class AsksInSpiteOfItself(MemoryServer):
    """
    A request for another term is refused, and told.
    """

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        reply = super().request_resign(name, token, reason)
        if reply.outcome is Outcome.REFUSED:
            self._tell(self._election(name), WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason))
        return reply


class TellsTheReasonTooLate(MemoryServer):
    """
    Why a term ended is told when it has.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        late: list[WatchEvent] = self.__dict__.setdefault("late", [])
        if event.fact is Fact.RESIGN_REQUESTED:
            late.append(event)
            return
        super()._tell(election, replace(event, reason=None))
        if event.fact is Fact.KEY_DELETED:
            while late:
                super()._tell(election, late.pop())


class BlamesTheNext(MemoryServer):
    """
    The reason of one term is told at the end of every later one.
    """

    def vacate(self, name: str, fact: Fact) -> None:
        election = self._election(name)
        if election.holder is not None:
            election.request = (election.holder.token, election.request[1])
        super().vacate(name, fact)


class SeesTheLatestOnly(MemoryServer):
    """
    What happened between two looks is not told.
    """

    def _tell(self, election: Any, event: WatchEvent) -> None:
        if event.fact is Fact.LEADER_OBSERVED:
            super()._tell(election, event)


class TellsOffTheLoop(MemoryServer):
    """
    A watch calls from a thread of the client's.
    """

    @staticmethod
    def _pass_on(election: Any, notify: Notify, event: WatchEvent) -> None:
        thread = threading.Thread(target=notify, args=(event,))
        thread.start()
        thread.join()
