"""
Every example does what its README says: its own commands are run, the leader is killed, the other takes over.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from example_processes import EXAMPLES, Example, Process, free_port, get, pid_of, wait_for

from leadership._clock import now

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
TAKEOVER = 5.0
"""Seconds, far below the lease of 15: a death is attested by the kernel, not waited for."""

Open = Callable[[str], Example]

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Open]:
    """
    Opens an example, and leaves nothing of it behind.
    """
    opened: list[Example] = []

    def open_example(name: str) -> Example:
        opened.append(Example(name, tmp_path))
        return opened[-1]

    yield open_example
    for each in opened:
        each.end()


def takes_over(first: Process, second: Process, pattern: str) -> tuple[re.Match[str], re.Match[str]]:
    """
    The first prints a pattern with `node` and `token`; its process is killed, and the second prints a newer token.
    """
    led = first.wait_printed(pattern)
    assert re.search(pattern, second.printed) is None, "two at a time"
    killed = now()
    os.kill(pid_of(led["node"]), signal.SIGKILL)
    leads = second.wait_printed(pattern)
    assert now() - killed < TAKEOVER
    assert int(leads["token"]) > int(led["token"])
    assert leads["node"] != led["node"]
    return led, leads


@pytest.mark.parametrize("name", NAMES)
def test_every_readme_ends_in_the_same_words(name: str) -> None:
    """
    What is left to the reader is to kill the leader.
    """
    assert (EXAMPLES / name / "README.md").read_text(encoding="utf-8").endswith("Now kill the leader.\n")


def test_the_list_has_every_example() -> None:
    """
    The overview names each folder once.
    """
    assert NAMES == sorted(re.findall(r"\| \[(\w+)\]\(\1\) \|", (EXAMPLES / "README.md").read_text(encoding="utf-8")))


def test_script(example: Open) -> None:
    """
    One of two scripts works; killed, the other does; SIGTERM ends it in good order.
    """
    script = example("script")
    command = script.command("worker.py")
    first = script.start(command)
    pattern = r"(?P<node>\S+) writes the report, token (?P<token>\d+)"
    first.wait_printed(pattern)
    second = script.start(command)
    time.sleep(1.0)
    _, leads = takes_over(first, second, pattern)
    os.kill(pid_of(leads["node"]), signal.SIGTERM)
    second.wait_printed("stands down: stopped")
    assert second.popen.wait(TAKEOVER) == 0


def test_fastapi(example: Open) -> None:
    """
    Both applications answer, one of them cleans; killed, the other does; SIGTERM ends it and releases.
    """
    app = example("fastapi_app")
    ports = free_port(), free_port()
    for stated, port in zip(("8001", "8002"), ports, strict=True):
        app.start(f"exec {app.command(f'--port {stated}').replace(stated, str(port))}")

    def status(port: int) -> dict[str, Any]:
        answer = get(port)
        return dict(json.loads(answer)) if answer else {}

    wait_for(lambda: any(status(port).get("is_leader") for port in ports), "one leads")
    wait_for(lambda: all(status(port).get("leader") for port in ports), "both know")
    leader, other = sorted(ports, key=lambda port: not status(port)["is_leader"])
    wait_for(lambda: status(leader)["cleaned"] > 1, "the leader cleans")
    before, seen = status(leader), status(other)
    assert (True, False, 0) == (before["is_leader"], seen["is_leader"], seen["cleaned"])
    assert before["node"] == before["leader"] == seen["leader"]
    killed = now()
    os.kill(pid_of(before["node"]), signal.SIGKILL)
    wait_for(lambda: status(other)["is_leader"], "the other leads")
    assert now() - killed < TAKEOVER
    assert status(other)["token"] > before["token"]
    wait_for(lambda: status(other)["cleaned"] > 0, "the other cleans")
    process = app.processes[ports.index(other)]
    process.popen.terminate()
    process.wait_printed("Application shutdown complete")
    assert "Traceback" not in process.printed


def test_apscheduler(example: Open) -> None:
    """
    The jobs run in one of two schedulers; killed, they run in the other.
    """
    scheduler = example("apscheduler_jobs")
    command = scheduler.command("scheduler.py")
    first = scheduler.start(command)
    pattern = r"(?P<node>\S+) tidies up, token (?P<token>\d+)"
    first.wait_printed(pattern)
    second = scheduler.start(command)
    time.sleep(1.5)
    takes_over(first, second, pattern)


def test_celery_beat(example: Open) -> None:
    """
    One beat sends its task; the command that runs it is killed, its beat dies with it, and the other one sends.
    """
    celery = example("celery_beat")
    command = celery.command("leadership run")

    def sent() -> int:
        return len(list((celery.folder / "queue").glob("*.msg")))

    def beats() -> set[int]:
        """
        Beats, and the guards that have them as their words.
        """
        return {pid for pid, words in processes_in(celery.folder) if "beat" in words and "run" not in words}

    celery.start(command)
    wait_for(lambda: sent() > 1, "a beat sends")
    celery.start(command)
    node, token = celery.leader("beat")
    first = beats()
    assert first
    killed = now()
    os.kill(pid_of(node), signal.SIGKILL)
    wait_for(lambda: celery.leader("beat")[1] > token, "the other leads")
    assert now() - killed < TAKEOVER
    before = sent()
    wait_for(lambda: sent() > before + 1, "the other's beat sends")
    worker = celery.start(f"{celery.command('worker')} --pool solo")
    worker.wait_printed("tidied up")
    assert beats()
    assert set() == beats() & first


def processes_in(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """
    Processes whose working directory this is, with their words.
    """
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cwd").samefile(folder):
                yield int(each.name), (each / "cmdline").read_text(encoding="utf-8").split("\0")
        except OSError:
            continue  # it has just ended


def execution(unit: Path) -> tuple[configparser.ConfigParser, list[str]]:
    """
    A unit file, and the words of what it runs.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser, shlex.split(parser["Service"]["ExecStart"])


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def runs_and_takes_over(example: Example, commands: list[str], election: str) -> None:
    """
    Two of `leadership run`: the first works, is killed, and the second works.
    """
    first = example.start(commands[0])
    pattern = r"(?P<node>\S+) works, token (?P<token>\d+)"
    led = first.wait_printed(pattern)
    second = example.start(commands[1])
    time.sleep(1.0)
    assert "works" not in second.printed
    assert (led["node"], int(led["token"])) == example.leader(election)
    killed = now()
    os.kill(first.popen.pid, signal.SIGKILL)
    leads = second.wait_printed(pattern)
    assert now() - killed < TAKEOVER
    assert int(leads["token"]) > int(led["token"])
    second.popen.terminate()
    assert second.popen.wait(TAKEOVER) in (0, 128 + signal.SIGTERM)


