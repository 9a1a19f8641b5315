"""
One candidate's campaigns: the entry, the session it belongs to, and the asking for the election.

Law: an entry of an earlier attempt is never adopted. A grant that nobody waits for, and an entry of which nothing is
known, are released until their absence is confirmed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from leadership.errors import StoreUnavailable
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.store import Entry, Fact, Holder, Outcome, Reply, Session, WatchEvent

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver
    from leadership._runtime.keeper import SessionKeeper


class Campaign:
    """
    What a candidate asks of its store. On the engine's thread only.
    """

    def __init__(self, driver: CandidateDriver, keeper: SessionKeeper) -> None:
        self._driver = driver
        self.keeper = keeper
        self.entry: Entry | None = None
        self.session: Session | None = None
        """The session that the present attempt's entry was asked for with."""
        self.token_reset = False
        """The last grant shows that the store has lost its data."""
        self._highest = 0
        """The newest token seen in this election."""
        self._acquiring = False
        self._again = False
        self._turnstile = None if driver.store.guarantees.queues else driver.engine.turnstile(driver)

    def begin(self) -> None:
        """
        A new attempt, with an entry of its own.
        """
        driver = self._driver
        metadata = driver.settings.metadata
        engine = driver.engine
        self.entry = Entry(
            driver.election, driver.node, engine.new_id(), metadata, number=engine.next_number(), above=self._highest
        )
        self.session = None
        self._acquiring = self._again = False

    def saw(self, holder: Holder, *, confirmed: bool) -> None:
        """
        An entry was seen to lead.
        """
        driver = self._driver
        if holder.session != driver.ctx.session:
            self._highest = max(self._highest, holder.token)
        elif confirmed and holder.token != driver.ctx.token:
            # Our session's, and not this term's: the store was restored to a time before it, and its entry is gone; or
            # it is our turn, and nobody has told us.
            driver.fire(Event(T.KEY_DELETED, driver.engine.now(), token=driver.ctx.token))

    def saw_nobody(self, *, confirmed: bool) -> None:
        """
        Nobody's entry stands; by a read that nothing has overtaken (`confirmed`), a leader's own does not either.

        A read does not tell whether the entry has gone with its session, as a watch does: the session is asked first.
        """
        ctx = self._driver.ctx
        if confirmed and ctx.state is S.LEADER:
            self.keeper.confirm(partial(self._is_gone, ctx.attempt, ctx.token))
        else:
            self._is_gone(ctx.attempt, ctx.token if confirmed else None)

    def _is_gone(self, attempt: int, token: int | None) -> None:
        self._driver.fire(Event(T.KEY_DELETED, self._driver.engine.now(), attempt=attempt, token=token))

    def ask(self) -> None:
        """
        Ask for the election, or ask again when the present asking is answered.
        """
        if self._acquiring:
            self._again = True
            return
        self._acquiring, self._again = True, False
        self.asks(self._driver.ctx.attempt)

    def asks(self, attempt: int) -> None:
        """
        Ask, unless another of this process asks already, or the attempt is over.
        """
        if not self._is_current(attempt):
            return
        if self._turnstile is None or self._turnstile.enter(self, attempt):
            self.keeper.ensure(partial(self._session_ready, attempt))

    def told(self, attempt: int, holder: Holder) -> None:
        """
        The answer to another candidate of this process says who leads.
        """
        if self._is_current(attempt):
            self._acquiring = False
            self._driver.fire(Event(T.CONTENDED, self._driver.engine.now(), attempt=attempt, payload=holder))

    def _is_current(self, attempt: int) -> bool:
        return attempt == self._driver.ctx.attempt and self._driver.ctx.state is S.CAMPAIGNING

    def _pass_on(self, holder: Holder | None) -> None:
        if self._turnstile is not None:
            self._turnstile.leave(self, holder)

    def cancel(self) -> None:
        """
        Ask no more.
        """
        self._again = False

    def _session_ready(self, attempt: int, session: Session | None, reply: Reply) -> None:
        driver, entry = self._driver, self.entry
        if not self._is_current(attempt) or entry is None:
            self._pass_on(None)
            return
        if session is None:
            self._acquiring = False
            self.failed(attempt, reply)
            self._pass_on(None)
            return
        self.session = session
        driver.ctx.session = session.id
        driver.engine.request(
            "acquire",
            partial(session.acquire, entry),
            self.keeper.call_timeout,
            partial(self._answered, attempt, session, entry),
        )

    def _answered(self, attempt: int, session: Session, entry: Entry, reply: Reply, late: bool) -> None:
        driver = self._driver
        if attempt == driver.ctx.attempt and not late:
            self._acquiring = False
        if reply.outcome is Outcome.DONE:
            self._granted(attempt, session, entry, reply)
        elif late:
            pass
        elif reply.outcome is Outcome.REFUSED and not reply.fatal:
            driver.fire(Event(T.CONTENDED, driver.engine.now(), attempt=attempt, payload=reply.holder))
        else:
            # It may yet be carried out, after the clean-up's release.
            self.keeper.doubt(session, entry, outstanding=True)
            self.failed(attempt, reply)
        if not late:
            self._pass_on(self._leads_now(session, entry, reply))

    @staticmethod
    def _leads_now(session: Session, entry: Entry, reply: Reply) -> Holder | None:
        """
        Who leads by an answer, if it says so.
        """
        if reply.outcome is Outcome.DONE:
            return Holder(entry.node, reply.token or 0, session.id, entry.metadata or {})
        return reply.holder if reply.outcome is Outcome.REFUSED else None

    def _granted(self, attempt: int, session: Session, entry: Entry, reply: Reply) -> None:
        driver = self._driver
        alive = session is self.keeper.session
        token = reply.token or 0
        error: StoreUnavailable | None = None
        if token == driver.follower.ctx.ended:  # the watch was quicker than the reply
            alive, error = False, StoreUnavailable(f"the entry with token {token} was removed before its grant came")
        if alive and self._is_current(attempt):
            self.token_reset = reply.token_reset or token <= self._highest
            self._highest = token
        driver.fire(
            Event(
                T.ACQUIRED,
                driver.engine.now(),
                attempt=attempt,
                token=token,
                session=session.id,
                deadline=self.keeper.deadline if alive else 0.0,
                error=error,
                revision=reply.revision,
                payload=(session, entry),
            )
        )

    def failed(self, attempt: int, reply: Reply) -> None:
        """
        A call of that attempt came to nothing, or nobody knows to what.
        """
        error = reply.error or StoreUnavailable("the store refused without a reason")
        now = self._driver.engine.now()
        self._driver.fire(Event(T.STORE_ERROR, now, attempt=attempt, error=error, fatal=reply.fatal))

    def contended(self, event: Event[Any]) -> None:
        """
        Another leads: wait, and ask again before long whatever watch and reads say.
        """
        driver = self._driver
        if isinstance(event.payload, Holder):
            driver.follower.observe(WatchEvent(Fact.LEADER_OBSERVED, holder=event.payload))
        if self._again:
            self.ask()
            return
        ttl = driver.settings.ttl
        driver.arm(driver.engine.now() + ttl * (1 + driver.engine.random.random()), self._ask_again)

    def _ask_again(self, attempt: int) -> None:
        driver = self._driver
        if attempt != driver.ctx.attempt or driver.ctx.state is not S.CAMPAIGNING:
            return
        if driver.follower.is_fresh:  # its batched reads find our turn as well (`saw`), and cost less
            driver.arm(driver.engine.now() + driver.settings.ttl, self._ask_again)
        else:
            driver.turn()

    def release_orphan(self, event: Event[Any]) -> None:
        """
        Let a grant go that nobody waits for.
        """
        session, entry = event.payload
        self.keeper.doubt(session, entry)
        self.keeper.release_doubts()
