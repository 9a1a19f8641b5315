"""
`leadership run`: runs CMD while leading, and lets it live no longer than the term.

Law 1: CMD and all that descends from it is dead before the lease can lapse, and before the entry is released.
Law 2: a term's callback returns only after that, hence no other candidate is elected before it.
Law 3: the candidate, not this file, decides who leads. Here a term is given work, and its end is given to the work.

How late is too late: the local deadline of a lease lies 10 % of the TTL before the store's. CMD is killed another 5 %
before that (`SLACK`), and told to end another 10 % earlier (`NOTICE`, or the grace where that is less) when no renewal
has been acknowledged for so long.
"""

from __future__ import annotations

import argparse
import os
import queue
import shlex
import signal
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final, TypeAlias

from leadership import (
    Candidate,
    ConfigError,
    DemotionCause,
    Leader,
    StoreRefused,
    StoreUnavailable,
    Term,
    Timing,
    Transition,
    _clock,
)
from leadership.cli._audit import spoken
from leadership.cli._command import check_command, check_proc, why_refused
from leadership.cli._common import Exit, say, without_waiting_for_stderr
from leadership.cli._http import answering
from leadership.cli._job import NOT_EXECUTABLE, End, Job, adopt_orphans, reap
from leadership.cli._store import reach

if TYPE_CHECKING:
    from collections.abc import Callable

SLACK: Final = 0.05
NOTICE: Final = 0.1
"""Parts of the TTL."""
RELEASE_WAITS: Final = 3600.0
"""Seconds: however late CMD dies, the entry is released after that. Only what no signal can end may take so long."""
LONGEST_TTL: Final = 86_400.0
"""Seconds: no store of ours grants more."""
TELL_EVERY: Final = 1 / 30
"""Part of the TTL: how often the guard is told of the deadline, which moves with each renewal."""
ENDS: Final = (signal.SIGINT, signal.SIGTERM)
PASSED_ON: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
NOT_OURS: Final = {
    DemotionCause.DELETED,
    DemotionCause.SUPERSEDED,
    DemotionCause.SESSION_LOST,
    DemotionCause.LEASE_EXPIRED,
}
"""Causes after which another may lead already: no time is left for CMD."""


DEMOTED: Final = ("told", "overdue", "never")
"""Ends of CMD after which it stands again."""


class Elected:
    """
    News: CMD runs.
    """


News: TypeAlias = Elected | End | signal.Signals | BaseException


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    check_proc()
    status = check_command(args.command)
    if status is not None:
        return status
    with without_waiting_for_stderr(), reach(args.store) as store, spoken(args.audit) as observers:
        candidate = Candidate(
            store,
            args.election,
            args.node,
            ttl=args.ttl,
            grace=RELEASE_WAITS,
            observers=observers,
            log=False,
        )
        runner = Runner(candidate, args.command, grace=args.grace, wait=args.wait, once=args.once)
        with answering(args.listen, candidate):
            return runner.run()


