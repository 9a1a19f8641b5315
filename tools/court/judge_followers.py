"""
The laws about what one process sees of another's term.

O2: what a follower claims to know is what the store has, or had a moment ago, and never goes back to an older term; in
calm it knows. S5: an entry does not go while its holder's lease stands, unless the holder gives it up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple

from court.evidence import Evidence, Report, View

FOLLOWED: Final = 1.0
"""Seconds after a change, or after the store answers again, in which a follower has to know."""
PASSING: Final = 0.1
"""
Seconds for which a follower that catches up may tell, one after the other, what has happened meanwhile; one whose
process stood still, what it knew before.
"""
EARLY: Final = 0.5
"""Seconds by which a follower may learn of a vacancy before the observer does."""
GONE: Final = frozenset({"deleted", "superseded"})
"""Causes of a term's end: its entry was not there any more."""


class Truth(NamedTuple):
    """
    What the store had, as the observer saw it: from about `since`, and until `until` at the latest.
    """

    token: int | None
    since: float
    until: float


def history(store: list[dict[str, Any]]) -> list[Truth]:
    """
    What the store had, one after the other. While it does not answer, what it had last may still be true.

    Between two terms nobody has led, whether the observer saw that or not.
    """
    told = [record for record in store if "error" not in record]
    made = []
    for one, other in pairwise([*told, None]):
        if one is None:
            continue
        until = math.inf if other is None else other["a"]
        made.append(Truth(one["token"], one["b"], until))
        if other is not None and None not in (one["token"], other["token"]):
            made.append(Truth(None, one["b"], until))
    return made


def age(view: View, truths: list[Truth], facts: Mapping[str, Any], first: float) -> float:
    """
    How long before a view what it says was true for the last time, at least. 0 where that is not known.

    What was true before the first of the round may have been so until `first`.
    """
    if view.token is None:
        held = [each.until for each in truths if each.token is None and each.since < view.after + EARLY] or [first]
    else:
        held = [each.until for each in truths if each.token == view.token]
        held = held or [first if view.token <= facts["highest"] else math.inf]
    return max(0.0, view.before - max(held))


def misled(evidence: Evidence, measures: dict[str, Any]) -> Iterator[str]:
    """
    O2: what each follower told, against what the observer saw.
    """
    facts = evidence.facts
    truths = history(evidence.store)
    if not truths:
        return  # the round is void by that
    owners = {look.token: each.node for each in evidence.accounts for look in each.samples if look.leads}
    owners |= {
        said["token"]: each.node for each in evidence.accounts for said in each.said if said["what"] == "elected"
    }
    terms = {truth.token for truth in truths} | owners.keys()
    for report in evidence.reports:
        if "S2" not in facts["spared"]:
            yield from _gone_back([view for view in report.views if view.token in terms], report.name)
        yield from _invented(report, evidence, owners)
        yield from _behind(report, evidence, truths, measures)
        yield from _in_calm(report, evidence, measures)


def _gone_back(views: list[View], name: str) -> Iterator[str]:
    """
    Among the terms that there were: what an operator writes may count as one, with a token of its own.
    """
    highest = 0
    for view in views:
        if view.token is not None and view.token < highest:
            yield f"{name} told of token {view.token} after {highest}"
            return
        highest = max(highest, view.token or 0)


def _invented(report: Report, evidence: Evidence, owners: Mapping[int | None, str]) -> Iterator[str]:
    """
    A term that neither the observer nor any candidate knows of, or another's.

    The observer polls, and may miss a term that was short; a candidate does not miss its own, unless it was stopped as
    it was granted: what was told for a moment only is no invention. What an operator writes
    (S1-store is spared then) may be missed by both; so may, where a server is cut off from the others, a place at the
    head of ZooKeeper's queue that its candidate gives up as soon as it hears of it.
    """
    seen: dict[int, set[str]] = {}
    for record in evidence.store:
        if record.get("token") is not None:
            seen.setdefault(record["token"], set()).add(record["node"])
    facts = evidence.facts
    blind = "S1-store" in facts["spared"] or facts.get("splits") or any("error" in told for told in evidence.store)
    told: dict[tuple[str | None, int], list[View]] = {}
    for view in report.views:
        if view.token is not None:
            told.setdefault((view.node, view.token), []).append(view)
    for (node, token), views in told.items():
        names = seen.get(token, set()) | ({owners[token]} if token in owners else set())
        lasted = views[-1].before - views[0].after > PASSING
        if names and node not in names and not blind:
            yield f"{report.name} told that {node} has token {token}, which is of {', '.join(sorted(names))}"
        if not names and not blind and lasted and token > facts["highest"]:
            yield f"{report.name} told of {node} with token {token}, which nobody has had"


