"""
The judge, on evidence that was made up: each law is found broken where it is, and only there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from court.evidence import Account, Evidence, Look, Report, View
from court.judge import Verdict, judge, judge_folder
from court.summary import scorecard

FACTS: dict[str, Any] = {
    "store": "etcd",
    "servers": 1,
    "contender": "library",
    "fault": "F3 pause until replaced",
    "moves": "must",
    "since": "injected",
    "bound": 1.0,
    "slack": 0.0,
    "resets": False,
    "shuts_out": False,
    "spared": [],
    "ttl": 1.0,
    "leader": "ann",
    "token": 5,
    "highest": 5,
    "began": 0.0,
    "injected": 1.0,
    "healed": 3.0,
    "ended": 4.0,
    "proof": "its state is T",
    "notes": {},
    "pauses": [["ann", 1, 1.0, 3.0]],
    "polls": 100,
    "nodes": ["ann", "bob"],
    "followers": ["fay"],
}
WRITES = [
    {"at": 0.5, "node": "ann", "token": 5, "taken": True, "highest": 5},
    {"at": 2.0, "node": "bob", "token": 9, "taken": True, "highest": 5},
    {"at": 3.1, "node": "ann", "token": 5, "taken": False, "highest": 9},
]
TWIN = [{**write, "taken": True} for write in WRITES]
STORE = [{"b": 0.0, "a": 0.01, "node": "ann", "token": 5}, {"b": 1.7, "a": 1.71, "node": "bob", "token": 9}]


def looks(since: float, until: float, token: int | None = None, deadline: float = 100.0) -> list[Look]:
    """
    A look each 10 ms: true ones where a token is given.
    """
    count = round((until - since) * 100)
    return [
        Look(at, at + 0.0001, token is not None, token, None if token is None else deadline)
        for at in (since + number / 100 for number in range(count))
    ]


ANN = [*looks(0.0, 1.0, 5, 1.9), *looks(3.0, 4.0)]
BOB = [*looks(0.0, 1.8), *looks(1.8, 4.0, 9)]


def views(since: float, until: float, token: int | None = None, *, known: bool = True) -> list[View]:
    """
    What a follower answers each 10 ms: ann has token 5, bob 9.
    """
    node = {5: "ann", 9: "bob"}.get(token or 0)
    count = round((until - since) * 100)
    return [View(at, at + 0.0001, known, node, token) for at in (since + number / 100 for number in range(count))]


FAY = [*views(0.0, 1.75, 5), *views(1.75, 4.0, 9)]


def tried(ann: list[Look] = ANN, bob: list[Look] = BOB, **changes: Any) -> Verdict:
    """
    The verdict on a round as it should be, but for some changes.
    """
    logs = {name: changes.pop(name, log) for name, log in (("fenced", WRITES), ("open", TWIN), ("store", STORE))}
    said = changes.pop("said", [])
    witnesses = [Account("ann", 1, ann, said), Account("bob", 2, bob, [])]
    reports = [Report("fay", 3, changes.pop("fay", FAY))]
    return judge(Evidence({**FACTS, **changes}, witnesses, reports=reports, **logs))


def laws(verdict: Verdict) -> set[str]:
    return {finding.law for finding in verdict.findings}


def test_a_good_round_passes() -> None:
    """
    A leader that stood still and did not believe when it woke up is acquitted, and the round is measured.
    """
    verdict = tried()

    assert ("passed", [], []) == (verdict.status, verdict.findings, verdict.void)
    assert {"moved": True, "refused": 1, "stale_at_twin": 1, "writes": 3}.items() <= verdict.measures.items()
    assert 0.8 == pytest.approx(verdict.measures["took"], abs=0.01)


def test_two_at_one_moment_are_found() -> None:
    """
    S1: both saw true over 0.2 s; and a single look that falls into another's time is enough.
    """
    long = tried(ann=[*looks(0.0, 1.0, 5), *looks(3.0, 3.2, 5), *looks(3.2, 4.0)])
    once = tried(ann=[*looks(0.0, 1.0, 5), *looks(3.0, 3.01, 5), *looks(3.01, 4.0)])

    assert {"S1", "S1-store"} == laws(long)
    assert {"S1", "S1-store"} == laws(once)
    assert {"S1"} == laws(tried(ann=[*looks(0.0, 1.0, 5), *looks(3.0, 3.01, 5), *looks(3.01, 4.0)], store=[]))


def test_one_after_the_other_is_no_overlap() -> None:
    """
    Two looks of two processes whose order nobody can tell prove nothing; nor does the time in which one stood still.
    """
    close = tried(bob=[*looks(0.0, 0.991), *looks(0.991, 4.0, 9)], injected=0.9)

    assert "S1" not in laws(close)
    assert set() == laws(tried())


def test_belief_against_the_store_is_found() -> None:
    """
    S1-store: the store had another term for longer than the observer may be late, or none any more.
    """
    other = [{"b": 0.0, "a": 0.01, "node": "ann", "token": 5}, {"b": 0.8, "a": 0.81, "node": "cleo", "token": 7}]
    nobody = [{"b": 0.0, "a": 0.01, "node": "ann", "token": 5}, {"b": 0.8, "a": 0.81, "node": None, "token": None}]
    behind = [{"b": 0.0, "a": 0.01, "node": None, "token": None}, {"b": 3.9, "a": 3.91, "node": "cleo", "token": 3}]

    assert {"S1-store"} == laws(tried(store=other))
    assert {"S1-store"} == laws(tried(store=nobody))
    assert set() == laws(tried(store=behind, fay=[]))


def test_tokens_that_do_not_rise_are_found() -> None:
    """
    S2: a term's token is less than one that was seen, two processes have the same, the store goes back.
    """
    back = [*looks(0.0, 1.8), *looks(1.8, 4.0, 4)]
    fallen = [{"b": 0.0, "a": 0.01, "node": "ann", "token": 5}, {"b": 1.7, "a": 1.71, "node": "bob", "token": 4}]

    assert {"S2"} == laws(tried(bob=back, store=[]))
    assert "S2" in laws(tried(bob=[*looks(0.0, 1.8), *looks(1.8, 4.0, 5)], store=[]))
    assert "S2" in laws(tried(store=fallen))


def test_tokens_that_begin_anew_are_to_be_said() -> None:
    """
    reset: a lower token than was known, and nobody said so; or somebody said so, and the store has lost nothing. Who
    has begun since the loss remembers nothing.
    """
    lost = {"resets": True, "spared": ["S2"], "store": []}
    said = [{"what": "token_reset", "at": 1.8, "token": 4}]
    anew = [*looks(0.0, 1.0), *looks(3.2, 4.0, 4)]
    other = looks(0.0, 4.0)

    assert {"reset"} == laws(tried(ann=anew, bob=other, said=[], token=7, bound=3.0, **lost))
    assert set() == laws(tried(ann=anew, bob=other, said=said, token=7, bound=3.0, **lost))
    assert set() == laws(tried(ann=anew[100:], bob=other, said=[], token=7, bound=3.0, **lost))
    assert {"reset"} == laws(tried(said=said))
    assert {"reset"} == laws(tried(resets=True, servers=0))


def test_a_stale_write_that_is_taken_is_found() -> None:
    """
    S3: the fenced resource took an older token after a newer one.
    """
    assert {"S3"} == laws(tried(fenced=[*WRITES[:2], {**WRITES[2], "taken": True}]))


def test_belief_after_the_deadline_is_found() -> None:
    """
    S4: a look began at the deadline or later and was true; one without any deadline counts too.
    """
    late = tried(ann=[*looks(0.0, 1.0, 5, 0.95), *looks(3.0, 4.0)])
    none = tried(ann=[sample._replace(deadline=None) for sample in ANN])

    assert {"S4"} == laws(late)
    assert "by 0.0400 s" in late.findings[0].what
    assert {"S4"} == laws(none)
    assert "S4" not in laws(tried(ann=[sample._replace(deadline=None) for sample in ANN], contender="wall-clock"))


def test_a_next_leader_that_is_late_or_missing_is_found() -> None:
    """
    L1: later than the bound and its slack, or none, or nobody at the end, as far as the leader's witness was run.
    """
    assert {"L1"} == laws(tried(bound=0.7))
    assert set() == laws(tried(bound=0.7, slack=0.2))
    assert {"L1"} == laws(tried(bob=looks(0.0, 4.0), fenced=[], open=[]))
    assert {"L1"} == laws(tried(bob=[*looks(0.0, 1.8), *looks(1.8, 3.0, 9), *looks(3.0, 4.0)]))
    assert set() == laws(tried(ended=4.5))
    cut = [sample for sample in BOB if sample.after < 3.6]
    assert set() == laws(tried(bob=cut))
    until = [*looks(0.0, 1.8), *looks(1.8, 3.4, 9), *looks(3.4, 4.0)]
    assert {"L1"} == laws(tried(bob=until, ann=[sample for sample in ANN if sample.after < 3.6]))


def test_a_store_that_answers_nobody_elects_nobody() -> None:
    """
    L1 leaves out the time in which the observer had no answer: three servers of ZooKeeper took 6.5 s to agree on a
    leader of their own, and the election was late by that.
    """
    silence = [STORE[0], {"b": 1.1, "a": 1.2, "error": "no leader"}]
    short = [*silence, {"b": 1.3, "a": 1.4, "node": "ann", "token": 5}, STORE[1]]

    assert set() == laws(tried(bound=0.55, store=short))
    assert {"L1"} == laws(tried(bound=0.45, store=short)), "what is left out is the silence, and nothing else"
    assert set() == laws(tried(bound=0.15, store=[*silence, {**STORE[1], "b": 1.9, "a": 1.91}]))


def test_a_store_that_does_not_come_back_makes_the_round_void() -> None:
    """
    Three servers of ZooKeeper, two of which had stood still, finished no write any more, the court's own neither. What
    else is broken is found all the same.
    """
    nobody: dict[str, Any] = {"bob": looks(0.0, 4.0), "fenced": [], "open": [], "lost": "ConnectionLoss"}
    void = tried(**nobody)

    assert "void" == void.status
    assert void.measures["lost"]
    assert "nobody leads, and the store takes no write of the court's own: ConnectionLoss" == void.void[0]
    assert {"S4"} == laws(tried(ann=[*looks(0.0, 1.0, 5, 0.5), *looks(3.0, 4.0)], **nobody))
    assert {"L1"} == laws(tried(bound=0.7, lost="ConnectionLoss")), "a leader that came too late had come"


def test_a_change_of_leader_for_no_reason_is_found() -> None:
    """
    L1, where nothing was done that could end the term; but a process that was not run for a while may have lost it.
    """
    on = [*looks(0.0, 1.8, 5), *looks(1.81, 4.0)]
    slept = [*looks(0.0, 1.5, 5), *looks(1.79, 4.0)]
    calm: dict[str, Any] = {"moves": "never", "pauses": [], "store": []}

    assert {"L1"} == laws(tried(ann=on, **calm))
    assert set() == laws(tried(ann=looks(0.0, 4.0, 5), bob=looks(0.0, 4.0), **calm))
    void = tried(ann=slept, **calm)
    assert set() == laws(void)
    assert ["the leader's process was not run for 0.300 s, and the leader changed"] == void.void


def test_nobody_that_leads_after_the_healing_is_found() -> None:
    """
    L1, though there was another leader before, and there is one at the end.
    """
    gap = [*looks(0.0, 1.8), *looks(1.8, 2.9, 9), *looks(2.9, 5.2), *looks(5.2, 6.0, 9)]
    facts: dict[str, Any] = {"since": "healed", "ended": 6.0, "store": []}

    assert {"L1"} == laws(tried(ann=[*looks(0.0, 1.0, 5, 1.9), *looks(3.0, 6.0)], bob=gap, **facts))
    assert set() == laws(tried(ann=[*looks(0.0, 1.0, 5, 1.9), *looks(3.0, 6.0)], bob=gap, **facts, slack=2.0))


def test_who_cannot_win_and_who_writes_too_much_are_found() -> None:
    """
    L2: alone, and not elected, or late. R2: more writes than there may be.
    """
    assert {"L2"} == laws(tried(notes={"alone": {"ann": 0.2, "bob": None}}))
    assert {"L2"} == laws(tried(notes={"alone": {"ann": 0.2, "bob": 1.1}}))
    assert set() == laws(tried(notes={"alone": {"ann": 0.2, "bob": 0.9}}))
    assert {"R2"} == laws(tried(notes={"counted": [["writes", 4, 3], ["writes", 3, 3]]}))


def test_who_gives_up_for_good_is_found() -> None:
    """
    Only where the store refuses somebody may a candidate stand no more. One whose token of etcd had ended twice once
    gave up, and no law was broken by that, because another led.
    """
    said = [{"what": "gave_up", "at": 2.0, "text": "leadership.gave_up election=job node=ann error=refused"}]

    assert {"L2"} == laws(tried(said=said))
    assert set() == laws(tried(said=said, shuts_out=True))


def test_several_candidates_and_a_child_are_told_apart() -> None:
    """
    S1: two that stand in one process believe beside each other, and so do a process and its child.
    """
    both = [Account("ann", 1, looks(0.0, 4.0, 5), []), Account("bob", 1, BOB, [])]
    child = [Account("ann", 1, looks(0.0, 4.0, 5), []), Account("ann", 3, looks(1.0, 2.0, 5), []), both[1]]
    facts = {**FACTS, "pauses": []}

    assert "S1" in laws(judge(Evidence(facts, both, WRITES, TWIN, [])))
    found = judge(Evidence({**facts, "moves": "may"}, [*child[:2], Account("bob", 2, looks(0.0, 4.0), [])], [], [], []))
    assert "S1" in laws(found)


def test_a_follower_that_goes_back_is_found() -> None:
    """
    O2: it told of an older term after a newer one, known or not; spared where tokens begin again.
    """
    back = [*views(0.0, 1.75, 5), *views(1.75, 2.0, 9), *views(2.0, 2.1, 5, known=False), *views(2.1, 4.0, 9)]

    assert {"O2"} == laws(tried(fay=back))
    assert set() == laws(tried(fay=back, spared=["S2"]))


def test_a_follower_that_tells_what_nobody_has_had_is_found() -> None:
    """
    O2: a term of nobody, or another's; but the observer may have missed a term that a candidate knows of, and while it
    is blind, or an operator writes, all may be. So may one that is over at once: its candidate was stopped meanwhile.
    """
    phantom = [*views(0.0, 1.2, 5), *views(1.2, 1.4, 7), *views(1.4, 4.0, 9)]
    passing = [*views(0.0, 1.2, 5), *views(1.2, 1.25, 7), *views(1.25, 4.0, 9)]
    wrong = [view._replace(node="cleo") if view.token == 9 else view for view in FAY]
    short = [{"what": "elected", "at": 1.2, "token": 7}]
    blind = [STORE[0], {"b": 1.1, "a": 1.2, "error": "refused"}, STORE[1]]

    assert {"O2"} == laws(tried(fay=phantom))
    assert set() == laws(tried(fay=passing))
    assert {"O2"} == laws(tried(fay=wrong))
    assert {"O2"} == laws(tried(fay=phantom, said=short))  # it is of ann, and the follower told of nobody
    named = [view._replace(node="ann") if view.token == 7 else view for view in phantom]
    assert set() == laws(tried(fay=named, said=short))
    assert set() == laws(tried(fay=phantom, store=blind))
    assert set() == laws(tried(fay=phantom, spared=["S1-store"]))


def test_a_follower_that_is_behind_is_found() -> None:
    """
    O2: what it claimed to know had ceased to be true for longer than a second; not where it says that it does not know,
    or tells in passing what it has missed, nor where the store itself was hurt.
    """
    late = [*views(0.0, 2.9, 5), *views(2.9, 4.0, 9)]
    never = [*views(0.0, 1.75, 5), *views(1.75, 2.9), *views(2.9, 4.0, 9)]
    unsure = [*views(0.0, 1.75, 5), *views(1.75, 2.9, 5, known=False), *views(2.9, 4.0, 9)]

    assert {"O2"} == laws(tried(fay=late))
    assert 1.18 == pytest.approx(tried(fay=late).measures["behind"], abs=0.02)
    assert {"O2"} == laws(tried(fay=never))
    assert set() == laws(tried(fay=late, slack=0.5))
    assert set() == laws(tried(fay=late, since="healed"))
    assert set() == laws(tried(fay=unsure))
    passing = [*views(0.0, 1.75, 5), *views(1.75, 2.9, 5, known=False), *views(2.9, 2.95), *views(2.95, 4.0, 9)]
    assert set() == laws(tried(fay=passing))
    woken = [*views(0.0, 1.7, 5), *views(2.9, 2.95, 5), *views(2.95, 4.0, 9)]
    assert {"O2"} == laws(tried(fay=woken))
    assert set() == laws(tried(fay=woken, pauses=[*FACTS["pauses"], ["fay", 3, 1.7, 2.9]]))


def test_a_follower_that_does_not_know_in_calm_is_found() -> None:
    """
    O2: a second after the last change and the healing it knows who leads. Where the round was over before that, it is
    void.
    """
    old = [*views(0.0, 1.75, 5), *views(1.75, 4.2, 5, known=False)]
    vacant = [*views(0.0, 1.75, 5), *views(1.75, 4.2)]
    late = [*views(0.0, 1.75, 5), *views(1.75, 4.1, known=False), *views(4.1, 4.3, 9)]
    early = tried(fay=[*views(0.0, 1.75, 5), *views(1.75, 3.9, 5, known=False)])

    assert {"O2"} == laws(tried(fay=old))
    assert {"O2"} == laws(tried(fay=vacant))
    assert {"O2"} == laws(tried(fay=late))
    assert set() == laws(early)
    assert ["the round was over before fay (3) had to know who leads"] == early.void
    assert 0.01 > tried().measures["followed"]


def test_an_entry_that_goes_under_its_holder_is_found() -> None:
    """
    S5: a holder found it gone while its lease stood; not where it gave it up, nor when the lease had ended, nor where
    an operator edits.
    """
    gone = {"what": "demoted", "at": 1.5, "token": 5, "cause": "deleted"}

    assert {"S5"} == laws(tried(said=[gone]))
    assert "0.400 s before its lease ended" in tried(said=[gone]).findings[0].what
    assert {"S5"} == laws(tried(said=[{**gone, "cause": "superseded"}]))
    assert set() == laws(tried(said=[{**gone, "cause": "resigned"}]))
    assert set() == laws(tried(said=[{**gone, "at": 1.95}]))
    assert set() == laws(tried(said=[gone], spared=["S1-store"]))


def test_a_fault_of_the_engine_is_found() -> None:
    """
    What the engine should never meet breaks the round.
    """
    assert {"engine"} == laws(tried(said=[{"what": "engine_fault", "at": 2.0, "text": "leadership.engine_fault"}]))


def test_what_a_fault_breaks_by_itself_is_spared() -> None:
    """
    A law that the fault takes the ground from is not judged.
    """
    both = [*looks(0.0, 1.0, 5), *looks(3.0, 3.2, 5), *looks(3.2, 4.0)]

    assert set() == laws(tried(ann=both, spared=["S1", "S1-store"]))


def test_a_round_that_shows_nothing_is_void() -> None:
    """
    Without proof of the fault, without a witness or with one that slept or had ended, without an observer or with one
    that is blind in the end, with a leader that had changed before, or without a stale write where one was due, a round
    is neither passed nor broken.
    """
    before = [*looks(0.0, 0.5, 5), *looks(0.5, 1.0), *looks(3.0, 4.0)]
    voids = [
        tried(proof=""),
        tried(nodes=["ann", "bob", "cleo"]),
        tried(bob=BOB[::10], store=[]),
        tried(fay=[]),
        tried(fay=FAY[::10]),
        tried(polls=0),
        tried(bob=BOB[:280]),
        tried(fay=FAY[:280]),
        tried(store=[*STORE, {"b": 3.0, "a": 3.1, "error": "it hangs"}]),
        tried(ann=before, bob=[*looks(0.0, 0.6), *looks(0.6, 4.0, 9)], store=[], since="healed", injected=0.9),
        tried(open=TWIN[:2]),
        tried(open=TWIN[:2], pauses=[], notes={"stale": True}),
    ]
    for verdict in voids:
        assert verdict.void
        assert "passed" != verdict.status


def test_who_stood_still_without_leading_owes_no_stale_write() -> None:
    """
    Only a leader that is replaced while it stands still has something to try.
    """
    follower = [["bob", 2, 0.2, 0.9], ["cleo", 3, 1.2, 3.0]]

    assert [] == tried(pauses=follower, open=TWIN[:2]).void


def test_a_round_is_judged_from_its_folder(tmp_path: Path) -> None:
    """
    The evidence is read from files, kept compressed, and gives the same verdict when it is judged again; the scorecard
    says that all is well, and does not where a round is broken.
    """
    folder = tmp_path / "etcd" / "000"
    folder.mkdir(parents=True)
    for name, pid, samples in (("ann", 1, ANN), ("bob", 2, BOB)):
        text = [json.dumps(dict(zip(("b", "a", "l", "t", "d"), sample, strict=True))) for sample in samples]
        (folder / f"{name}-{pid}.jsonl").write_text("".join(f"{line}\n" for line in text))
    text = [json.dumps(dict(zip(("b", "a", "k", "n", "t"), view, strict=True))) for view in FAY]
    (folder / "fay-3.views.jsonl").write_text("".join(f"{line}\n" for line in text))
    for log, records in (("R", WRITES), ("R0", TWIN), ("store", STORE)):
        (folder / f"{log}.log.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    with (folder / "bob-2.jsonl").open("a") as file:
        file.write('{"b": 1')  # which is just being written, or never was to its end
    (folder / "round.json").write_text(json.dumps(FACTS))

    first = judge_folder(folder)
    assert "passed" == first.status
    assert [] == list(folder.glob("*.jsonl"))
    assert first == judge_folder(folder)
    card, well = scorecard(tmp_path)
    assert well
    assert "| etcd | F3 pause until replaced | 1 | 0 | 0 |" in card

    (folder / "round.json").write_text(json.dumps({**FACTS, "bound": 0.1}))
    judge_folder(folder)
    card, well = scorecard(tmp_path)
    assert not well
    assert "broken: etcd/000: L1: the next leader came" in card