def test_systemd(example: Open) -> None:
    """
    The unit's own command runs on two instances and fails over; its stop waits longer than the worker's grace.
    """
    systemd = example("systemd")
    parser, words = execution(systemd.folder / "worker@.service")
    service = parser["Service"]
    assert float(service["TimeoutStopSec"]) > float(option(words, "--grace")) + 5
    assert ("mixed", "always") == (service["KillMode"], service["Restart"])
    assert option(words, "--store") == f"sqlite:////var/lib/{service['StateDirectory']}/election.db"
    assert words[words.index("--") :] == ["--", "/opt/worker/bin/work"]
    shutil.copy(EXAMPLES / "kubernetes" / "work.py", systemd.folder)
    places = {
        "/opt/worker/bin/leadership": f"{sys.executable} -m leadership",
        "/opt/worker/bin/work": f"{sys.executable} work.py",
        "//var/lib/worker/": "/",
        "%H": "host",
    }
    line = service["ExecStart"]
    for place, here in places.items():
        assert place in line
        line = line.replace(place, here)
    runs_and_takes_over(systemd, [f"exec {line.replace('%i', number)}" for number in "12"], "worker")


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not here; the unit is parsed all the same"
)
def test_systemd_takes_the_unit(example: Open, tmp_path: Path) -> None:
    """
    systemd itself finds no fault with the unit file.
    """
    systemd = example("systemd")
    unit = tmp_path / "worker@.service"
    text = (systemd.folder / "worker@.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/worker/bin/leadership", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "worker@1.service")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    faults = [line for line in done.stderr.splitlines() if "worker@" in line]
    assert ([], 0) == (faults, done.returncode), done.stderr