def _behind(report: Report, evidence: Evidence, truths: list[Truth], measures: dict[str, Any]) -> Iterator[str]:
    """
    What was claimed to be known and had ceased to be true. Judged where the store is whole all the time.
    """
    first = next(told["a"] for told in evidence.store if "error" not in told)
    pauses = evidence.pauses_of(report.pid)

    def claim(view: View) -> tuple[Any, ...]:
        return *view[2:], sum(until <= view.before for _, until in pauses)  # who stands still claims nothing

    runs = [list(run) for _, run in groupby(report.views, claim)]
    lasting = [run for run in runs if run[0].known and run[-1].before - run[0].after > PASSING]
    ages = [(age(view, truths, evidence.facts, first), view) for run in lasting for view in run]
    worst, view = max(ages, default=(0.0, None), key=lambda each: each[0])
    measures["behind"] = round(max(worst, measures.get("behind", 0.0)), 4)
    facts = evidence.facts
    whole = facts["since"] == "injected" and not facts.get("splits")
    if view is not None and whole and worst > FOLLOWED + facts["slack"]:
        what = "nobody leads" if view.token is None else f"{view.node} leads with token {view.token}"
        yield f"{report.name} told that {what} {worst:.3f} s after that had ceased to be true"


def _in_calm(report: Report, evidence: Evidence, measures: dict[str, Any]) -> Iterator[str]:
    """
    What is told in the end. Lower tokens, of a store that has lost its data, it may take for old ones until it reads
    the truth again.
    """
    last = evidence.store[-1]
    if "error" in last or not report.views:
        return
    calm = max(last["a"], evidence.facts["healed"])
    most = FOLLOWED + evidence.facts["slack"]
    right = [view.after for view in report.views if view.known and view.token == last["token"] and view.after >= calm]
    end = report.views[-1]
    if right and end.known and end.token == last["token"]:
        took = max(0.0, right[0] - calm)
        measures["followed"] = round(max(took, measures.get("followed", 0.0)), 4)
        if took > most and not evidence.facts.get("resets"):
            yield f"{report.name} knew who leads {took:.3f} s after the store was calm, not {most:g}"
    elif end.before - calm > most and not evidence.facts.get("resets"):
        what = f"{end.node} with token {end.token}" if end.known else "not to know who leads"
        yield f"{report.name} told {what} {end.before - calm:.3f} s after the store had {last['node']}, {last['token']}"


def unfollowed(evidence: Evidence) -> Iterator[str]:
    """
    Why what a follower tells at the end cannot be judged.
    """
    if not evidence.store:
        return
    last = evidence.store[-1]
    if "error" in last:
        yield "the observer could not read the store at the end"
        return
    if evidence.facts.get("resets"):
        return  # lower tokens may be taken for old ones for longer than a round
    calm = max(last["a"], evidence.facts["healed"])
    for report in evidence.reports:
        end = report.views[-1] if report.views else None
        late = end is not None and end.before - calm > FOLLOWED + evidence.facts["slack"]
        if end is None or not (late or (end.known and end.token == last["token"])):
            yield f"the round was over before {report.name} had to know who leads"


def ousted(evidence: Evidence) -> Iterator[str]:
    """
    S5: a holder found its entry gone while its lease stood. Who gives its own up says another cause.

    A fault that ends entries early spares S1-store, and then nothing can be told of this either.
    """
    if "S1-store" in evidence.facts["spared"]:
        return
    for witness in evidence.accounts:
        for said in witness.said:
            if said["what"] != "demoted" or said["cause"] not in GONE:
                continue
            deadlines = [look.deadline for look in witness.samples if look.leads and look.token == said["token"]]
            left = max((each for each in deadlines if each is not None), default=0.0) - said["at"]
            if left > 0:
                what = f"the entry of {witness.name} with token {said['token']} had gone"
                yield f"{what} {left:.3f} s before its lease ended, and nobody had given it up"
