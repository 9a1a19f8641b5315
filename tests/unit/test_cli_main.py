"""
What becomes of errors and arguments in the command, without a process of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from leadership import Candidate, ConfigError, StoreRefused, StoreUnavailable, connect
from leadership.cli import look, main
from leadership.cli._options import seconds
from leadership.cli._parser import parse
from leadership.cli.run import Runner, last_moment, longest_grace
from leadership.store import Holder, Store


@pytest.fixture
def store(tmp_path: Path) -> str:
    """
    The URL of a store that other processes could reach.
    """
    return f"sqlite:///{tmp_path / 'e.db'}"


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
    error: BaseException,
    status: int,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Each kind of error has its exit status and one line; an interruption needs no words.
    """

    def read_leader(_store: Store, _election: str, _timeout: float) -> Holder | None:
        raise error

    monkeypatch.setattr(look, "read_leader", read_leader)
    assert status == main(["status", "nightly", "--store", store, "--timeout", "1000"])
    said = capsys.readouterr()
    assert "" == said.out
    assert ("" if status == 130 else "leadership: status: change it\n") == said.err


def test_no_answer_in_time_is_unknown(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A store that said nothing for the whole time is not one that says that it cannot serve.
    """

    def read_leader(_store: Store, _election: str, _timeout: float) -> Holder | None:
        raise StoreUnavailable

    monkeypatch.setattr(look, "read_leader", read_leader)
    assert 3 == main(["status", "nightly", "--store", store, "--timeout", "0"])
    assert 69 == main(["status", "nightly", "--store", store, "--timeout", "1000"])


def test_everything_after_the_first_dashes_is_cmd() -> None:
    """
    Options and dashes of CMD are not looked at.
    """
    args = parse(["run", "nightly", "--store", "memory://", "--once", "--", "a", "--once", "--", "-b"])
    assert (["a", "--once", "--", "-b"], True, "nightly") == (args.command, args.once, args.election)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "1s", "1e10"])
def test_seconds_must_be_a_number(text: str) -> None:
    """
    Anything but a number of 0 or more is refused by name, and so is what no wait can take: `--timeout 1e10`, meant as
    for ever, used to end as a bug of the library, status 70.
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


def test_grace_beyond_every_lease_names_no_ttl() -> None:
    """
    Where no store grants a TTL that would keep the grace, the remedy is to take less.
    """
    with (
        connect("memory://") as store,
        pytest.raises(ConfigError, match=r"--grace 1e\+09 .* are sure to be left: take less$"),
    ):
        Runner(Candidate(store, "nightly"), ["true"], grace=1e9)


@pytest.mark.parametrize("subcommand", ["status", "follow", "resign"])
def test_store_of_one_process_is_refused(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whoever leads on `memory://` can be asked by nobody outside its process, and that is said with the remedy.
    """
    assert 2 == main([subcommand, "nightly", "--store", "memory://n"])
    said = "memory://n reaches no other process, so that there is nobody to elect or to ask: use sqlite:///path"
    assert f"leadership: {subcommand}: {said}\n" == capsys.readouterr().err


def test_explain_of_one_process_promises_nothing_after_its_death(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where nobody outlives the process, there is no line on what follows its death.
    """
    assert 0 == main(["explain", "--store", "memory://"])
    said = capsys.readouterr().out
    assert ("process died" in said, "hangs" in said) == (False, True)


def test_status_checks_the_node_that_it_is_asked_for(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A name that nobody can stand under is refused, as `run` refuses it.
    """
    assert 2 == main(["status", "nightly", "--store", store, "--node", ""])
    assert "the node name must not be empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "e", "more"], "status: 'more' is one argument too many (see leadership status --help)"),
        (["status", "e", "--jso"], "status: there is no option '--jso' (see leadership status --help)"),
        (["audit", "show", "f", "--bar"], "audit show: there is no option '--bar' (see leadership audit show --help)"),
        (["diagram", "foo"], "diagram: argument MACHINE: invalid choice: 'foo'"),
    ],
)
def test_arguments_that_nobody_takes_are_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The subcommand that does not know an argument says so, and points at its own help.
    """
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert capsys.readouterr().err.startswith(f"leadership: {said}")


def test_each_subcommand_lists_its_own_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Help names the exit statuses that a subcommand has, and no others.
    """
    listed: dict[str, set[str]] = {}
    for subcommand in ("run", "status", "explain", "audit show"):
        with pytest.raises(SystemExit, match="0"):
            parse([*subcommand.split(), "--help"])
        lines = capsys.readouterr().out.partition("exit statuses:\n")[2].splitlines()
        listed[subcommand] = {line.split()[0] for line in lines}
    assert {"0", "2", "69", "75", "77", "126", "127", "else"} == listed["run"]
    assert {"0", "1", "2", "3", "69", "77", "130"} == listed["status"]
    assert {"0", "2"} == listed["explain"]
    assert {"0", "2", "130", "141"} == listed["audit show"]
