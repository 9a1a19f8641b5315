"""
The judge of stages, on evidence that was made up: each law is found broken where it is, and only there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from court.evidence import Account, Look
from court.judge_stages import Held, audits, busy, disagreements, judge_stage, leaks
from court.summary import scorecard

FACTS: dict[str, Any] = {
    "store": "etcd",
    "servers": 1,
    "ttl": 2.0,
    "rounds": 30,
    "calm": 3.0,
    "asked": {"ann": 15, "fay": 1},
    "stopped": {"ann": True, "fay": True},
    "left": [],
    "gone": 0.0,
    "used": {"ann (1)": [[8, 12, 40_000]] * 30, "bob (2)": [[8, 12, 40_000]] * 4},
    "idle": {"ann (1)": [[5, 10, 38_000], [7, 14, 60_000]]},
}
AUDIT = {1: [Held(5, 0.5, 1.5, "resigned"), Held(9, 2.5, None, None)]}


def look(at: float, token: int | None) -> Look:
    return Look(at, at + 0.001, token is not None, token, 99.0)


def said(what: str, token: int, cause: str | None = None) -> dict[str, Any]:
    return {"what": what, "token": token, "at": 0.0, **({} if cause is None else {"cause": cause})}


LOOKS = [look(0.0, None), look(0.6, 5), look(1.4, 5), look(2.0, None), look(2.6, 9), look(3.0, 9)]
SAID = [said("elected", 5), said("demoted", 5, "resigned"), said("elected", 9)]


def told(samples: list[Look] = LOOKS, words: list[dict[str, Any]] = SAID, audit: Any = AUDIT) -> list[str]:
    """
    What is found in a process with two terms, which was killed in the second.
    """
    return list(disagreements(audit, [Account("ann", 1, samples, words)]))


def growing(each: list[int], rounds: int = 30) -> list[str]:
    """
    What is found of a process that has so much more of everything after each round.
    """
    used = [
        [base + number * more for base, more in zip([8, 12, 40_000], each, strict=True)] for number in range(rounds)
    ]
    return list(leaks({**FACTS, "used": {"ann (1)": used}}))


def test_witnesses_that_tell_the_same_agree() -> None:
    """
    The last term's end may be missing everywhere, and its election among the callbacks: the process was killed. A term
    that has begun between two rounds may be known to the audit only.
    """
    assert [] == told()
    assert [] == told(words=SAID[:2])
    assert [] == told(samples=LOOKS[3:], words=SAID[2:])


def test_callbacks_that_the_audit_does_not_know_are_found() -> None:
    """
    An election or an end without a record, one that was told twice, another cause.
    """
    assert told(words=[*SAID, said("elected", 7)])
    assert told(words=[*SAID, said("demoted", 7, "stopped")])
    assert told(words=[*SAID, said("elected", 5)])
    assert told(words=[SAID[0], said("demoted", 5, "deleted"), SAID[2]])


def test_terms_that_no_callback_was_told_of_are_found() -> None:
    """
    But for the last one.
    """
    assert told(words=SAID[2:])
    assert [] == told(samples=[*LOOKS[:2], look(0.9, 5)], words=[])


def test_belief_outside_of_the_audits_terms_is_found() -> None:
    """
    Before the term began, after it had ended, or without any.
    """
    assert told(samples=[look(0.0, None), look(0.2, 5)])
    assert told(samples=[look(0.0, None), look(0.6, 5), look(1.7, 5)])
    assert told(samples=[look(0.0, None), look(0.6, 7)])
    assert [] == told(samples=[look(0.0, None), look(0.45, 5), look(1.55, 5)])


def test_a_process_that_grows_is_found() -> None:
    """
    R1: by a thread, a descriptor or much memory in each round; not in fewer rounds than can tell, nor once for all.
    """
    assert ["ann (1) had 17 threads more in its last rounds than in its first"] == growing([1, 0, 0])
    assert ["ann (1) had 17 descriptors more in its last rounds than in its first"] == growing([0, 1, 0])
    assert 1 == len(growing([0, 0, 1000]))
    assert [] == growing([0, 0, 0])
    assert [] == growing([1, 1, 1000], rounds=19)
    early = [[8, 12, 40_000]] * 3 + [[20, 30, 60_000]] * 27
    assert [] == list(leaks({**FACTS, "used": {"ann (1)": early}}))


def test_what_is_left_after_the_stop_is_found() -> None:
    """
    R1: threads and descriptors of a process that has stopped, a stop that was not settled, a session in the store.
    """
    assert [] == list(leaks(FACTS))
    assert 1 == len(list(leaks({**FACTS, "idle": {"ann (1)": [[5, 10, 0], [10, 10, 0]]}})))
    assert 1 == len(list(leaks({**FACTS, "idle": {"ann (1)": [[5, 10, 0], [5, 17, 0]]}})))
    assert 1 == len(list(leaks({**FACTS, "stopped": {"ann": False}})))
    assert 1 == len(list(leaks({**FACTS, "left": ["session 7"]})))


def test_who_asks_all_the_time_is_found() -> None:
    """
    R2: more than 25 requests a second of one process.
    """
    assert [] == list(busy({**FACTS, "asked": {"ann": 74}}))
    assert ["ann asked 26 times a second in calm, not 25"] == list(busy({**FACTS, "asked": {"ann": 78, "fay": 0}}))


def test_a_stage_is_judged_from_its_folder(tmp_path: Path) -> None:
    """
    Audits and rounds are read from files; the scorecard has the figures, and says that all is not well where a law is
    broken.
    """
    stage = tmp_path / "etcd-single"
    (stage / "audit").mkdir(parents=True)
    (stage / "000").mkdir()
    (stage / "000" / "round.json").write_text("{}")
    lines = [dict(zip(("b", "a", "l", "t", "d"), each, strict=True)) for each in LOOKS] + SAID
    (stage / "000" / "ann-1.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record = {"kind": "transition", "machine": "candidate", "disposition": "go", "cause": None}
    terms = [
        {"kind": "header", "pid": 1},
        {**record, "source": "campaigning", "dest": "leader", "token": 5, "monotonic": 0.5},
        {**record, "source": "leader", "dest": "resigning", "token": 5, "monotonic": 1.5, "cause": "resigned"},
        {**record, "source": "campaigning", "dest": "leader", "token": 9, "monotonic": 2.5},
    ]
    (stage / "audit" / "ann-x.jsonl").write_text("".join(f"{json.dumps(term)}\n" for term in terms))
    (stage / "stage.json").write_text(json.dumps(FACTS))

    assert AUDIT == audits(stage / "audit")
    assert "passed" == judge_stage(stage)["status"]
    card, well = scorecard(tmp_path)
    assert well
    assert "| etcd-single | 30 | 2 | 1 | +0 / +0 / +0 | 0 | 5.0 | passed |" in card

    (stage / "stage.json").write_text(json.dumps({**FACTS, "left": ["session 7"]}))
    judge_stage(stage)
    card, well = scorecard(tmp_path)
    assert not well
    assert "broken: etcd-single: R1: when all had stopped the store still had session 7" in card
