"""
Runs the benchmarks and prints each figure beside its goal.

    python benchmarks/run.py            about three minutes; the machine should have nothing else to do
    python benchmarks/run.py --quick    seconds; shows that everything runs, not how fast
    python benchmarks/run.py --json FILE
    python benchmarks/run.py cost many  these parts only

A missed goal is said, and is no failure: timings depend on the machine, ratios less so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PARTS = {
    "cost": "Engine: CPU time of the threads, medians of interleaved rounds",
    "many": "Elections in one process, all led by it, no callbacks, TTL 15 s",
    "audit": "Audits judged: medians",
    "handover": "SQLite, real processes: medians; p99, max",
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmarks of leadership.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that everything runs, not how fast")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE, too")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are: {', '.join(PARTS)}")
    return options


def rows(part: str, *arguments: str, quick: bool) -> Iterator[dict[str, Any]]:
    """
    The rows of one part, as its process tells them. Raises CalledProcessError if it fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{part}", *arguments, *(["--quick"] if quick else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        for line in process.stdout:
            yield {"part": part, **json.loads(line)}
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def number(value: float) -> str:
    """
    To three digits, as a person writes it.
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def text(row: dict[str, Any]) -> str:
    """
    One line for a person.
    """
    words = [f"  {row['what']:<68}{number(row['value']):>7} {row['unit']:<10} n={row['n']:<6,}"]
    if row["more"]:
        words.append("; ".join(f"{name} {number(value)}" for name, value in row["more"].items()) + " ")
    if row["ratio"] is not None:
        words.append(f"{number(row['ratio']['value'])} × {row['ratio']['to']} ")
    if row["goal"] is not None:
        words.append(f"goal ≤ {number(row['goal'])}: {'PASS' if row['passed'] else 'MISS'}")
    return " ".join(words).rstrip()


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if sys.platform != "linux":
        print("The benchmarks read /proc and run on Linux only.", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load {load:.1f}, {platform.platform()}")
    began = time.monotonic()
    told: list[dict[str, Any]] = []
    for part in options.parts or PARTS:
        print(f"\n{PARTS[part]}", flush=True)
        for row in rows(part, quick=options.quick):
            told.append(row)
            print(text(row), flush=True)
    missed = [row for row in told if row["passed"] is False]
    goals = sum(row["goal"] is not None for row in told)
    print(f"\n{goals - len(missed)} of {goals} goals met in {time.monotonic() - began:.0f} s")
    for row in missed:
        print(f"  MISS {row['what']}: {number(row['value'])} {row['unit']}, goal ≤ {number(row['goal'])}")
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
