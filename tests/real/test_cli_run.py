"""
`leadership run`: its exit statuses, CMD's environment, signals. What happens when it dies is in test_cli_guard.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cli_processes import COMMAND, call, children, running, wait_for

from leadership._clock import now

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into Linux's /proc")
OPTIONS = ("--ttl", "3")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """
    The URL of a store of this test's own.
    """
    return f"sqlite:///{tmp_path / 'e.db'}"


def run(store: str, *rest: str) -> subprocess.CompletedProcess[str]:
    """
    `leadership run` to its end.
    """
    return call("run", "nightly", "--store", store, *OPTIONS, *rest)


@contextmanager
def leading(store: str, script: str, *options: str) -> Generator[subprocess.Popen[str]]:
    """
    `leadership run` of a shell script that has said `ready`.
    """
    with running("run", "nightly", "--store", store, *OPTIONS, *options, "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield process


def wait_for_ever(*, on: str) -> str:
    """
    A script that is ready and does nothing but heed a trap.
    """
    return f"trap {on}; echo ready; while :; do sleep 0.02; done"


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -USR1 $$", 128 + signal.SIGUSR1)])
def test_status_of_a_cmd_that_ends_by_itself(store: str, script: str, status: int) -> None:
    """
    When CMD ends by itself, leadership is released and CMD's status returned, as a shell would say it.
    """
    assert status == run(store, "--", "sh", "-c", script).returncode
    assert 1 == call("status", "nightly", "--store", store).returncode, "nobody leads"


def test_environment_of_cmd(store: str) -> None:
    """
    CMD finds election, node and token in its environment, and leads its own session.
    """
    script = "echo $LEADERSHIP_ELECTION $LEADERSHIP_NODE $LEADERSHIP_TOKEN; ps -o sid= -p $$ | tr -d ' '; echo $$"
    first = run(store, "--node", "n1", "--", "sh", "-c", script).stdout.split()
    second = run(store, "--node", "n2", "--", "sh", "-c", script).stdout.split()
    assert ["nightly", "n1"] == first[:2]
    assert ["nightly", "n2"] == second[:2]
    assert int(first[2]) < int(second[2]), "the token rises from term to term"
    assert first[3] == first[4]


def test_dashes_of_cmd_are_its_own(store: str) -> None:
    """
    Everything behind the first `--` is CMD's, further dashes included.
    """
    done = run(store, "--", "sh", "-c", 'echo "$@"', "sh", "--ttl", "--", "-x")
    assert "--ttl -- -x\n" == done.stdout


def test_command_that_is_not_found(store: str, tmp_path: Path) -> None:
    """
    A CMD that does not exist is 127 before anything starts, with one line that says what to do.
    """
    done = run(store, "--", "no-such-command")
    assert (127, 1) == (done.returncode, done.stderr.count("\n"))
    assert "'no-such-command'" in done.stderr
    assert not (tmp_path / "e.db").exists()


def test_command_that_cannot_be_executed(store: str, tmp_path: Path) -> None:
    """
    A CMD that is no executable file is 126 before anything starts.
    """
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    done = run(store, "--", str(plain))
    assert (126, 1) == (done.returncode, done.stderr.count("\n"))
    assert str(plain) in done.stderr
    assert 126 == run(store, "--", str(tmp_path)).returncode, "a folder"


def test_command_that_is_empty(store: str) -> None:
    """
    A CMD without a name is 127, and said to be empty.
    """
    done = run(store, "--", "")
    assert (127, "leadership: CMD is empty: say what to run\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(("text", "status"), [("#!/no/such/shell\n", 127), ("\0", 126)])
def test_command_that_fails_at_its_execution(store: str, tmp_path: Path, text: str, status: int) -> None:
    """
    What only the execution shows ends the run, too, and nobody stands again.
    """
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(0o755)
    done = run(store, "--", str(script))
    assert status == done.returncode
    assert "could not be executed" in done.stderr
    assert "#!" in done.stderr, "the remedy"


def test_wait_gives_up(store: str) -> None:
    """
    Not elected within --wait is status 75, and nothing was run.
    """
    with leading(store, wait_for_ever(on="'exit 0' TERM")):
        done = run(store, "--wait", "0.5", "--", "echo", "ran")
    assert (75, "") == (done.returncode, done.stdout)
    assert "--wait 0.5" in done.stderr


def test_once_ends_with_the_first_demotion(store: str) -> None:
    """
    With --once a demotion ends CMD and the run, with status 75.
    """
    with leading(store, wait_for_ever(on="'exit 0' TERM"), "--once") as process:
        assert 0 == call("resign", "nightly", "--store", store).returncode
        assert 75 == process.wait(20)


def test_demotion_runs_cmd_again(store: str) -> None:
    """
    Without --once it stands again after a demotion, and runs CMD with a higher token.
    """
    script = "trap 'exit 0' TERM; echo ready; echo $LEADERSHIP_TOKEN; while :; do sleep 0.02; done"
    with leading(store, script) as process:
        assert process.stdout is not None
        first = int(process.stdout.readline())
        assert 0 == call("resign", "nightly", "--store", store).returncode
        assert "ready\n" == process.stdout.readline()
        assert first < int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_by_a_signal_is_cmds_to_answer(store: str, number: signal.Signals) -> None:
    """
    SIGTERM and SIGINT are passed on to CMD, once; the run ends with CMD's status.
    """
    script = wait_for_ever(on="'echo term' TERM; trap 'echo int; sleep 0.3; exit 5' INT; trap 'echo term; exit 5' TERM")
    with leading(store, script) as process:
        process.send_signal(number)
        assert ("term\n" if number is signal.SIGTERM else "int\n") == process.communicate(timeout=20)[0]
        assert 5 == process.returncode
    assert 1 == call("status", "nightly", "--store", store).returncode, "nobody leads"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_end_by_a_signal_without_cmd(store: str, tmp_path: Path, number: signal.Signals) -> None:
    """
    While it waits, SIGTERM, SIGINT and SIGHUP end it with 128 + n.
    """
    log = tmp_path / "log"
    with (
        leading(store, wait_for_ever(on="'exit 0' TERM")),
        running("run", "nightly", "--store", store, *OPTIONS, "--", "true", stderr=log) as second,
    ):
        wait_for(lambda: "waiting" in log.read_text(), "the second one waits")
        second.send_signal(number)
        assert 128 + number == second.wait(20)


def test_stubborn_cmd_is_killed_after_the_grace(store: str) -> None:
    """
    A CMD that ignores SIGTERM is killed after --grace.
    """
    with leading(store, wait_for_ever(on="'' TERM"), "--grace", "0.5") as process:
        asked = now()
        process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGKILL == process.wait(20)
        assert 0.5 <= now() - asked


def test_second_signal_leaves_no_grace(store: str) -> None:
    """
    Asked to end a second time, CMD is killed at once.
    """
    with leading(store, wait_for_ever(on="'echo heard' TERM"), "--ttl", "60", "--grace", "25") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert "heard\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGKILL == process.wait(15)


def test_second_signal_while_the_first_is_passed_on(store: str) -> None:
    """
    CMD may heed the first before the command is done with it: a second of that moment was taken for a first.
    """
    script = """
        import sys, time
        from leadership.cli import main
        from leadership.cli._job import Job
        passed_on = Job.signal
        def signal(self, signum):
            passed_on(self, signum)
            time.sleep(1.0)
        Job.signal = signal
        sys.exit(main(sys.argv[1:]))
    """
    cmd = ["sh", "-c", wait_for_ever(on="'echo heard' TERM")]
    arguments = ["run", "nightly", "--store", store, "--ttl", "60", "--grace", "25", "--", *cmd]
    with running(*arguments, command=(sys.executable, "-c", textwrap.dedent(script))) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "heard\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGKILL == process.wait(15)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_are_passed_on(store: str, number: signal.Signals) -> None:
    """
    SIGHUP, SIGUSR1 and SIGUSR2 reach CMD, and the run goes on.
    """
    name = number.name.removeprefix("SIG")
    with leading(store, wait_for_ever(on=f"'echo got {name}' {name}; trap 'exit 3' TERM")) as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert f"got {name}\n" == process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert 3 == process.wait(20)


def test_a_signal_as_cmd_begins_is_passed_on(store: str) -> None:
    """
    CMD may run before the command has said so: a signal of that moment was for nobody.
    """
    script = """
        import os, signal, sys, time
        from leadership.cli import main, run
        said = run.say
        def say(text):
            if "is elected" in text:
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.5)
            said(text)
        run.say = say
        sys.exit(main(sys.argv[1:]))
    """
    arguments = ["run", "nightly", "--store", store, *OPTIONS, "--", "sleep", "5"]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), *arguments], timeout=20, check=False)
    assert 128 + signal.SIGUSR1 == done.returncode


def ignored_by(*command: str) -> int:
    """
    The bits of the signals that a command that prints its SigIgn ignores.
    """
    return int(subprocess.check_output(command, text=True).split()[1], 16)


@linux
def test_ignored_signals_stay_ignored(store: str) -> None:
    """
    Under nohup, CMD ignores SIGHUP as it would without `leadership run`; SIGPIPE is as ever.
    """
    script = f"{sys.executable} -m leadership run nightly --store {store} --ttl 3 -- grep SigIgn /proc/self/status"
    ignored = [
        int(
            subprocess.check_output(["sh", "-c", f"{trap} {script}"], text=True, stderr=subprocess.DEVNULL).split()[1],
            16,
        )
        for trap in ("", "trap '' HUP;")
    ]
    plain = int(subprocess.check_output(["grep", "SigIgn", "/proc/self/status"], text=True).split()[1], 16)
    assert [plain, plain | 1 << (signal.SIGHUP - 1)] == ignored


def test_unavailable_store_is_not_merely_no_election(store: str, tmp_path: Path) -> None:
    """
    When nobody leads and the store does not serve within --wait, the status is 69.
    """
    assert 0 == run(store, "--", "true").returncode
    with closing(sqlite3.connect(tmp_path / "e.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        done = run(store, "--wait", "3", "--", "true")
    assert 69 == done.returncode, done.stderr


def test_cmd_is_told_before_a_lease_that_is_not_renewed_runs_out(store: str, tmp_path: Path) -> None:
    """
    When the store stops serving, CMD gets SIGTERM while the term still has time, and is run again afterwards.
    """
    script = "trap 'echo heard; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    database = tmp_path / "e.db"
    with leading(store, script) as process, closing(sqlite3.connect(database, isolation_level=None)) as blocker:
        assert process.stdout is not None
        blocker.execute("PRAGMA busy_timeout = 5000")
        blocker.execute("BEGIN IMMEDIATE")
        assert "heard\n" == process.stdout.readline()
        blocker.execute("ROLLBACK")
        assert "ready\n" == process.stdout.readline()


def test_messages_that_nobody_reads_do_no_harm(store: str) -> None:
    """
    When the reader of stderr has gone, CMD is run, and ended before another one is, as ever.
    """
    script = "exec 2>/dev/null; " + wait_for_ever(on="'exit 9' TERM")  # a shell that says `Terminated` gets SIGPIPE
    with subprocess.Popen(
        [*COMMAND, "run", "nightly", "--store", store, *OPTIONS, "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.close()
        assert "ready\n" == process.stdout.readline()
        assert 0 == call("resign", "nightly", "--store", store).returncode
        assert "ready\n" == process.stdout.readline()
        process.terminate()
        assert 9 == process.wait(20)


def test_audit_has_each_transition(store: str, tmp_path: Path) -> None:
    """
    --audit appends every transition to a file that `leadership audit show` reads.
    """
    audit = str(tmp_path / "audit.jsonl")
    assert 0 == run(store, "--node", "n1", "--audit", audit, "--", "true").returncode
    lines = map(json.loads, call("audit", "show", "--json", audit).stdout.splitlines())
    records = [line for line in lines if line["kind"] == "transition"]
    assert ["start", "acquired", "stop", "settled"] == [record["trigger"] for record in records]
    assert {"n1"} == {record["node"] for record in records}


def test_audit_that_cannot_be_written_is_said(store: str, tmp_path: Path) -> None:
    """
    An audit that fails while CMD runs is said once, and at the end how many records are missing; CMD is not disturbed.
    """
    (tmp_path / "folder").mkdir()
    audit = tmp_path / "folder" / "audit.jsonl"
    done = run(store, "--audit", str(audit), "--", "sh", "-c", f"sleep 1; rm -r {audit.parent}")
    said = [line for line in done.stderr.splitlines() if "the audit" in line]
    assert (0, 2) == (done.returncode, len(said))
    assert said[0].endswith("cannot be written: No such file or directory; going on without it")
    assert "has lost 2 record(s)" in said[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "e", "--store", "STORE"], "-- CMD"),
        (["run", "e", "--store", "STORE", "--"], "after --"),
        (["run", "e", "--", "true"], "LEADERSHIP_STORE"),
        (["run", "e", "--store", "nosuch://x", "--", "true"], "nosuch"),
        (["run", "", "--store", "STORE", "--", "true"], "election"),
        (["run", "/e", "--store", "STORE", "--", "true"], "'/e'"),
        (["run", "e", "--store", "STORE", "--node", "", "--", "true"], "node"),
        (["run", "e", "--store", "STORE", "--ttl", "nan", "--", "true"], "'nan'"),
        (["run", "e", "--store", "STORE", "--ttl", "0", "--", "true"], "ttl"),
        (["run", "e", "--store", "STORE", "--ttl", "-3", "--", "true"], "'-3'"),
        (["run", "e", "--store", "STORE", "--wait", "soon", "--", "true"], "'soon'"),
        (["run", "e", "--store", "STORE", "--ttl", "3", "--grace", "2", "--", "true"], "--grace 2"),
        (["run", "e", "--store", "STORE", "--audit", "/no/such/folder/a", "--", "true"], "/no/such/folder"),
        (["run", "e", "--store", "sqlite://e.db", "--", "true"], "sqlite:///"),
        (["run", "e", "--store", "STORE", "true"], "run: put -- before CMD: leadership run e … -- true"),
        (["run", "e", "more", "--store", "STORE", "--", "true"], "'more'"),
        (["run", "e", "--store", "STORE", "--onc", "--", "true"], "'--onc' (see leadership run --help)"),
        (["run", "e", "--store", "STORE", "--grace", "1e9", "--", "true"], "are sure to be left: take less\n"),
        (["run", "e", "--store", "memory://", "--", "true"], "use sqlite:///"),
        (["nosuch"], "'nosuch'"),
        (["--foo"], "'--foo'"),
        ([], "COMMAND"),
    ],
)
def test_bad_arguments_are_one_line(store: str, arguments: list[str], words: str) -> None:
    """
    What cannot be used is status 2, with one line on stderr that names it, and nothing runs.
    """
    done = call(*(store if argument == "STORE" else argument for argument in arguments), env={"LEADERSHIP_STORE": ""})
    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    assert words in done.stderr


def _can_make_a_pid_namespace() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    made = subprocess.run([unshare, "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True)
    return made.returncode == 0


@pytest.mark.skipif(not _can_make_a_pid_namespace(), reason="needs the right to make a PID namespace (unshare, root)")
def test_as_pid_1_it_reaps_orphans_and_heeds_sigterm(store: str) -> None:
    """
    As the first process of a container it leaves no zombie and ends at SIGTERM.
    """
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "leadership"]
    command = [*namespace, "run", "nightly", "--store", store, *OPTIONS, "--", "sh", "-c"]
    with subprocess.Popen([*command, wait_for_ever(on="'exit 6' TERM")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        (first,) = children(process.pid)
        # The orphan does not descend from CMD: it comes from outside, as by `docker exec`.
        enter = ["nsenter", "--target", str(first), "--pid", "--mount"]
        subprocess.run([*enter, "sh", "-c", "(sleep 0.2 &)"], check=True)
        wait_for(lambda: len(children(first)) == 1, "only the guard is left")
        os.kill(first, signal.SIGTERM)
        assert 6 == process.wait(20)
