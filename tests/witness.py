"""
What the callbacks of candidates and followers are told, written down in order and in words.
"""

from __future__ import annotations

from typing import Any

from leadership import Candidate, DemotionCause, Follower, Leader, Term


def witness(candidate: Candidate) -> list[str]:
    """
    What on_elected and on_demoted of a candidate are told from now on.
    """
    told: list[str] = []

    @candidate.on_elected
    def elected(term: Term) -> None:
        told.append(f"elected {term.token}")

    @candidate.on_demoted
    def demoted(term: Term, cause: DemotionCause) -> None:
        told.append(f"demoted {term.token} {cause.value}")

    return told


def witness_leaders(face: Candidate | Follower) -> list[str]:
    """
    What on_leader_changed is told from now on, with what the face says at that moment of its own knowledge.
    """
    told: list[str] = []

    @face.on_leader_changed
    def changed(leader: Leader | None) -> None:
        name = "nobody" if leader is None else f"{leader.node}{'=self' if leader.is_self else ''}"
        told.append(f"{name}{' stale' if face.is_stale else ''}")

    return told


def path(face: Any) -> list[str]:
    """
    The states that a candidate or follower has been through, from its first start.
    """
    records = face.history
    return [records[0].source, *(record.dest for record in records)] if records else []
