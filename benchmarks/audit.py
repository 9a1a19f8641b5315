"""
Judging audits: the pure model, and the command on the audits of ten nodes; and opening their report, where Chromium is.

The audits are made as an AuditLog writes them: nodes that take turns in leading, four records a term.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.rows import ratio, row
from leadership.audit import read, verify
from leadership.audit.model import Model
from leadership.audit.report import render
from leadership.fsm import CANDIDATE, FOLLOWER

ROOT = Path(__file__).parent.parent
NODES = 10
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)
GOAL = 3.33
"""Microseconds a record: 300,000 records a second."""
TERM = (
    ("backoff_elapsed", "backoff", "campaigning", "callbacks_returned", None),
    ("acquired", "campaigning", "leader", "lease_valid", None),
    ("resign", "leader", "resigning", None, "resigned"),
    ("settled", "resigning", "backoff", "retries_left", None),
)


def lines(node: int, terms: int) -> Iterator[str]:
    """
    The audit of a node that leads every `NODES`-th term of ten seconds, without newlines.
    """
    tables = {machine.name: machine.digest() for machine in (CANDIDATE, FOLLOWER)}
    names = {"boot": f"{node:032x}", "incarnation": f"{node + 100:032x}", "election": "service/leader"}
    about = {"host": f"host-{node}", "pid": 1, "tables": tables, "durability": "os", "chain": False}
    about |= {"leadership": "0.1.0", "python": "3.11.7", "transitions": "0.9.3", "file": 1, "previous": None}
    header = {"v": 1, "kind": "header", "at": BEGIN.isoformat(), "boot": names["boot"], **about}
    timing = {"ttl": 15.0, "effective_ttl": 15.0}
    candidate = {
        "v": 1,
        "kind": "candidate",
        "at": BEGIN.isoformat(),
        **names,
        "node": f"node-{node}",
        "timing": timing,
    }
    yield from (json.dumps(line, separators=(",", ":")) for line in (header, candidate))
    seq = 0
    last = 0.0
    for number in range(terms):
        token = number * NODES + node + 1
        began = 10.0 * token
        first = number == 0
        moments = (began - 3.0, began, began + 9.5, began + 9.6)
        for (trigger, source, dest, guard, cause), moment in zip(TERM, moments, strict=True):
            seq += 1
            office = "leader" in (source, dest)
            deadline = began + (13.5 if dest == "leader" else 18.5)
            at = (BEGIN + timedelta(seconds=moment)).isoformat(timespec="microseconds")
            yield (
                f'{{"v":1,"kind":"transition","seq":{seq},"at":"{at}","monotonic":{moment!r},"machine":"candidate",'
                f'"election":"service/leader","node":"node-{node}","boot":"{names["boot"]}",'
                f'"incarnation":"{names["incarnation"]}","trigger":"{"start" if first and seq == 1 else trigger}",'
                f'"source":"{"idle" if first and seq == 1 else source}","dest":"{dest}","guard":{json.dumps(guard)},'
                f'"disposition":"go","cause":{json.dumps(cause)},"reason":null,"error":null,'
                f'"term":"service/leader/node-{node}/{token}","token":{token if office else "null"},"attempt":{number},'
                f'"revision":null,"lease_deadline":{json.dumps(deadline if office else None)},'
                f'"duration":{moment - last!r},"renewals":{1 if cause else 0}}}'
            )
            last = moment


def make(folder: Path, terms: int, *, chain: bool = False) -> list[Path]:
    """
    The audits of all nodes, `terms` of each.
    """
    paths = []
    for node in range(NODES):
        path = folder / f"node-{node}.jsonl"
        prev: str | None = None
        with path.open("wb") as file:
            for text in lines(node, terms):
                line = text
                if chain:
                    whole = text.replace('"chain":false', '"chain":true', 1)
                    line = f'{whole[:-1]},"prev":{json.dumps(prev)}}}'
                    prev = hashlib.sha256(line.encode()).hexdigest()
                file.write(f"{line}\n".encode())
        paths.append(path)
    return paths


def model(terms: int) -> None:
    """
    The pure model, fed with parsed lines.
    """
    texts = list(lines(0, terms))
    samples, reads = [], []
    for _ in range(5):
        began = time.process_time()
        parsed = [json.loads(text) for text in texts]
        reads.append(1e6 * (time.process_time() - began) / len(parsed))
        judge = Model()
        judge.begin("node-0.jsonl", 0)
        began = time.process_time()
        for number, fields in enumerate(parsed, 1):
            judge.feed(fields, number)
        judge.finish()
        samples.append(1e6 * (time.process_time() - began) / len(parsed))
        assert not judge.findings.all()  # noqa: S101 - a judge that stumbles is fast
    row(
        "the pure model, CPU time",
        "µs/record",
        samples,
        goal=GOAL,
        n=len(texts),
        ratio=ratio(samples, reads, "json.loads"),
    )


def command(paths: list[Path], records: int, what: str, rounds: int) -> None:
    """
    `leadership audit verify` in processes of its own: the whole time, and the largest memory of all of them together.
    """
    samples, memories, used = [], [], []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        verify = [sys.executable, "-m", "leadership", "audit", "verify", *map(str, paths)]
        process = subprocess.Popen(verify, stdout=subprocess.PIPE, text=True)
        peaks: dict[str, int] = {}
        while process.poll() is None:
            for pid in (str(process.pid), *_children(process.pid)):
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
            time.sleep(0.02)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        said = process.stdout.read()
        samples.append(1e6 * (time.monotonic() - began) / records)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(1e6 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / records)
        memories.append(sum(peaks.values()) / 1024)
        assert process.returncode == 0  # noqa: S101 - as above
        assert f"{records:,} records" in said  # noqa: S101 - as above
        process.stdout.close()
    row(
        f"{what}, whole command", "µs/record", samples, goal=GOAL, n=records, more={"CPU": sorted(used)[len(used) // 2]}
    )
    row(f"{what}, memory of all its processes", "MB", memories, goal=200, n=records)


def page(terms: int, rounds: int) -> None:
    """
    The report, opened in Chromium, whose own start is measured beside it and taken off.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = make(Path(folder), terms)
        report, empty = Path(folder, "report.html"), Path(folder, "empty.html")
        report.write_text(render(verify(paths), read(paths)), encoding="utf-8")
        empty.write_text("<!doctype html><title>empty</title>", encoding="utf-8")

        def seconds(path: Path) -> float:
            flags = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"]
            began = time.monotonic()
            done = subprocess.run([chromium, *flags, "--dump-dom", path.as_uri()], capture_output=True, check=True)
            assert path is empty or b'data-ready="yes"' in done.stdout  # noqa: S101 - a page that fails is fast
            return time.monotonic() - began

        seconds(empty)  # the profile is made
        samples = [seconds(report) - seconds(empty) for _ in range(rounds)]
    records = NODES * terms * len(TERM)
    row(f"the report of {records:,} transitions opens in Chromium", "s", samples, goal=3)


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []


def _peak(pid: str) -> int:
    """
    The most memory that a process has had, in KiB.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "0"))


def main() -> None:
    quick = "--quick" in sys.argv
    terms, rounds = (50, 1) if quick else (25_000, 3)
    model(terms)
    records = NODES * terms * len(TERM)
    for chain in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            paths = make(Path(folder), terms, chain=chain)
            command(paths, records, f"{records:,} records of {NODES} nodes{', chained' if chain else ''}", rounds)
    page(25 if quick else 2_500, rounds)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
