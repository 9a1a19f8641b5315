"""
Writes what README and docs show between their marks: pictures, tables and reference, from the code that they speak of.

A mark says what belongs between it and `<!-- end generated -->`:

* `<!-- generated: mermaid candidate -->`, `<!-- generated: mermaid follower compact -->`: a machine, drawn;
* `<!-- generated: table follower -->`, `<!-- generated: guards follower -->`: its table, and what its guards ask;
* `<!-- generated: help run -->`: what a subcommand says to `--help`;
* `<!-- generated: kinds audit -->`: the kinds of findings of `leadership audit verify`;
* `<!-- generated: api leadership.Candidate -->`: a public name, from its signature and docstrings;
* `<!-- generated: fields leadership.Transition -->`: the fields of a record;
* `<!-- generated: metrics all -->`: each metric, as Prometheus and OpenTelemetry know it;
* `<!-- generated: mutants table -->`: what became of each mutant when all were run last; `figures`, `survivors`.

Run by `make pictures`; tests/unit/test_diagram.py fails when a block is not what this would write.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mutants import page as mutants

from leadership.audit import KINDS as FINDINGS
from leadership.cli._parser import parse
from leadership.diagram import KINDS, draw, table_markdown
from leadership.observers._measures import METRICS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"(?P<mark><!-- generated: (?P<what>\w+) (?P<of>[\w. ]+) -->\n).*?(?P<end><!-- end generated -->)", re.DOTALL
)
COLUMNS: Final = "100"
Definition = ast.FunctionDef | ast.AsyncFunctionDef


def pages() -> list[Path]:
    """
    The Markdown files that may have marks.
    """
    return [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


def renewed(text: str) -> str:
    """
    The text with each block as the code has it now.
    """
    return BLOCK.sub(lambda match: f"{match['mark']}{WRITERS[match['what']](match['of'])}{match['end']}", text)


# -- the machines -----------------------------------------------------------------------------------------------


def mermaid(of: str) -> str:
    """
    A machine, drawn: `candidate`, or `candidate compact`.
    """
    kind, _, compact = of.partition(" ")
    return f"```mermaid\n{draw(kind, compact=compact == 'compact')}```\n"


def table(kind: str) -> str:
    """
    A machine's whole table.
    """
    return f"\n{table_markdown(kind)}\n"


def guards(kind: str) -> str:
    """
    What the guards of a machine ask, in the order of its table.
    """
    asked = {row.guard_name: inspect.getdoc(row.guard) for row in KINDS[kind].table if row.guard is not None}
    lines = (f"| {name} | {' '.join(str(text).split())} |" for name, text in asked.items())
    return "\n".join(["", "| guard | holds when |", "|---|---|", *lines, "", ""])


# -- audits -----------------------------------------------------------------------------------------------------


def kinds(_of: str) -> str:
    """
    The kinds of findings of `leadership audit verify`.
    """
    lines = (f"| `{kind}` | {what} |" for kind, what in FINDINGS.items())
    return "\n".join(["", "| kind | what it says |", "|---|---|", *lines, "", ""])


# -- the command ------------------------------------------------------------------------------------------------


def usage(of: str) -> str:
    """
    What the command, or a subcommand, says to `--help`: `leadership`, `run`, `audit show`.
    """
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            parse([*of.removeprefix("leadership").split(), "--help"])
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return f"```text\n{said.getvalue().rstrip()}\n```\n"


# -- public names -----------------------------------------------------------------------------------------------


def api(of: str) -> str:
    """
    A class or function: what it says of itself, how it is called, its members; of a class, only those named, if any.
    """
    name, *only = of.split()
    thing, definition = _find(name)
    if isinstance(definition, Definition):
        call = _called(definition)
        if len(call) > int(COLUMNS):
            call = _in_lines(definition.name, _arguments(definition.args)) + f" -> {_returned(definition)}"
        return f"\n```py\n{call}\n```\n\n{_prose(definition)}\n"
    members = _members(thing)
    missing = set(only) - set(members)
    if missing:
        message = f"{name} has no {', '.join(sorted(missing))}"
        raise LookupError(message)
    parts = [_prose(definition), *_constructor(definition)]
    parts += [text for member, text in members.items() if not only or member in only]
    return "\n" + "\n".join(parts).rstrip() + "\n\n"


def fields(of: str) -> str:
    """
    The fields of a record, as a table.
    """
    _, definition = _find(of)
    # Not with a bar, which ends a cell: Markdowns differ in how it is kept.
    told = ((name, type_.replace(" | ", "` or `"), said) for name, type_, said in _fields(definition))
    rows = (f"| `{name}` | `{type_}` | {said} |".replace(" |  |", " | |") for name, type_, said in told)
    return "\n".join(["", "| key | type | what it says |", "|---|---|---|", *rows, "", ""])


def metrics(_of: str) -> str:
    """
    The metrics, as a table.
    """
    rows: list[str] = []
    for metric in METRICS:
        unit = metric.unit or f"{{{metric.counted}}}"
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        rows.append(f"| `{metric.family}` | `{metric.name}` | {metric.kind} | `{unit}` | {labels} | {metric.about} |")
    head = ["", "| Prometheus | OpenTelemetry | kind | unit | labels | what it says |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", ""])


def _find(name: str) -> tuple[type, Any]:
    """
    What a dotted name means, and the class or function that defines it.
    """
    module, _, word = name.rpartition(".")
    thing = getattr(importlib.import_module(module), word)
    tree = ast.parse(inspect.getsource(sys.modules[thing.__module__]))
    return thing, [node for node in tree.body if getattr(node, "name", "") == word][-1]  # behind its overloads


def _constructor(definition: ast.ClassDef) -> Iterator[str]:
    """
    How to make one, where that is for users: the constructor says something, or every field has a default.
    """
    for node in definition.body:
        if isinstance(node, Definition) and node.name == "__init__" and ast.get_docstring(node):
            yield f"```py\n{_in_lines(definition.name, _arguments(node.args))}\n```\n\n{_prose(node)}"
    annotated = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
    if annotated and all(node.value for node in annotated):
        yield f"```py\n{_in_lines(definition.name, map(ast.unparse, annotated))}\n```\n"


def _in_lines(name: str, arguments: Iterable[str]) -> str:
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _members(thing: type) -> dict[str, str]:
    """
    The public members of a class and of what it inherits from the library, with what each says of itself.
    """
    members: dict[str, str] = {}
    for base in reversed(thing.__mro__):
        if not base.__module__.startswith("leadership"):
            continue
        definition = _find(f"{base.__module__}.{base.__name__}")[1]
        told = "Attributes:" in (ast.get_docstring(definition) or "")
        for name, type_, said in (*_fields(definition), *_attributes(definition)):
            if not told:
                members[name] = _item(f"{name}: {type_}" if type_ else name, said)
        for node in definition.body:
            if isinstance(node, Definition) and not node.name.startswith("_"):
                members[node.name] = _item(_signature(node), _prose(node))
    return members


def _fields(definition: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """
    Fields and members of enumerations: name, type or value, and the docstring below it.
    """
    for node, below in zip(definition.body, [*definition.body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, what = node.target.id, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, what = node.targets[0].id, ast.unparse(node.value)
        else:
            continue
        if not name.startswith("_"):
            yield name, what, _said(below)


def _attributes(definition: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """
    What the constructor sets and says something of.
    """
    for node in definition.body:
        if isinstance(node, Definition) and node.name == "__init__":
            for line, below in zip(node.body, node.body[1:], strict=False):
                targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                name = targets[0].attr if isinstance(targets[0], ast.Attribute) else "_"
                if not name.startswith("_") and _said(below):
                    yield name, "", _said(below)


def _said(node: ast.AST) -> str:
    """
    The text of a docstring below a field; empty where there is none.
    """
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _signature(node: Definition) -> str:
    if any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
        return f"{node.name}: {_returned(node)}"
    awaited = isinstance(node, ast.AsyncFunctionDef) and "Iterator" not in _returned(node)
    return ("await " if awaited else "") + _called(node)


def _called(node: Definition) -> str:
    return f"{node.name}({', '.join(_arguments(node.args))}) -> {_returned(node)}".removesuffix(" -> None")


def _returned(node: Definition) -> str:
    return "None" if node.returns is None else ast.unparse(node.returns)


def _arguments(given: ast.arguments) -> Iterator[str]:
    """
    Each argument as it stands in a signature, without `self`.
    """
    positional = [argument for argument in given.args if argument.arg not in ("self", "cls")]
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    for argument, default in zip(positional, defaults[-len(positional) :], strict=False):
        yield _argument(argument, default)
    if given.vararg is not None:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg is not None:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + ("" if default is None else f" = {ast.unparse(default)}")


def _prose(node: Definition | ast.ClassDef) -> str:
    """
    A docstring in Markdown: its sections become one list.
    """
    out: list[str] = []
    section = ""
    for line in (ast.get_docstring(node) or "").splitlines():
        if line in ("Args:", "Returns:", "Raises:", "Attributes:"):
            section = line.removesuffix(":").lower()
            if len(out) > 1 and out[-2].startswith(("- ", "  ")):
                out.pop()
        elif section and line.startswith("    "):
            out.append(_entry(section, line[4:]))
        else:
            section = section if not line else ""
            out.append(line)
    return "\n".join(out) + "\n"


def _entry(section: str, line: str) -> str:
    """
    A line of a section: a new entry, or more of the one before.
    """
    names, colon, text = line.partition(": ")
    if line.startswith("    ") or (section != "returns" and not colon):
        return f"  {line.strip()}"
    if section == "returns":
        return f"- returns: {line}"
    marked = ", ".join(f"`{name.strip()}`" for name in names.split(","))
    return f"- {'raises ' if section == 'raises' else ''}{marked}: {text}"


def _item(head: str, text: str) -> str:
    """
    A member as an item of a list, whatever is said of it.
    """
    lines = ["", *text.strip().splitlines()] if text else []
    return "\n".join([f"- **`{head}`**", *(f"    {line}".rstrip() for line in lines), ""])


WRITERS: Final[Mapping[str, Callable[[str], str]]] = {
    "mermaid": mermaid,
    "table": table,
    "guards": guards,
    "help": usage,
    "kinds": kinds,
    "api": api,
    "fields": fields,
    "metrics": metrics,
    "mutants": mutants.write,
}

if __name__ == "__main__":
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)}: renewed\n")