def test_kubernetes(example: Open) -> None:
    """
    The pods' own command runs twice and fails over; a pod's end waits longer than the worker's grace; no API is called.
    """
    kubernetes = example("kubernetes")
    deployment = yaml.safe_load((kubernetes.folder / "deployment.yaml").read_text(encoding="utf-8"))
    assert ("apps/v1", "Deployment") == (deployment["apiVersion"], deployment["kind"])
    assert deployment["spec"]["replicas"] > 1
    template = deployment["spec"]["template"]
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels == template["metadata"]["labels"]
    pod = template["spec"]
    (container,) = pod["containers"]
    words = [*container["command"], *container["args"]]
    assert pod["terminationGracePeriodSeconds"] > float(option(words, "--grace")) + 5
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    (rule,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert labels == rule["labelSelector"]["matchLabels"]
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    env = {one["name"]: one for one in container["env"]}
    (mount,) = container["volumeMounts"]
    assert env["LEADERSHIP_STORE"]["value"] == f"sqlite:///{mount['mountPath']}/election.db"
    assert env["POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    line = shlex.join(words).replace("'$(POD_NAME)'", "worker-{pod}")
    here = f"exec env LEADERSHIP_STORE=sqlite:///election.db {line}"
    runs_and_takes_over(kubernetes, [here.format(pod=pod) for pod in ("x7k2p", "m9d4q")], "worker")


def test_route_to_leader(example: Open) -> None:
    """
    The router redirects to the node that leads, before its death and after it.
    """
    service = example("route_to_leader")
    ports = {stated: free_port() for stated in ("8001", "8002", "8000")}
    for stated, port in ports.items():
        started = service.start(service.command(f"py {stated}").replace(stated, str(port)))
        started.wait_printed("(listens|routing) on")
    router = ports["8000"]

    def written() -> re.Match[str] | None:
        return re.fullmatch(r"written by (?P<node>\S+), token (?P<token>\d+)\n", get(router))

    wait_for(written, "the router finds the leader")
    first = written()
    assert first is not None
    assert (first["node"], int(first["token"])) == service.leader("ledger")
    follower_port = next(port for port in (ports["8001"], ports["8002"]) if not get(port))
    assert get(follower_port) == ""
    killed = now()
    os.kill(pid_of(first["node"]), signal.SIGKILL)
    wait_for(written, "the router finds the other")
    assert now() - killed < TAKEOVER
    second = written()
    assert second is not None
    assert second["node"] != first["node"]
    assert int(second["token"]) > int(first["token"])
    assert f"written by {second['node']}" in get(follower_port)


def test_exit_on_lost(example: Open) -> None:
    """
    A leader that was frozen for longer than its lease exits with status 70; one that is killed is replaced at once.
    """
    worker = example("exit_on_lost")
    loop = worker.command("worker.py")
    once = re.search(r"do (.*?);", loop)
    assert once is not None
    pattern = r"(?P<node>\S+) imports, token (?P<token>\d+)"
    first = worker.start(once[1])
    led = first.wait_printed(pattern)
    pid = pid_of(led["node"])
    second = worker.start(loop)
    time.sleep(1.0)
    os.kill(pid, signal.SIGSTOP)
    leads = second.wait_printed(pattern)
    assert int(leads["token"]) > int(led["token"])
    os.kill(pid, signal.SIGCONT)
    assert 70 == first.popen.wait(TAKEOVER)
    first.wait_printed("has lost its term: ")
    third = worker.start(loop)
    time.sleep(1.5)
    takes_over(second, third, pattern)
    second.wait_printed("Killed")
