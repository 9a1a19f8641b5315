"""
Every snippet of README and docs does what its page says: it is executed, and what is shown as its output is compared.

A page's snippets run in order in one folder of their own, as a reader would run them; each Python snippet is a program.
Warnings are errors there, too.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, Fence, fences

TIMEOUT = 60.0
"""Seconds for one snippet, on a machine that is busy."""
RUNS = 3
"""A machine that is busy with other things may break a demo's promise of 250 ms; hardly each time."""
FOLDER = "/srv/app"
"""Where the pages pretend to be."""
DONE = "\x1e"
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"((?:monotonic|lease_deadline|lease_remaining|duration)'?\"?[=:] ?)[\d.e-]+"), r"\1<seconds>"),
    (re.compile(r"\d+\.\d{3,}"), "<number>"),
    (re.compile(r"  +"), " "),
)


def shape(text: str) -> str:
    """
    A text without what differs from run to run.
    """
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def agrees(shown: str, printed: str) -> bool:
    """
    Whether a text is what a page shows, in which `…` stands for anything within a line, or for whole lines.
    """
    lines = ("(?:.*\n)*?" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n" for line in shown.splitlines())
    return re.fullmatch("".join(lines), printed) is not None


def compare(fence: Fence, shown: str, printed: str) -> None:
    """
    Demand that a page shows what was printed.
    """
    if not agrees(shape(shown), shape(printed)):
        pytest.fail(f"{fence.place} shows:\n{shown}\nbut it prints:\n{printed}", pytrace=False)


class Reader:
    """
    Someone who does what one page says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "error",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def read_all(self, page: Iterable[Fence]) -> None:
        """
        Do what a page says.
        """
        for fence in page:
            if not fence.generated and "skip" not in fence.marks:
                self.read(fence)

    def read(self, fence: Fence) -> None:
        """
        Do what a fence says.
        """
        if "output" in fence.marks:
            compare(fence, fence.text, self.printed)
        elif "file" in fence.marks:
            (self.folder / fence.marks["file"]).write_text(fence.text, encoding="utf-8")
        elif fence.language == "console":
            self.type_in(fence)
        elif fence.language == "sh":
            self.expect(fence, 0, self.run("bash", "-eu", "-c", fence.text))
        else:
            program = self.folder / f"line_{fence.line}.py"
            program.write_text(fence.text, encoding="utf-8")
            interrupted = "interrupted" in fence.marks
            self.expect(fence, 0, self.run(sys.executable, program.name, interrupted=interrupted))

    def expect(self, fence: Fence, expected: int, status: int) -> None:
        """
        Demand an exit status.
        """
        if expected != status:
            pytest.fail(f"{fence.place} ended with status {status} and printed:\n{self.printed}", pytrace=False)

    def run(self, *command: str, interrupted: bool = False) -> int:
        """
        Run a program until it ends, then kill what it has left behind; what they printed is kept.
        """
        output = self.folder.with_suffix(".out")
        with (
            output.open("w") as file,
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                if interrupted:
                    self.interrupt(process, output)
                status = process.wait(TIMEOUT)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        self.printed = output.read_text(encoding="utf-8").replace(str(self.folder), FOLDER)
        return status

    def broke_a_promise(self) -> bool:
        """
        Whether a demo did, which may be the machine's fault; not where its verdict was another than valid.
        """
        written = self.folder / "demo.txt"
        told = written.read_text(encoding="utf-8") if written.exists() else self.printed
        return "PROMISE BROKEN" in told and "\n  valid: " in told

    @staticmethod
    def interrupt(process: subprocess.Popen[bytes], output: Path) -> None:
        """
        Interrupt a program as soon as it has printed something.
        """
        until = time.monotonic() + TIMEOUT
        while not output.stat().st_size and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)

    def type_in(self, fence: Fence) -> None:
        """
        Type the commands of a transcript into one shell, and compare what each prints.
        """
        commands = transcript(fence.text)
        script = "".join(f'{command}\nstatus=$?; echo "{DONE}$status"; (exit $status)\n' for command, _ in commands)
        there = set(self.folder.iterdir())
        for _ in range(RUNS):
            self.run("bash", "-u", "-c", script)
            if not self.broke_a_promise():
                break
            for new in set(self.folder.iterdir()) - there:
                shutil.rmtree(new) if new.is_dir() else new.unlink()
        answers = re.findall(rf"(.*?){DONE}(\d+)\n", self.printed, re.DOTALL)
        for number, (command, shown) in enumerate(commands):
            if number >= len(answers):
                pytest.fail(f"{fence.place}: {command!r} was not reached:\n{self.printed}", pytrace=False)
            printed, status = answers[number]
            compare(fence, f"$ {command}\n{shown}", f"$ {command}\n{printed}")
            asked = number + 1 < len(commands) and commands[number + 1][0] == "echo $?"
            if status != "0" and not asked:
                pytest.fail(f"{fence.place}: {command!r} ended with status {status}:\n{printed}", pytrace=False)


def transcript(text: str) -> list[tuple[str, str]]:
    """
    The commands of a console, each with the output that is shown below it.
    """
    commands: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], ""))
            continue
        command, shown = commands[-1]
        commands[-1] = (f"{command}\n{line}", shown) if command.endswith("\\") else (command, f"{shown}{line}\n")
    return commands


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_do_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """
    Each snippet of a page runs as shown, in order, and prints what is shown.
    """
    Reader(tmp_path).read_all(fences(page))


@pytest.mark.parametrize(("verdict", "is_repeated"), [("valid", True), ("invalid", False)])
def test_a_demo_on_a_busy_machine_is_repeated(tmp_path: Path, verdict: str, is_repeated: bool) -> None:
    """
    A promise that was broken once may be the machine's fault; a verdict other than valid is not, and is kept.
    """
    folder = tmp_path / "reader"
    folder.mkdir()
    broken = f"{{ touch ../once; printf 'PROMISE BROKEN\\n  {verdict}: \\n'; }}"
    fence = Fence(ROOT / "page.md", 1, "console", {}, f"$ test -e ../once && echo kept || {broken}\nkept\n", False)
    with nullcontext() if is_repeated else pytest.raises(pytest.fail.Exception):
        Reader(folder).read(fence)


def test_languages_are_known() -> None:
    """
    A fence is executed, or is the output of one that is, or is generated: there is no other kind.
    """
    strange = [
        f"{fence.place}: {fence.language or 'no language'}"
        for page in PAGES
        for fence in fences(page)
        if not fence.generated
        and fence.language not in (("text",) if "output" in fence.marks else ("python", "sh", "console"))
    ]
    assert [] == strange


def test_files_are_used() -> None:
    """
    A fence that is only saved is used by one that is executed.
    """
    for page in PAGES:
        everything = list(fences(page))
        for number, fence in enumerate(everything):
            if "file" in fence.marks:
                stem = Path(fence.marks["file"]).stem
                assert any(stem in later.text for later in everything[number + 1 :] if "file" not in later.marks)


SKIPS: Mapping[str, int] = {
    "needs a package registry": 6,
    "needs a server": 4,
    "needs the results of a run": 1,
    "takes minutes, and needs servers": 2,
    "takes minutes": 1,
    "it ends with 1, as it must": 1,
}


def test_skips_are_few_and_argued() -> None:
    """
    Only what cannot be executed here is not: these, for these reasons.
    """
    reasons = [fence.marks["skip"] for page in PAGES for fence in fences(page) if "skip" in fence.marks]
    assert SKIPS == {reason: reasons.count(reason) for reason in reasons}


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a 2026-01-02T03:04:05.678901+00:00 b\n", "a 1999-11-12T13:14:15+00:00 b\n", True),
        ("took 0.0012 s\n", "took 12.345678 s\n", True),
        ("within 0.25 s\n", "within 0.35 s\n", False),
        ("token=1\n", "token=2\n", False),
        ("first\n…\nlast\n", "first\na\nb\nlast\n", True),
        ("first\n…\nlast\n", "first\nlast\n", True),
        ("one … three\n", "one two three\n", True),
        ("one … three\n", "one two\n three\n", False),
        ("", "something\n", False),
    ],
)
def test_comparison_can_fail(shown: str, printed: str, same: bool) -> None:
    """
    Times, identities and measured durations may differ; everything else may not, but for `…`.
    """
    assert same is agrees(shape(shown), shape(printed))


def test_reader_notices(tmp_path: Path) -> None:
    """
    A program that raises or warns, a command that fails or prints something else: each makes its page's test fail.
    """
    page = tmp_path / "page.md"

    def faulty(*lines: str) -> Sequence[Fence]:
        page.write_text("\n".join(lines), encoding="utf-8")
        return [
            Fence(ROOT / "page.md", each.line, each.language, each.marks, each.text, each.generated)
            for each in fences(page)
        ]

    for lines in (
        ("```python", "raise SystemExit(1)", "```"),
        ("```python", "import warnings; warnings.warn('old')", "```"),
        ("```sh", "false", "true", "```"),
        ("```console", "$ false", "```"),
        ("```console", "$ echo one", "two", "```"),
        ("```console", "$ exit 0", "$ echo two", "two", "```"),
        ("```python", "print(1)", "```", "", "<!-- output -->", "```text", "2", "```"),
    ):
        reader = Reader(tmp_path)
        with pytest.raises(pytest.fail.Exception):
            reader.read_all(faulty(*lines))
