"""
Makes a failing plan as small as it goes: fewer steps, fewer candidates, plainer ones, while the same law is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from seeds.life import play
from seeds.plan import Plan, Stand

MOST_PLAYS: Final = 600


def shrink(plan: Plan, law: str) -> Plan:
    """
    The smallest plan that was found to break the law, too.
    """
    left = MOST_PLAYS

    def breaks(smaller: Plan) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and play(smaller).law == law

    while True:
        before = plan
        for part in (_fewer_steps, _fewer_stands, _plainer_stands):
            plan = part(plan, breaks)
        if plan == before or left <= 0:
            return plan


def _fewer_steps(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    size = len(plan.steps)
    while size:
        start = len(plan.steps)
        while start > 0:
            start = max(0, start - size)
            smaller = plan.without(steps=plan.steps[:start] + plan.steps[start + size :])
            if smaller != plan and breaks(smaller):
                plan = smaller
        size //= 2
    return plan


def _fewer_stands(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    for stand in plan.stands:
        smaller = plan.without(stands=tuple(each for each in plan.stands if each is not stand))
        if smaller.stands and breaks(smaller):
            plan = smaller
    return plan


def _plainer(stand: Stand) -> Iterator[Stand]:
    yield Stand(stand.node, works=False)
    yield Stand(stand.node)
    yield replace(stand, linger=0.0)
    yield replace(stand, grace=None)


def _plainer_stands(plan: Plan, breaks: Callable[[Plan], bool]) -> Plan:
    for index, stand in enumerate(plan.stands):
        for plain in _plainer(stand):
            smaller = plan.without(stands=(*plan.stands[:index], plain, *plan.stands[index + 1 :]))
            if smaller != plan and breaks(smaller):
                plan = smaller
                break
    return plan
