"""
Sessions at Consul: granted, renewed, ended; with a TTL of their own, or bound to a check that an agent keeps.

* With a TTL: Consul ends it no sooner than the TTL after its last renewal, and as measured at twice the TTL.
* Bound to a check (the option `check`): a service with a TTL check is registered at the agent, and passed to renew. The
  session ends when the check has not been passed for the TTL, which may be shorter than a session's own may be. It ends
  too when the agent itself is found dead, sooner than the holder could know: the lock-delay, never less than the TTL,
  covers that. An agent that passes a check proves nothing of the servers, so each renewal reads the session as well.

A renewal that finds no session is not the truth yet: a server that has just started denies sessions that live. A
consistent read is answered from all that was ever committed, or not at all.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass

from leadership._clock import now
from leadership.backends._consul_workers import Caller
from leadership.errors import ConfigError, StoreUnavailable
from leadership.store import Outcome, Reply

PAUSE = 0.02
"""Seconds between two askings for what will be there soon."""
_BOUNDS = re.compile(r"Invalid Session TTL '\d+', must be between \[(\S+)=(\S+)\]")


@dataclass(frozen=True, slots=True)
class Granted:
    """
    A session, and the check that it is bound to.
    """

    id: str
    check: str | None = None


def duration(seconds: float) -> str:
    """
    Seconds as Consul writes them, never fewer.
    """
    return f"{-int(-seconds * 1000 // 1)}ms"


def grant(caller: Caller, ttl: float, lock_delay: float, *, until: float) -> Granted:
    """
    Begin a session.

    Raises:
        ConfigError: The server keeps no such TTL.
        StoreUnavailable: It cannot be had now.
        StoreRefused: It will not be had.
    """
    wanted = {"Name": "leadership", "Behavior": "delete", "LockDelay": duration(lock_delay)}
    if caller.settings.check is None:
        body: dict[str, object] = {**wanted, "TTL": duration(ttl), "NodeChecks": [], "Checks": []}
        return Granted(_create(caller, body, ttl, until))
    check = f"{caller.settings.check}-{uuid.uuid4().hex}"
    service = {
        "ID": check,
        "Name": caller.settings.check,
        "Check": {
            "CheckID": check,
            "Name": "a session of leadership",
            "TTL": duration(ttl),
            "Status": "passing",
            "DeregisterCriticalServiceAfter": "1m",
        },
    }
    name = caller.settings.check
    answer = caller.call("PUT", "agent/service/register", service, until=until)
    answer.check(f"registering the service {name!r} (service:write)")
    try:
        bound: dict[str, object] = {**wanted, "NodeChecks": ["serfHealth"], "ServiceChecks": [{"ID": check}]}
        while True:
            try:
                return Granted(_create(caller, bound, ttl, until), check)
            except StoreUnavailable as error:  # the servers hear of the check a moment later
                if "registration" not in str(error) or now() + PAUSE > until:
                    raise
            time.sleep(PAUSE)
    except BaseException:
        caller.call("PUT", f"agent/service/deregister/{check}", until=max(until, now() + 0.2))
        raise


def _create(caller: Caller, body: dict[str, object], ttl: float, until: float) -> str:
    answer = caller.call("PUT", "session/create", body, until=until)
    bounds = _BOUNDS.search(answer.text) if answer.status != 200 else None
    if bounds is not None:
        msg = (
            f"ttl={ttl:g} cannot be kept by {answer.host}: it keeps {bounds[1]} to {bounds[2]}"
            f" (session_ttl_min in the agent's configuration); the nearest is {bounds[1]}"
        )
        raise ConfigError(msg)
    return str(answer.check("making a session (session:write)").data["ID"])


def renew(caller: Caller, session: Granted, *, until: float) -> Reply:
    """
    Ask for another TTL. Refused: the session has ended.

    Raises:
        StoreUnavailable: It is not known.
        StoreRefused: The token does not allow it.
    """
    if session.check is not None:
        answer = caller.call("PUT", f"agent/check/pass/{session.check}", until=until)
        if answer.status < 500 and answer.status != 404:
            answer.check(f"passing the check {session.check!r} (service:write)")
        lives = exists(caller, session.id, until=until)
        if lives and answer.status != 200:
            answer.check(f"passing the check {session.check!r}", 404)
            msg = f"{answer.host} does not know the check {session.check!r}"
            raise StoreUnavailable(msg)
        return Reply(Outcome.DONE if lives else Outcome.REFUSED)
    while True:
        answer = caller.call("PUT", f"session/renew/{session.id}", until=until)
        if answer.check("renewing the session (session:write)", 404).status == 200:
            return Reply(Outcome.DONE)
        if not exists(caller, session.id, until=until):
            return Reply(Outcome.REFUSED)
        time.sleep(PAUSE)


def exists(caller: Caller, session: str, *, until: float) -> bool:
    """
    Whether a session lives, by a linearizable read.

    Raises:
        StoreUnavailable: It is not known.
    """
    answer = caller.call("GET", f"session/info/{session}", until=until, consistent=1)
    return bool(answer.check("reading the session (session:read)").data)


def end(caller: Caller, session: Granted, *, until: float) -> Reply:
    """
    Give a session up.

    Raises:
        StoreUnavailable: It is not known.
    """
    caller.call("PUT", f"session/destroy/{session.id}", until=until).check("ending the session (session:write)")
    if session.check is not None:
        answer = caller.call("PUT", f"agent/service/deregister/{session.check}", until=until)
        answer.check(f"removing the service of the check {session.check!r} (service:write)", 404, 500)
    return Reply(Outcome.DONE)
