"""
What can go wrong, by what the caller can do about it.

Every error that the library raises on purpose is a `LeadershipError`.
"""

from __future__ import annotations


class LeadershipError(Exception):
    """
    Base of every error of the library; never raised itself.
    """


class ConfigError(LeadershipError, ValueError):
    """
    An argument cannot be used: change it.

    Raised before anything starts; what only the server can tell (a TTL that it does not keep) ends what runs.
    """


class StoreUnavailable(LeadershipError):
    """
    The store did not answer, or answered that it cannot serve now: try again later.

    The outcome of the call that met it is unknown.
    """


class StoreRefused(LeadershipError):
    """
    The store answered and refused: credentials, permission, foreign data. Trying again will not help.
    """


class NotLeader(LeadershipError):
    """
    The term is over, or its lease has reached its local deadline: stop the work.
    """


class IllegalTransition(LeadershipError):
    """
    An event arrived that the machine's table declares impossible in this state; nothing has moved.
    """
