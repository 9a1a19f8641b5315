"""
What an observer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from leadership.fsm.record import Transition

Observer: TypeAlias = Callable[[Transition], None]
"""
Anything that can be called with a record; a `close()` without arguments is optional.

It is called on the observer lane, one record at a time, in the order of `seq`. What it raises is logged and goes no
further; records that it is too slow for are dropped and counted, and the gap shows in `seq`. An `AuditLog` has a lane
of its own, which drops nothing.
"""
