"""
What becomes of errors and arguments in the command, without a process of its own.
"""

from __future__ import annotations

import argparse

import pytest

from leadership import Candidate, ConfigError, StoreRefused, StoreUnavailable, connect
from leadership.cli import look, main
from leadership.cli._parser import parse, seconds
from leadership.cli.run import Runner, last_moment, longest_grace
from leadership.store import Holder, Store


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("change it"), 2),
        (TimeoutError("change it"), 3),
        (StoreUnavailable("change it"), 69),
        (StoreRefused("change it"), 77),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_are_statuses(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each kind of error has its exit status and one line; an interruption needs no words.
    """

    def read_leader(_store: Store, _election: str, _timeout: float) -> Holder | None:
        raise error

    monkeypatch.setattr(look, "read_leader", read_leader)
    assert status == main(["status", "nightly", "--store", "memory://", "--timeout", "1000"])
    said = capsys.readouterr()
    assert "" == said.out
    assert ("" if status == 130 else "leadership: status: change it\n") == said.err


def test_no_answer_in_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A store that said nothing for the whole time is not one that says that it cannot serve.
    """

    def read_leader(_store: Store, _election: str, _timeout: float) -> Holder | None:
        raise StoreUnavailable

    monkeypatch.setattr(look, "read_leader", read_leader)
    assert 3 == main(["status", "nightly", "--store", "memory://", "--timeout", "0"])
    assert 69 == main(["status", "nightly", "--store", "memory://", "--timeout", "1000"])


def test_everything_after_the_first_dashes_is_cmd() -> None:
    """
    Options and dashes of CMD are not looked at.
    """
    args = parse(["run", "nightly", "--store", "memory://", "--once", "--", "a", "--once", "--", "-b"])
    assert (["a", "--once", "--", "-b"], True, "nightly") == (args.command, args.once, args.election)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "1s"])
def test_seconds_must_be_a_number(text: str) -> None:
    """
    Anything but a finite number of 0 or more is refused by name.
    """
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of seconds"):
        seconds(text)


def test_grace_that_the_lease_cannot_keep_is_refused() -> None:
    """
    A grace is kept in full or refused with the TTL that would keep it; nothing is clamped.
    """
    with connect("memory://") as store:
        candidate = Candidate(store, "nightly", ttl=15.0)
        most = longest_grace(candidate.timing)
        Runner(candidate, ["true"], grace=most)
        with pytest.raises(ConfigError, match=r"--grace 10 .* --ttl") as refusal:
            Runner(candidate, ["true"], grace=10.0)
        enough = float(str(refusal.value).rpartition("--ttl ")[2].split()[0])
        Runner(Candidate(store, "nightly", ttl=enough * 1.01), ["true"], grace=10.0)
        assert most < last_moment(candidate.timing) < candidate.timing.steps_down_after
