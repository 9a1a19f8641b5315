"""
The record of a transition: frozen, complete, and ready for JSON.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from leadership.fsm.record import Transition
from leadership.fsm.row import DemotionCause


def record(cause: DemotionCause | None = None) -> Transition:
    """
    A record as a leader's resignation makes it.
    """
    return Transition(
        seq=7,
        at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        monotonic=12.5,
        machine="candidate",
        election="service/leader",
        node="underwood",
        boot="b",
        incarnation="i",
        trigger="resign",
        source="leader",
        dest="resigning",
        guard=None,
        disposition="go",
        cause=cause,
        reason="deploy",
        error=None,
        term="service/leader/underwood/3",
        token=3,
        attempt=2,
        revision=None,
        lease_deadline=20.0,
        duration=4.25,
        renewals=9,
    )


def test_it_goes_through_json_unchanged() -> None:
    """
    `as_dict` has only values that JSON has, and loses none of them.
    """
    as_dict = record(DemotionCause.RESIGNED).as_dict()

    assert as_dict == json.loads(json.dumps(as_dict))


def test_it_names_every_field_in_order() -> None:
    """
    The keys are the fields, in the order in which they are declared; those of a trace only where there is one.
    """
    names = [field.name for field in dataclasses.fields(Transition)]
    traced = dataclasses.replace(record(), trace_id="a" * 32, span_id="b" * 16)

    assert names == list(traced.as_dict())
    assert names[:-2] == list(record().as_dict())


def test_time_is_rfc_3339_and_causes_are_words() -> None:
    """
    The wall clock is text with its offset, the cause its plain word, and what is unknown is null.
    """
    as_dict = record(DemotionCause.RESIGNED).as_dict()

    assert "2026-01-02T03:04:05.678901+00:00" == as_dict["at"]
    assert "resigned" == as_dict["cause"]
    assert str is type(as_dict["cause"])
    assert None is record().as_dict()["cause"]


def test_it_cannot_be_changed() -> None:
    """
    A record is handed to many threads; nobody can alter it.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().seq = 8  # type: ignore[misc]
