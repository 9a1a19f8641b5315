"""
Faults of followers, and of their way to the store.
"""

from __future__ import annotations

from typing import Final

from servers._process import state

from court.clock import now
from court.fault import SERVED, Fault, Injection

AWAY: Final = 2.0
"""Seconds: longer than a follower may take for known what was true once."""


class Miss(Fault):
    """
    The follower is cut off, and knows it; the leader resigns meanwhile.

    It may say that it does not know who leads, but not name the old leader for long. When it is let in again it has to
    find the new one, of whose election no watch will ever tell it.
    """

    name = "F4 follower cut off"
    stores = SERVED
    bound = "hand_over"

    def inject(self, injection: Injection) -> None:
        """
        Close its connections, hold back new ones, and ask the leader to resign.
        """
        proxies = [proxy for each in injection.stage.followers for proxy in each.proxies]
        injection.facts["proxies"] = proxies
        injection.facts["held"] = sum(proxy.held for proxy in proxies)
        for proxy in proxies:
            proxy.cut()
            proxy.reset()
        answer = injection.leader.ask("resign")
        injection.at = answer["at"]
        injection.facts["settled"] = answer["settled"]

    def hold(self, injection: Injection) -> float | None:
        """
        So long.
        """
        del injection
        return AWAY

    def heal(self, injection: Injection) -> None:
        """
        Let it in again.
        """
        proxies = injection.facts["proxies"]
        held = sum(proxy.held for proxy in proxies) - injection.facts["held"]
        injection.proof = f"held back {held} times" if held and injection.facts["settled"] else ""
        for proxy in proxies:
            proxy.heal()


class Sleep(Fault):
    """
    The follower's process is stopped by SIGSTOP, and the leader resigns meanwhile.
    """

    name = "F3 follower paused"
    bound = "hand_over"

    def inject(self, injection: Injection) -> None:
        """
        Stop it, and ask the leader to resign.
        """
        (follower,) = injection.stage.followers
        injection.facts["from"] = now()
        follower.pause()
        answer = injection.leader.ask("resign")
        injection.at = answer["at"]
        injection.proof = f"its state is {state(follower.process.pid)}" if answer["settled"] else ""

    def hold(self, injection: Injection) -> float | None:
        """
        So long.
        """
        del injection
        return AWAY

    def heal(self, injection: Injection) -> None:
        """
        Let it go on.
        """
        (follower,) = injection.stage.followers
        until = follower.resume()
        injection.stage.pauses.append((follower.node, follower.process.pid, injection.facts["from"], until))
