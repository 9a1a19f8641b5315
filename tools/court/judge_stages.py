"""
The judge of a stage: of what shows only over all its rounds, or at its end.

agreement: the audit of a process, its callbacks and the looks at it tell the same of its terms; R1: processes do not
grow from round to round, and leave nothing in the store; R2: in calm they ask no more than a few times a second.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from court.evidence import Account, lines, read

WARM: Final = 5
"""Rounds after a process's start of which nothing is said."""
LEAST_ROUNDS: Final = 20
"""Of a process, with those: fewer say nothing."""
GROWTH: Final = {"threads": 4, "descriptors": 6, "kilobytes": 4096}
"""By how much the later rounds may be above the earlier ones: less than one for each round."""
RATE: Final = 25.0
"""Requests a second of one process in calm, at a TTL of 1 s or more: a loop without a wait makes many more."""
EDGE: Final = 0.5
"""Seconds before the end of a round in which a callback may miss the round's evidence."""
LATE: Final = 0.1
"""Seconds by which a record of the audit may be earlier than what it tells of."""


class Held(NamedTuple):
    """
    A term as an audit tells it; without an end, it has been cut off.
    """

    token: int
    since: float
    until: float | None
    cause: str | None


def judge_stage(folder: Path) -> dict[str, Any]:
    """
    Judge a stage that was finished; the verdict is kept beside its facts.
    """
    facts = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    accounts = [each for path in sorted(folder.glob("*/round.json")) for each in read(path.parent).accounts]
    findings = [
        *({"law": "agreement", "what": what} for what in disagreements(audits(folder / "audit"), accounts)),
        *({"law": "R1", "what": what} for what in leaks(facts)),
        *({"law": "R2", "what": what} for what in busy(facts)),
    ]
    verdict = {
        "status": "broken" if findings else "passed",
        "findings": findings,
        "measures": {
            "growth": growth(facts["used"]),
            "rates": {node: round(asked / facts["calm"], 2) for node, asked in facts["asked"].items()},
            "terms": sum(len([said for said in each.said if said["what"] == "elected"]) for each in accounts),
        },
    }
    (folder / "stage-verdict.json").write_text(json.dumps(verdict, indent=1), encoding="utf-8")
    return verdict


# -- agreement --------------------------------------------------------------------------------------------------------


def audits(folder: Path) -> dict[int, list[Held]]:
    """
    The terms of each process, by its audit.
    """
    found: dict[int, list[Held]] = {}
    for path in sorted(folder.iterdir()):
        pid = 0
        for record in lines(path):
            if record["kind"] == "header":
                pid = record["pid"]
                found.setdefault(pid, [])
            if record["kind"] != "transition" or record["machine"] != "candidate" or record["disposition"] != "go":
                continue
            if record["dest"] == "leader":
                found[pid].append(Held(record["token"], record["monotonic"], None, None))
            elif record["source"] == "leader":
                found[pid][-1] = found[pid][-1]._replace(until=record["monotonic"], cause=record["cause"])
    return found


def merged(accounts: Sequence[Account]) -> list[Account]:
    """
    What the witnesses in each process wrote over all rounds.
    """
    processes: dict[int, Account] = {}
    for each in accounts:
        whole = processes.setdefault(each.pid, Account(each.node, each.pid, [], []))
        whole.samples.extend(each.samples)
        whole.said.extend(each.said)
    return list(processes.values())


