"""
The arithmetic of waiting: bounded, growing, jittered, and refused with all its faults at once.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadership.errors import ConfigError, LeadershipError
from leadership.fsm.backoff import Backoff

LEAST, MOST = 0.001, 86_400.0
waits = st.floats(min_value=LEAST, max_value=MOST)
ttls = st.floats(min_value=1e-6, max_value=1e6)
factors = st.floats(min_value=1.0, max_value=1e6)
failures = st.integers(min_value=1, max_value=10**6)
draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """
    Any backoff that is accepted.
    """
    initial, maximum = sorted((draw(waits), draw(waits)))
    return Backoff(initial, draw(st.sampled_from((maximum, None))), draw(factors))


@pytest.mark.parametrize(
    ("failed", "expected"),
    [(1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (6, 7.5), (7, 7.5), (1000, 7.5), (10**6, 7.5), (10**12, 7.5)],
)
def test_defaults_double_up_to_half_the_ttl(failed: int, expected: float) -> None:
    """
    By default the waits are 0.25 s doubled with each failure, up to half of the TTL, and no number overflows.
    """
    assert expected == pytest.approx(Backoff().ceiling(failed, ttl=15.0))


@pytest.mark.parametrize("failed", [0, -1, 1])
def test_the_first_wait_is_the_initial_one(failed: int) -> None:
    """
    The first failure waits `initial` exactly; fewer failures than one wait no less.
    """
    assert 0.25 == Backoff().ceiling(failed, ttl=15.0)


def test_a_ttl_shorter_than_the_initial_wait_caps_it() -> None:
    """
    Half of a short TTL is the longest wait even where `initial` is longer: nobody waits past a lease.
    """
    assert 0.1 == Backoff(initial=0.25).ceiling(1, ttl=0.2)
    assert 0.1 == Backoff(initial=0.25).ceiling(50, ttl=0.2)


def test_a_maximum_of_ones_own_replaces_half_the_ttl() -> None:
    """
    `maximum` is the cap, whatever the TTL.
    """
    assert 60.0 == pytest.approx(Backoff(maximum=60.0).ceiling(100, ttl=1.0))


def test_a_factor_of_one_never_grows() -> None:
    """
    With factor 1 each wait has the same ceiling.
    """
    assert {3.0} == {Backoff(initial=3.0, factor=1.0).ceiling(n, ttl=60.0) for n in (1, 2, 50, 10**6)}


@given(backoffs(), failures, ttls)
def test_ceiling_is_bounded(backoff: Backoff, failed: int, ttl: float) -> None:
    """
    No wait is longer than the cap, none is zero, and each is a finite number.
    """
    cap = ttl / 2 if backoff.maximum is None else backoff.maximum
    ceiling = backoff.ceiling(failed, ttl)

    assert min(backoff.initial, cap) * (1 - 1e-9) <= ceiling <= cap
    assert math.isfinite(ceiling)


@given(backoffs(), failures, failures, ttls)
def test_ceiling_never_decreases(backoff: Backoff, one: int, other: int, ttl: float) -> None:
    """
    More failures never wait less.
    """
    fewer, more = sorted((one, other))

    assert backoff.ceiling(fewer, ttl) <= backoff.ceiling(more, ttl)


@given(backoffs(), ttls)
def test_ceiling_never_decreases_from_failure_to_failure(backoff: Backoff, ttl: float) -> None:
    """
    The same for each of the first 200 failures, where the growth is.
    """
    waits = [backoff.ceiling(failed, ttl) for failed in range(1, 201)]

    assert all(earlier <= later for earlier, later in itertools.pairwise(waits))


@given(waits, factors, st.integers(1, 30))
def test_ceiling_is_the_plain_power_below_the_cap(initial: float, factor: float, failed: int) -> None:
    """
    Below the cap the wait is initial * factor ** (failures - 1).
    """
    expected = initial * factor ** (failed - 1)

    assert min(expected, MOST) == pytest.approx(Backoff(initial, MOST, factor).ceiling(failed, ttl=1.0), rel=1e-9)


@given(backoffs(), failures, ttls, draws)
def test_jitter_keeps_half(backoff: Backoff, failed: int, ttl: float, draw: float) -> None:
    """
    The wait is in [d/2, d] of its ceiling d: never at once, never longer than said.
    """
    ceiling = backoff.ceiling(failed, ttl)

    assert ceiling / 2 <= backoff.delay(failed, ttl, draw) <= ceiling


@given(backoffs(), failures, ttls, draws, draws)
def test_jitter_follows_the_draw(backoff: Backoff, failed: int, ttl: float, one: float, other: float) -> None:
    """
    A larger draw never waits less, and the smallest waits half.
    """
    low, high = sorted((one, other))

    assert backoff.delay(failed, ttl, low) <= backoff.delay(failed, ttl, high)
    assert backoff.ceiling(failed, ttl) / 2 == backoff.delay(failed, ttl, 0.0)


@pytest.mark.parametrize(
    ("retries", "failed", "allowed"),
    [(None, 10**9, True), (0, 1, False), (0, 0, True), (3, 3, True), (3, 4, False), (1, 1, True), (1, 2, False)],
)
def test_retries(retries: int | None, failed: int, allowed: bool) -> None:
    """
    After n failures in a row a candidate with n retries or more stands again, one with fewer gives up.
    """
    assert allowed is Backoff(retries=retries).allows(failed)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"initial": 0}, "initial must be 0.001 to 86400 seconds, not 0"),
        ({"initial": -1.0}, "initial must be 0.001 to 86400 seconds, not -1.0"),
        ({"initial": 0.0009}, "initial must be 0.001 to 86400 seconds, not 0.0009"),
        ({"initial": 86_400.1}, "initial must be 0.001 to 86400 seconds, not 86400.1"),
        ({"initial": math.nan}, "initial must be 0.001 to 86400 seconds, not nan"),
        ({"initial": math.inf}, "initial must be 0.001 to 86400 seconds, not inf"),
        ({"initial": "1"}, "initial must be 0.001 to 86400 seconds, not '1'"),
        ({"initial": True}, "initial must be 0.001 to 86400 seconds, not True"),
        ({"initial": None}, "initial must be 0.001 to 86400 seconds, not None"),
        ({"maximum": 0}, "maximum must be 0.001 to 86400 seconds or None, not 0"),
        ({"maximum": -1.0}, "maximum must be 0.001 to 86400 seconds or None, not -1.0"),
        ({"maximum": 0.0009}, "maximum must be 0.001 to 86400 seconds or None, not 0.0009"),
        ({"maximum": 86_401}, "maximum must be 0.001 to 86400 seconds or None, not 86401"),
        ({"maximum": "1"}, "maximum must be 0.001 to 86400 seconds or None, not '1'"),
        ({"maximum": math.nan}, "maximum must be 0.001 to 86400 seconds or None, not nan"),
        ({"maximum": math.inf}, "maximum must be 0.001 to 86400 seconds or None, not inf"),
        ({"maximum": False}, "maximum must be 0.001 to 86400 seconds or None, not False"),
        ({"initial": 2.0, "maximum": 1.0}, "maximum (1.0) must not be less than initial (2.0)"),
        ({"factor": 0.5}, "factor must be a number of at least 1, not 0.5"),
        ({"factor": math.nan}, "factor must be a number of at least 1, not nan"),
        ({"factor": math.inf}, "factor must be a number of at least 1, not inf"),
        ({"factor": "2"}, "factor must be a number of at least 1, not '2'"),
        ({"retries": -1}, "retries must be a whole number of at least 0 or None, not -1"),
        ({"retries": 1.0}, "retries must be a whole number of at least 0 or None, not 1.0"),
        ({"retries": True}, "retries must be a whole number of at least 0 or None, not True"),
    ],
    ids=str,
)
def test_bad_input_is_named(arguments: dict[str, Any], fault: str) -> None:
    """
    A value that cannot be used is refused with its name, itself and what would do.
    """
    with pytest.raises(ConfigError) as caught:
        Backoff(**arguments)
    assert f"Backoff: {fault}" == str(caught.value)
    assert isinstance(caught.value, LeadershipError)
    assert isinstance(caught.value, ValueError)


def test_all_faults_are_listed() -> None:
    """
    One error names every fault, so that a configuration is mended in one go.
    """
    with pytest.raises(ConfigError) as caught:
        Backoff(initial=0, maximum=-1, factor=0, retries=-1)
    assert ["initial", "maximum", "factor", "retries"] == [
        fault.split()[0] for fault in str(caught.value).removeprefix("Backoff: ").split("; ")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial": LEAST},
        {"initial": MOST},
        {"maximum": MOST},
        {"initial": LEAST, "maximum": LEAST},
        {"initial": 1, "maximum": 1},
        {"factor": 1},
        {"retries": 0},
        {"initial": 1},
    ],
    ids=str,
)
def test_boundaries_are_accepted(arguments: dict[str, Any]) -> None:
    """
    Whole numbers, and the least and the most that make sense, are taken as they are.
    """
    backoff = Backoff(**arguments)

    assert arguments == {name: getattr(backoff, name) for name in arguments}


@given(st.floats() | st.integers())
def test_just_the_waits_within_bounds_are_accepted(wait: float) -> None:
    """
    A wait is accepted exactly from a millisecond to a day, as the first and as the longest.
    """
    fits = LEAST <= wait <= MOST

    assert fits is is_accepted(initial=wait)
    assert fits is is_accepted(initial=LEAST, maximum=wait)


def is_accepted(**arguments: Any) -> bool:
    """
    Whether a backoff can be had.
    """
    try:
        Backoff(**arguments)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("wait", [math.nextafter(LEAST, 0), math.nextafter(MOST, math.inf), 1e-310, 10**400], ids=repr)
def test_the_next_number_beyond_a_bound_is_refused(wait: float) -> None:
    """
    The bounds are where the message says, to the last bit; a number that no float holds is refused like any other.
    """
    assert not is_accepted(initial=wait)
    assert not is_accepted(initial=LEAST, maximum=wait)


@pytest.mark.parametrize("ttl", [0.05, 15.0, MOST])
@pytest.mark.parametrize("factor", [1.0, 1e308, 10**400], ids=["one", "large", "larger than floats"])
@pytest.mark.parametrize(("initial", "maximum"), [(LEAST, MOST), (MOST, None), (LEAST, None), (LEAST, LEAST)])
def test_what_is_accepted_can_be_computed(initial: float, maximum: float | None, factor: float, ttl: float) -> None:
    """
    The extremes of what is accepted never overflow later, inside the engine.
    """
    backoff = Backoff(initial, maximum, factor)

    for failed in (1, 2, 10**6):
        ceiling = backoff.ceiling(failed, ttl)
        assert min(initial, ttl / 2) * (1 - 1e-9) <= ceiling <= MOST


def test_it_cannot_be_changed() -> None:
    """
    A backoff is validated once and frozen.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backoff().initial = 1.0  # type: ignore[misc]
