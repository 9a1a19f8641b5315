"""
The judge of one round. Only what the evidence proves is a finding; what it cannot show makes the round void.

The laws: S1 no two believe at one moment; S1-store nobody believes while the store says that another term has begun or
its own has gone; S2 tokens rise; reset: who is elected with a lower token than it remembers says so, and nobody else;
S3 the fenced resource takes no stale write; S4 nobody believes at or after the deadline; S5 no entry goes while its
holder's lease stands; L1 there is a next leader within the bound, and no other one where nothing is done to the leader;
L2 each candidate wins when it is alone, and none gives up for good; O2 followers tell what is true; R2 no candidate
writes to the store again and again; engine: the engine reports no fault. `judge_stages` judges what takes more than one
round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from court.evidence import Account, Evidence, Look, pack, read
from court.judge_followers import misled, ousted, unfollowed
from court.judge_stages import judge_stage

STALL: Final = 0.1
"""Seconds between two looks after which nothing is said of the time between."""
LAG: Final = 0.05
"""Seconds by which the observer of the store may be late."""
LEAST_LOOKS: Final = 20
"""A second: a witness who saw less has slept."""
FRESH: Final = 0.3
"""Seconds before the end in which the last leader must have been seen."""
QUIET: Final = 1.0
"""Seconds before the end of a round in which each node must have been looked at."""
STARVED: Final = 0.25
"""Part of the TTL for which a process that is to keep its lease has to be run at least once."""
STALE_AFTER: Final = 0.25
"""Seconds that another must have led before a pause ends, for a stale write to be due."""


class Belief(NamedTuple):
    """
    A process believed at every moment between two: the last possible moment of its first true look in a row, and the
    first possible one of its last. A single look proves no time: `since` is greater than `until` then.
    """

    since: float
    until: float
    who: str
    pid: int
    token: int | None

    @property
    def is_point(self) -> bool:
        """
        It was seen once: at some moment between `until` and `since`.
        """
        return self.since > self.until


@dataclass(frozen=True)
class Finding:
    """
    A law that was broken, and what shows it.
    """

    law: str
    what: str


@dataclass
class Verdict:
    """
    What the judge says of a round.
    """

    findings: list[Finding] = field(default_factory=list)
    void: list[str] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """
        `broken`, `void` or `passed`.
        """
        return "broken" if self.findings else "void" if self.void else "passed"

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return {"status": self.status, **asdict(self)}


def beliefs(witness: Account, pauses: list[tuple[float, float]]) -> list[Belief]:
    """
    When a process believed for certain; a process that stands still asserts nothing.
    """
    runs: list[list[Look]] = []
    last: Look | None = None
    for sample in witness.samples:
        if sample.leads:
            stood = last is not None and any(last.after < until and since < sample.before for since, until in pauses)
            goes_on = last is not None and last.leads and last.token == sample.token and not stood
            if goes_on and last is not None and sample.before - last.after < STALL:
                runs[-1].append(sample)
            else:
                runs.append([sample])
        last = sample
    return [Belief(run[0].after, run[-1].before, witness.name, witness.pid, run[0].token) for run in runs]


def overlaps(held: list[Belief]) -> Iterator[tuple[Belief, Belief, float]]:
    """
    Pairs of two processes that believed at one moment, and for how long.
    """
    ordered = sorted(held, key=lambda belief: min(belief.since, belief.until))
    for number, one in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if min(other.since, other.until) >= max(one.since, one.until):
                break
            if one.who == other.who:
                continue
            if one.is_point or other.is_point:
                point, span = (one, other) if one.is_point else (other, one)
                if not span.is_point and span.since <= point.until and point.since <= span.until:
                    yield one, other, 0.0
            elif (length := min(one.until, other.until) - max(one.since, other.since)) > 0:
                yield one, other, length


def judge(evidence: Evidence) -> Verdict:
    """
    Judge a round.
    """
    verdict = Verdict()
    held = [belief for witness in evidence.accounts for belief in beliefs(witness, evidence.pauses_of(witness.pid))]
    held.sort(key=lambda belief: belief.since)
    found = [
        *(
            Finding("S1", f"{one.who} and {other.who} both believed for {length:.3f} s from {other.since:.3f} on")
            for one, other, length in overlaps(held)
        ),
        *_against_store(evidence, held),
        *_tokens(evidence, held),
        *_resets(evidence, held),
        *_stale(evidence),
        *_deadlines(evidence),
        *(Finding("S5", what) for what in ousted(evidence)),
        *_next_leader(evidence, held, verdict),
        *_notes(evidence),
        *_given_up(evidence),
        *(Finding("O2", what) for what in misled(evidence, verdict.measures)),
        *(
            Finding("engine", f"{witness.name}: {said['text']}")
            for witness in evidence.accounts
            for said in witness.said
            if said["what"] == "engine_fault"
        ),
    ]
    lost = bool(evidence.facts.get("lost"))
    spared = evidence.facts["spared"]
    absent = ("nobody led", "no next leader") if lost else ()  # of a store that was lost that is no fault
    verdict.findings = [each for each in found if each.law not in spared and not each.what.startswith(absent)]
    verdict.measures["lost"] = lost
    _measure(evidence, verdict)
    verdict.void = list(_void(evidence, held, verdict))
    return verdict


def _against_store(evidence: Evidence, held: list[Belief]) -> Iterator[Finding]:
    """
    The observer is never early, but may be late: an older token that it tells says nothing.
    """
    for belief in held:
        own = False
        for told in evidence.store:
            if "error" in told or belief.token is None:
                continue
            own = own or told["token"] == belief.token
            over = told["token"] > belief.token if told["token"] is not None else own
            late = belief.until - told["a"]
            if over and late > LAG:
                what = f"{belief.who} believed with token {belief.token} for {late:.3f} s after the store had"
                yield Finding("S1-store", f"{what} {told['node'] or 'nobody'} with token {told['token']}")
                break


def _tokens(evidence: Evidence, held: list[Belief]) -> Iterator[Finding]:
    owners: dict[int, str] = {}
    highest, known = evidence.facts["highest"], evidence.facts["token"]
    for belief in held:
        if belief.token is None:
            yield Finding("S2", f"{belief.who} believed without a token")
            continue
        owner = owners.setdefault(belief.token, belief.who)
        if owner != belief.who:
            yield Finding("S2", f"{owner} and {belief.who} both had token {belief.token}")
        if belief.token not in (known, highest) and belief.token <= highest:
            yield Finding("S2", f"{belief.who} was elected with token {belief.token} after {highest}")
        highest = max(highest, belief.token)
    seen = [told["token"] for told in evidence.store if told.get("token") is not None]
    for one, other in pairwise(seen):
        if other < one:
            yield Finding("S2", f"the store went from token {one} to {other}")


def _resets(evidence: Evidence, held: list[Belief]) -> Iterator[Finding]:
    facts = evidence.facts
    above = facts["resets"] and not facts["servers"]  # SQLite grants a greater one all the same
    if above and not any(record["what"] == "token_reset" for each in evidence.accounts for record in each.said):
        yield Finding("reset", "the store has lost data, and nobody said token_reset")
    for witness in evidence.accounts:
        said = {record["token"] for record in witness.said if record["what"] == "token_reset"}
        if said and not facts["resets"]:
            yield Finding("reset", f"{witness.name} said token_reset of {sorted(said)}, and nothing was lost")
        if not facts["resets"] or not witness.samples or witness.samples[0].before > facts["injected"]:
            continue  # the other law is S2; and who has begun since remembers nothing
        for belief in held:
            lower = (belief.token or 0) < (facts["token"] or 0)
            if lower and belief.pid == witness.pid and belief.since > facts["injected"] and belief.token not in said:
                what = f"was elected with token {belief.token} after {facts['token']}"
                yield Finding("reset", f"{witness.name} {what}, and did not say token_reset")


def _stale(evidence: Evidence) -> Iterator[Finding]:
    highest = 0
    for number, write in enumerate(evidence.fenced):
        if number == 0:
            highest = write["highest"]
        if write["taken"] and write["token"] < highest:
            yield Finding("S3", f"a write of {write['node']} with token {write['token']} was taken after {highest}")
        if write["taken"]:
            highest = max(highest, write["token"])


def _deadlines(evidence: Evidence) -> Iterator[Finding]:
    if evidence.facts["contender"] != "library":
        return  # a control has no deadline to be held to
    for witness in evidence.accounts:
        late = [s for s in witness.samples if s.leads and (s.deadline is None or s.before >= s.deadline)]
        if late:
            by = max(sample.before - (sample.deadline or 0.0) for sample in late)
            yield Finding("S4", f"{witness.name} believed in {len(late)} looks after its deadline, by {by:.4f} s")


def _next_leader(evidence: Evidence, held: list[Belief], verdict: Verdict) -> Iterator[Finding]:
    facts = evidence.facts
    changed = [belief for belief in held if belief.token != facts["token"] and belief.since > facts["injected"]]
    verdict.measures["moved"] = bool(changed)
    most = facts["bound"] + facts["slack"]
    if changed:
        since, elected = facts[facts["since"]], changed[0].since
        silence = evidence.silence(since, elected)  # nobody can be elected by a store that answers nobody
        took = max(0.0, elected - since - silence)
        verdict.measures["took"] = round(took, 4)
        if took > most:
            silent = f", {silence:.3f} s of silence of the store left out" if silence else ""
            yield Finding(
                "L1", f"the next leader came {took:.3f} s after the fault was {facts['since']}, not {most:g}{silent}"
            )
    elif facts["moves"] == "must":
        yield Finding("L1", f"no next leader within {facts['ended'] - facts['injected']:.1f} s")
    if changed and facts["moves"] == "never" and not _starved(evidence, changed[0].since):
        yield Finding(
            "L1", f"{changed[0].who} leads with token {changed[0].token}, though the leader could have led on"
        )
    due = facts["healed"] + most
    waited = facts["since"] == "healed" and facts["ended"] >= due
    if waited and not any(belief.until > facts["healed"] and belief.since < due for belief in held):
        yield Finding("L1", f"nobody led within {most:g} s after the fault was healed")
    # On a busy machine the last moment may be one in which the leader's witness was not run.
    last, node = _last_seen(evidence), {witness.pid: witness.node for witness in evidence.accounts}
    if not any(belief.until > min(facts["ended"], last[node[belief.pid]]) - FRESH for belief in held):
        yield Finding("L1", "nobody led at the end")


def _starved(evidence: Evidence, moment: float) -> float:
    """
    For how long, at most, the witness in the first leader's process did not look in the seconds before a moment: such a
    process got no time to run, and may have lost its lease by that. 0 where that was short.
    """
    facts = evidence.facts
    longest = 0.0
    for witness in evidence.accounts:
        if witness.node == facts["leader"]:
            for one, other in pairwise(witness.samples):
                if facts["injected"] - facts["ttl"] < other.before < moment + FRESH:
                    longest = max(longest, other.before - one.after)
    return longest if longest > STARVED * facts["ttl"] else 0.0


def _notes(evidence: Evidence) -> Iterator[Finding]:
    """
    What a fault has measured: how long each candidate took to win when it was `alone`, how often something was
    `counted`.
    """
    notes = evidence.facts.get("notes", {})
    most = evidence.facts["bound"] + evidence.facts["slack"]
    for node, took in notes.get("alone", {}).items():
        if took is None:
            yield Finding("L2", f"{node} was alone, and was not elected")
        elif took > most:
            yield Finding("L2", f"{node} was alone, and was elected after {took:.3f} s, not {most:g}")
    for what, count, limit in notes.get("counted", ()):
        if count > limit:
            yield Finding("R2", f"{count} {what}, not {limit}")


def _given_up(evidence: Evidence) -> Iterator[Finding]:
    """
    Others may lead, so that nobody would miss the one who does not stand any more.
    """
    for witness in evidence.accounts:
        for said in witness.said:
            if said["what"] == "gave_up" and not evidence.facts["shuts_out"]:
                yield Finding("L2", f"{witness.name} stands no more, though nothing was taken from it: {said['text']}")


def _measure(evidence: Evidence, verdict: Verdict) -> None:
    measures = verdict.measures
    measures["samples"] = sum(len(witness.samples) for witness in evidence.accounts)
    measures["writes"] = len(evidence.fenced)
    measures["refused"] = sum(not write["taken"] for write in evidence.fenced)
    measures["stale_at_twin"] = sum(write["token"] < write["highest"] for write in evidence.open)
    measures["seconds"] = round(evidence.facts["ended"] - evidence.facts["began"], 3)


def _void(evidence: Evidence, held: list[Belief], verdict: Verdict) -> Iterator[str]:
    facts = evidence.facts
    if facts.get("lost"):
        yield f"nobody leads, and the store takes no write of the court's own: {facts['lost']}"
    if not facts["proof"]:
        yield "nothing shows that the fault was injected"
    if any((b.token or 0) > facts["token"] and b.since < facts["injected"] for b in held if facts["token"]):
        yield "the leader changed before the fault"
    changed = [b.since for b in held if b.token != facts["token"] and b.since > facts["injected"]]
    if changed and facts["moves"] == "never" and (starved := _starved(evidence, changed[0])):
        yield f"the leader's process was not run for {starved:.3f} s, and the leader changed"
    if facts.get("notes", {}).get("stale") and changed and not verdict.measures["stale_at_twin"]:
        yield "the leader was replaced while it believed, and tried no stale write"
    if facts["polls"] == 0:
        yield "the observer saw nothing of the store"
    yield from _unseen(evidence)
    yield from unfollowed(evidence)
    for node, pid, since, until in facts["pauses"]:
        replaced = [b for b in held if b.pid != pid and since < b.since < until - STALE_AFTER]
        led = any(b.pid == pid and since - STALL < b.until < until for b in held)
        if led and replaced and replaced[-1].token is not None and not verdict.measures["stale_at_twin"]:
            yield f"{node} was replaced while it stood still, and tried no stale write"


def _unseen(evidence: Evidence) -> Iterator[str]:
    """
    Witnesses that are missing, that have slept, or that have ended before the round.
    """
    facts = evidence.facts
    last = _last_seen(evidence)
    for node in (*facts["nodes"], *facts.get("followers", ())):
        if node not in last:
            yield f"{node} has no witness"
        elif (quiet := facts["ended"] - last[node]) > QUIET:
            yield f"nobody has looked in {node} for the last {quiet:.1f} s"
    for name, pid, seen in evidence.witnesses():
        if len(seen) > 1:
            awake = seen[-1].after - seen[0].before - sum(until - since for since, until in evidence.pauses_of(pid))
            if len(seen) < LEAST_LOOKS * awake:
                yield f"the witness in {name} looked {len(seen)} times in {awake:.1f} s"


def _last_seen(evidence: Evidence) -> dict[str, float]:
    """
    When each node was looked at for the last time.
    """
    looks = [(witness.node, witness.samples[-1].after) for witness in evidence.accounts if witness.samples]
    looks += [(report.node, report.views[-1].after) for report in evidence.reports if report.views]
    last: dict[str, float] = {}
    for node, at in looks:
        last[node] = max(at, last.get(node, 0.0))
    return last


def judge_folder(folder: Path) -> Verdict:
    """
    Judge the round of a folder; the verdict is kept in it, and the evidence is compressed.
    """
    verdict = judge(read(folder))
    (folder / "verdict.json").write_text(json.dumps(verdict.as_dict(), indent=1), encoding="utf-8")
    pack(folder)
    return verdict


if __name__ == "__main__":
    for each in sorted(Path(sys.argv[1]).rglob("round.json")):
        print(f"{judge_folder(each.parent).status:8} {each.parent}")
    for each in sorted(Path(sys.argv[1]).rglob("stage.json")):
        print(f"{judge_stage(each.parent)['status']:8} {each.parent}")