def disagreements(audited: Mapping[int, Sequence[Held]], accounts: Sequence[Account]) -> Iterator[str]:
    """
    Where the three tell different things. What has begun between two rounds, or is cut off by a kill, may be known to
    the audit only.

    Args:
        audited: The terms of each process by its audit.
        accounts: What the witnesses wrote, for each round and process.
    """
    rounds: dict[int, list[tuple[float, float]]] = {}
    for each in accounts:
        if each.samples:
            rounds.setdefault(each.pid, []).append((each.samples[0].before, each.samples[-1].after - EDGE))
    for witness in merged(accounts):
        held = {term.token: term for term in audited.get(witness.pid, ())}
        last = max(held, default=0)
        elected = [said["token"] for said in witness.said if said["what"] == "elected"]
        demoted = {said["token"]: said["cause"] for said in witness.said if said["what"] == "demoted"}
        for token in sorted({*elected, *demoted} - held.keys()):
            yield f"{witness.name} was told of a term with token {token}, of which its audit has nothing"
        for token in {token for token in elected if elected.count(token) > 1}:
            yield f"{witness.name} was told twice of its election with token {token}"
        for token, term in held.items():
            seen = any(since < term.since < until for since, until in rounds.get(witness.pid, ()))
            if token not in elected and seen and token != last:
                yield f"{witness.name} was told nothing of a term with token {token}, which its audit has"
            if token in demoted and demoted[token] != term.cause:
                yield f"{witness.name} was told {demoted[token]} of token {token}, and its audit has {term.cause}"
        yield from _outside(witness, held)


def _outside(witness: Account, held: Mapping[int, Held]) -> Iterator[str]:
    """
    Looks that saw a term which by the audit had not begun, or was over.
    """
    worst: dict[int, float] = {}
    for look in witness.samples:
        if not look.leads or look.token is None:
            continue
        term = held.get(look.token)
        if term is None:
            yield f"{witness.name} believed with token {look.token}, of which its audit has nothing"
            return
        by = max(term.since - look.after, look.before - (look.before if term.until is None else term.until))
        worst[look.token] = max(by, worst.get(look.token, 0.0))
    for token, by in worst.items():
        if by > LATE:
            yield f"{witness.name} believed with token {token} for {by:.3f} s outside of what its audit tells"


# -- resources --------------------------------------------------------------------------------------------------------


def growth(used: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, list[float]]:
    """
    For each process that was there for long enough, by how much the last third of its rounds is above the first, in the
    order of `GROWTH`. The first rounds are left out.
    """
    found = {}
    for name, rounds in used.items():
        if len(rounds) >= LEAST_ROUNDS:
            settled = rounds[WARM:]
            third = len(settled) // 3
            first, last = zip(*settled[:third], strict=True), zip(*settled[-third:], strict=True)
            found[name] = [
                statistics.median(after) - statistics.median(before) for before, after in zip(first, last, strict=True)
            ]
    return found


def grown(before: Sequence[int], after: Sequence[int]) -> dict[str, int]:
    """
    By how much a process that has stopped has more threads and descriptors than before it was started, where that is
    too much. Modules that were loaded stay in memory.
    """
    more = {what: after[number] - before[number] for number, what in enumerate(GROWTH) if what != "kilobytes"}
    return {what: each for what, each in more.items() if each > GROWTH[what]}


def leaks(facts: Mapping[str, Any]) -> Iterator[str]:
    """
    R1: processes that have grown, and what they have left in the store.
    """
    for name, rises in growth(facts["used"]).items():
        for (what, most), more in zip(GROWTH.items(), rises, strict=True):
            if more > most:
                yield f"{name} had {more:g} {what} more in its last rounds than in its first"
    for name, (before, after) in facts["idle"].items():
        for what, more in grown(before, after).items():
            yield f"{name} had {more} {what} more after it had stopped than before it was started"
    for node, settled in facts["stopped"].items():
        if not settled:
            yield f"{node} did not settle when it was stopped"
    yield from (f"when all had stopped the store still had {each}" for each in facts["left"])


def busy(facts: Mapping[str, Any]) -> Iterator[str]:
    """
    R2: who asked the store too often in calm. Counted at the proxies, so not where there is no server.
    """
    for node, asked in facts["asked"].items():
        if asked > RATE * facts["calm"]:
            yield f"{node} asked {asked / facts['calm']:.0f} times a second in calm, not {RATE:g}"
