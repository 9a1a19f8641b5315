"""
README and docs are complete: what the code has is on its page, and what a page links to is there.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from doc_pages import PAGES, ROOT, prose

import leadership
from leadership.cli._common import Exit
from leadership.cli._parser import _parser
from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.fsm.states import CandidateEffect, CandidateTrigger, FollowerEffect, FollowerTrigger
from leadership.testing._simulation import NODE_FAULTS, STORE_FAULTS

PACKAGE = Path(leadership.__file__).parent
DOCS = ROOT / "docs"
UNUSED = re.compile(r"\b(master|primary|heartbeat|epoch|generation|coordinator)s?\b", re.IGNORECASE)
NUMBER = re.compile(r"^(### )?\d+\. ")
TWO_SENTENCES = re.compile(r"[a-zA-Z0-9)`*][.!?](\*\*)? +[A-Z`\[*\"]")


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_column(page: str, heading: str) -> list[str]:
    """
    The words in code or bare that begin the rows of a section's first hand-written table; `a`, `b` are two.
    """
    section = page.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"\n\|---.*\n((?:\|.*\n)+)", section)
    assert rows is not None
    return [word.strip("` ") for row in rows[1].splitlines() for word in row.split("|")[1].split(",")]


def strings(*functions: str) -> Iterator[str]:
    """
    Every text in the package's code; or those that are handed to functions or methods of these names.
    """
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            texts: list[ast.AST] = [] if functions else [node]
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in functions:
                texts += node.args
            yield from (text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str))


@pytest.mark.parametrize("name", leadership.__all__)
def test_every_public_name_is_described(name: str) -> None:
    """
    The API page has each public name, as its docstrings describe it, under a heading of its own.
    """
    assert f"\n### {name}\n" in read("api.md")
    assert re.search(rf"<!-- generated: api leadership\.{name}( [\w ]+)? -->", read("api.md"))


def test_every_subcommand_is_described() -> None:
    """
    The command's page has the help of each subcommand.
    """
    shown = {mark.split()[0] for mark in re.findall(r"<!-- generated: help ([\w ]+) -->", read("command.md"))}
    assert {"leadership", *_parser()[1], "audit"} == shown


def test_every_exit_status_is_described() -> None:
    """
    The command's page has each exit status.
    """
    assert {str(int(status)) for status in Exit} <= set(first_column(read("command.md"), "## Exit statuses"))


def test_every_environment_variable_is_described() -> None:
    """
    The command's page has each variable that the code reads or sets.
    """
    used = {name for text in strings() for name in re.findall(r"LEADERSHIP_[A-Z]+", text)}
    assert used == set(first_column(read("command.md"), "## Environment"))


def test_every_event_of_the_log_is_described() -> None:
    """
    The page on logs has each event that is logged, and no other.
    """
    logged = {text for text in strings("say", "log_event") if text.startswith("leadership.")}
    assert sorted(logged) == sorted(first_column(read("observing.md"), "## The log"))


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("### Triggers of the candidate", list(CandidateTrigger)),
        ("### Effects of the candidate", list(CandidateEffect)),
        ("### Effects of the follower", list(FollowerEffect)),
        ("### Triggers of the follower", sorted(set(map(str, FollowerTrigger)) - set(map(str, CandidateTrigger)))),
        ("## The candidate", list(CANDIDATE.states)),
        ("## The follower", list(FOLLOWER.states)),
    ],
)
def test_every_word_of_the_machines_is_described(heading: str, words: list[str]) -> None:
    """
    The page on the machines says what each state, trigger and effect means.
    """
    assert sorted(words) == sorted(first_column(read("machines.md"), heading))


def test_every_alert_is_described() -> None:
    """
    The page on metrics says of each alert why it is there and what to do, and of no other.
    """
    rules = yaml.safe_load((DOCS / "alerts" / "leadership.rules.yml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert alerts == first_column(read("metrics.md"), "## Alerts")


def test_every_fault_is_described() -> None:
    """
    The page on testing has each fault, with the details that it takes.
    """
    words = [word for word in first_column(read("testing.md"), "## Faults") if "=" not in word]
    assert sorted((*NODE_FAULTS, *STORE_FAULTS)) == sorted(words)


def test_every_dependency_is_described() -> None:
    """
    The page on dependencies has each package and extra that a user may install.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *(package for packages in extras.values() for package in packages)]
    wanted = [package for package in listed if not package.startswith("leadership[")]
    packages = [re.split(r"[><=~!\[; ]", package)[0] for package in wanted]
    page = read("dependencies.md")
    assert sorted(packages) == sorted(re.findall(r"(?m)^\| \[([\w-]+)\]", page))
    assert sorted(extras) == sorted(first_column(page, "## What extras bring"))


def test_timing_is_described() -> None:
    """
    The figures of the guarantees' table are those of the stores.
    """
    rows = dict(re.findall(r"(?m)^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", read("guarantees.md")))
    with leadership.connect("memory://") as store:
        memory = store.timing(10.0)
    assert (memory.renew_interval, memory.steps_down_after, memory.crash_takeover) == (10.0 / 3, 9.0, 10.3)
    assert rows["renewed every"] == "*T*/3"
    assert rows["believed without an acknowledged renewal for"] == "0.9 *T*"
    assert rows["replaced after a hang or a cut within"] == "*T* + 0.3 s"


def test_every_page_is_found() -> None:
    """
    The site's navigation has every page, and README and the first page link to each.
    """
    names = {path.name for path in DOCS.glob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert names == set(re.findall(r"(?m)^  - [^:]+: (\S+\.md)$", navigation))
    assert names - {"index.md"} == set(re.findall(r"\]\(docs/([\w-]+\.md)\)", PAGES[0].read_text(encoding="utf-8")))
    assert names - {"index.md"} == set(re.findall(r"(?m)^\| \[[^]]+\]\(([\w-]+\.md)\)", read("index.md")))


def anchors(page: Path) -> set[str]:
    """
    What the headings of a page can be linked to by.
    """
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """
    Each link to a file or heading of this project leads to one.
    """
    lost = []
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if not target.startswith("https://") and not (file.exists() and (not anchor or anchor in anchors(file))):
                lost.append(f"{number}: {target}")
    assert [] == lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_one_sentence_a_line(page: Path) -> None:
    """
    No line has two sentences, tables apart, and no line uses a word that is not ours.
    """
    long = [
        f"{number}: {line}"
        for number, line in prose(page)
        if UNUSED.search(line) or (not line.startswith("|") and TWO_SENTENCES.search(NUMBER.sub("", line)))
    ]
    assert [] == long