class Runner:
    """
    A candidate whose terms are spent running CMD.
    """

    def __init__(
        self,
        candidate: Candidate,
        command: Sequence[str],
        *,
        grace: float | None = None,
        wait: float | None = None,
        once: bool = False,
    ) -> None:
        """
        Args:
            candidate: Not started, of nobody else.
            command: CMD and its arguments.
            grace: Seconds between SIGTERM and SIGKILL; None for as long as the lease allows.
            wait: Seconds without election after which it gives up; None for never.
            once: Give up after the first demotion.

        Raises:
            ConfigError: The lease is too short for the grace.
        """
        self.candidate = candidate
        self.command = command
        self.words = command[0]
        self.wait = wait
        self.once = once
        timing = candidate.timing
        self.slack = SLACK * timing.effective_ttl
        self.grace = timing.effective_ttl if grace is None else grace
        self.notice = min(self.grace, NOTICE * timing.effective_ttl)
        self.tell_every = TELL_EVERY * timing.effective_ttl
        sure = longest_grace(timing)
        if grace is not None and grace > sure:
            enough = grace / sure * timing.effective_ttl
            longer = f", or --ttl {enough:.3g} or more" if enough <= LONGEST_TTL else ""
            msg = (
                f"--grace {grace:g} cannot be kept within a lease of {timing.effective_ttl:g} s, of which {sure:.3g} s"
                f" are sure to be left: take less{longer}"
            )
            raise ConfigError(msg)
        self.inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.job: Job | None = None
        self.stop_signal: signal.Signals | None = None
        self.over = False
        self._trouble = self._said = ""
        """The last error of the store since the last term, and the last that was said."""
        candidate.on_elected(self.lead)
        candidate.on_demoted(self.demoted)
        candidate.on_leader_changed(self.leader_changed)
        candidate.on_transition(self.transition)
        candidate.on_error(self.inbox.put)

    # -- the main thread ----------------------------------------------------------------------------------------

    def run(self) -> int:
        """
        Stand until CMD has ended by itself, a signal came, or it is time to give up; returns the exit status.
        """
        adopt_orphans()
        restore = self._take_signals()
        try:
            self.candidate.start()
            status = self._supervise()
        finally:
            self.over = True
            settled = self.candidate.stop()
            restore()
        if not settled:
            say(f"{self.candidate.election}: the release was not confirmed; the lease ends by itself")
        return self._last_word(status)

    def _supervise(self) -> int:
        give_up = self._from_now()
        while True:
            try:
                news = self.inbox.get(timeout=None if give_up is None else max(0.0, give_up - _clock.now()))
            except queue.Empty:
                return self._not_elected()
            if isinstance(news, Elected):
                give_up = None
            elif isinstance(news, End):
                if news.why not in DEMOTED:
                    return news.status
                if self.once:
                    return Exit.NOT_ELECTED
                give_up = self._from_now()
            elif isinstance(news, signal.Signals):
                return 128 + news
            elif isinstance(news, StoreRefused):
                say(f"{self.candidate.election}: {news}")
                return Exit.REFUSED
            elif isinstance(news, ConfigError):
                say(f"{self.candidate.election}: {news}")
                return Exit.USAGE
            elif not isinstance(news, StoreUnavailable):  # that one will be tried again, and was said
                say(f"{self.candidate.election}: {type(news).__name__}: {news}")

    def _from_now(self) -> float | None:
        return None if self.wait is None else _clock.now() + self.wait

    def _not_elected(self) -> int:
        if self._trouble and (self.candidate.is_stale or self.candidate.leader is None):
            say(f"{self.candidate.election}: not elected in time, and the store does not answer: {self._trouble}")
            return Exit.UNAVAILABLE
        say(f"{self.candidate.election}: not elected in time (--wait {self.wait})")
        return Exit.NOT_ELECTED

    def _last_word(self, status: int) -> int:
        """
        A CMD that was running when a signal came has the last word.
        """
        if self.stop_signal is not None:
            while not self.inbox.empty():
                news = self.inbox.get()
                if isinstance(news, End) and news.why != "never":
                    return news.status
        return status

    def _take_signals(self) -> Callable[[], None]:
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (*ENDS, *PASSED_ON)
            if signal.getsignal(number) is not signal.SIG_IGN  # as nohup wants it
        }
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._on_child)

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        reap()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        job, signum = self.job, signal.Signals(number)
        if self.stop_signal is not None and signum in ENDS:
            if job is not None:
                job.end(0.0)  # asked twice: no more grace
            return
        if signum in ENDS or (signum is signal.SIGHUP and job is None):
            self.stop_signal = signum
            self.inbox.put(signum)
        if job is not None:
            job.signal(number)  # last: CMD may answer it, or end, and the next signal come, before this returns

    # -- threads of the candidate -------------------------------------------------------------------------------

    def lead(self, term: Term) -> None:
        """
        Run CMD for a term; returns when nothing of it is left.
        """
        if self.over:
            return
        env = {
            **os.environ,
            "LEADERSHIP_ELECTION": term.election,
            "LEADERSHIP_NODE": term.node,
            "LEADERSHIP_TOKEN": str(term.token),
        }
        try:
            job = Job(
                self.command,
                env,
                deadline=term.deadline - self.slack,
                notice=self.notice,
                grace=self.grace,
                held=self.candidate.liveness_fds(),
            )
        except OSError as error:
            say(f"the guard of {self.words} could not be started: {error}")
            self.inbox.put(End("refused", NOT_EXECUTABLE))
            return
        self.job = job  # from here on a signal is for it: it may run before anything is said of it
        try:
            self.inbox.put(Elected())
            say(f"{term.election}: {term.node} is elected with token {term.token}: running {shlex.join(self.command)}")
            end = self._attend(job, term)
        except BaseException:
            job.destroy("told")  # whatever went wrong: the term must not end before its work
            raise
        finally:
            self.job = None
        self._report(term, end)
        if end.why in ("overdue", "never") and term.is_current:
            # Its last renewal came too late for CMD: the term must not go on without its work.
            self.candidate.resign("no renewal was acknowledged in time", timeout=0.0)
        self.inbox.put(end)

    def _attend(self, job: Job, term: Term) -> End:
        """
        Tell the guard what becomes of the term, and see to it that it does its duty.
        """
        kill_at: float | None = None
        pause = self.tell_every
        while True:
            end = job.wait(pause)
            if end is not None:
                return end
            deadline = term.deadline - self.slack
            if kill_at is None and not term.is_current:
                kill_at = 0.0 if term.cause in (None, *NOT_OURS) else _clock.now() + self.grace
                job.end(kill_at)
            elif kill_at is None and deadline > job.deadline:
                job.tell(deadline)
            last = job.deadline if kill_at is None else min(kill_at, job.deadline)
            pause = min(self.tell_every, max(last, job.asked) + self.slack - _clock.now())
            if pause < 0:
                return job.destroy("told")  # the guard itself is frozen

    def _report(self, term: Term, end: End) -> None:
        if end.why == "refused":
            say(why_refused(self.words, end))
        elif end.why == "lost":
            say(f"{term.election}: the guard of {self.words} was killed, and {self.words} with it")
        elif end.why != "never":
            say(f"{term.election}: {self.words} ended with status {end.status}")

    def demoted(self, term: Term, cause: DemotionCause) -> None:
        """
        Have the end of the term noticed at once.
        """
        job = self.job
        if job is not None:
            why = f"{cause.value}: {term.reason}" if term.reason else cause.value
            say(f"{term.election}: {term.node} is demoted ({why}): ending {self.words}")
            job.poke()

    def leader_changed(self, leader: Leader | None) -> None:
        """
        Say for whom it waits.
        """
        if leader is not None and not leader.is_self and not self.over:
            say(f"{self.candidate.election}: waiting, {leader.node} leads with token {leader.token}")

    def transition(self, record: Transition) -> None:
        """
        Say what trouble there is, once.
        """
        if record.dest == "error":
            self._trouble = record.error or ""
        elif record.dest == "leader":
            self._trouble = self._said = ""
        elif record.source == "error" and record.dest == "backoff" and self._trouble != self._said:
            self._said = self._trouble
            say(f"{record.election}: {self._trouble}; trying again")


def last_moment(timing: Timing) -> float:
    """
    Seconds after the sending of the last acknowledged renewal at which CMD is killed.
    """
    return timing.steps_down_after - SLACK * timing.effective_ttl


def longest_grace(timing: Timing) -> float:
    """
    Seconds that are sure to be left for CMD to end, as long as renewals succeed.
    """
    return last_moment(timing) - timing.renew_interval
