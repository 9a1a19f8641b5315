"""
The scorecard of a results folder: `python -m court.summary FOLDER`. It ends with 1 where a round was broken or void.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from court.controls import CONDEMNED_BY


@dataclass(frozen=True)
class Row:
    """
    The verdict of a round, with what the round was.
    """

    place: Path
    facts: dict[str, Any]
    verdict: dict[str, Any]

    @property
    def case(self) -> str:
        """
        The store, and how many servers it had.
        """
        many = f" × {self.facts['servers']}" if self.facts["servers"] > 1 else ""
        return f"{self.facts['store']}{many}"

    @property
    def lost(self) -> bool:
        """
        The store did not come back, and the round was played again.
        """
        return bool(self.verdict["measures"].get("lost"))

    def laws(self) -> list[str]:
        """
        The laws that were broken.
        """
        return [finding["law"] for finding in self.verdict["findings"]]


def rows(folder: Path) -> Iterator[Row]:
    """
    All rounds that were judged, in order.
    """
    for path in sorted(folder.rglob("verdict.json")):
        facts = json.loads((path.parent / "round.json").read_text(encoding="utf-8"))
        yield Row(path.parent, facts, json.loads(path.read_text(encoding="utf-8")))


def table(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """
    A table in Markdown.
    """
    made = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*made, *(f"| {' | '.join(map(str, line))} |" for line in body)])


def seconds(values: Sequence[float]) -> str:
    """
    Median, 99th percentile (the least value that 99 of 100 do not exceed) and maximum, with their number.
    """
    if not values:
        return "–"
    high = sorted(values)[math.ceil(0.99 * len(values)) - 1]
    return f"{statistics.median(values):.3f} / {high:.3f} / {max(values):.3f} (n={len(values)})"


def _line(case: str, fault: str, group: Sequence[Row]) -> list[object]:
    laws = [law for row in group for law in row.laws()]
    took = [row.verdict["measures"]["took"] for row in group if "took" in row.verdict["measures"]]
    followed = [row.verdict["measures"]["followed"] for row in group if "followed" in row.verdict["measures"]]
    total = [
        sum(row.verdict["measures"][name] for row in group)
        for name in ("samples", "writes", "refused", "stale_at_twin")
    ]
    states = [row.verdict["status"] for row in group]
    return [
        case,
        fault,
        len(group),
        states.count("broken"),
        states.count("void"),
        ", ".join(f"{law}: {count}" for law, count in sorted(Counter(laws).items())) or "–",
        sum(row.verdict["measures"]["moved"] for row in group),
        "–" if case == "all" else seconds(took),
        "–" if case == "all" else f"{group[0].facts['bound']:g}",
        "–" if case == "all" else seconds(followed),
        *total,
    ]


HEAD = (
    *("store", "fault", "rounds", "broken", "void", "laws broken", "moved"),
    *("next leader p50 / p99 / max, s", "bound, s", "followed p50 / p99 / max, s"),
    *("looks", "writes", "refused by R", "stale at R0"),
)


def _ours(groups: Mapping[tuple[str, str], list[Row]]) -> str:
    body = [_line(*key, group) for key, group in groups.items()]
    return table(HEAD, [*body, _line("all", "all", [row for group in groups.values() for row in group])])


def _controls(groups: Mapping[tuple[str, str], list[Row]]) -> str:
    body = []
    for (name, what), group in groups.items():
        law = CONDEMNED_BY[name]
        shown = [each["what"] for row in group for each in row.verdict["findings"] if each["law"] == law]
        body.append([name, what, len(group), sum(law in row.laws() for row in group), law, shown[0] if shown else "–"])
    return table(("negative control", "fault", "rounds", "condemned", "by", "for example"), body)


def _stages(stages: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]) -> str:
    body = []
    for name, (facts, verdict) in stages.items():
        rises = [max(each) for each in zip(*verdict["measures"]["growth"].values(), strict=True)]
        rates = verdict["measures"]["rates"].values()
        body.append(
            [
                name,
                facts["rounds"],
                verdict["measures"]["terms"],
                len(verdict["measures"]["growth"]),
                " / ".join(f"{each:+g}" for each in rises) or "–",
                len(facts["left"]),
                f"{max(rates):.1f}" if rates else "–",
                verdict["status"],
            ]
        )
    head = ("stage", "rounds", "terms that audit, callbacks and looks tell alike", "processes of 20 rounds or more")
    more = ("grown by threads / descriptors / kB", "left in the store", "requests/s of one in calm", "verdict")
    return table((*head, *more), body)


def _audits(audits: Mapping[str, dict[str, Any]]) -> str:
    body = [
        [
            stage,
            told["files"],
            told["records"],
            told["verdict"],
            ", ".join(f"{n} {k}" for k, n in told["kinds"].items()),
        ]
        for stage, told in audits.items()
    ]
    return table(("audits of", "files", "records", "verdict of `leadership audit verify`", "findings"), body)


def is_whole(folder: Path) -> bool:
    """
    Whether a run has come to its end.
    """
    run = folder / "run.json"
    return not run.exists() or json.loads(run.read_text(encoding="utf-8")).get("ended", "") is not None


def scorecard(folder: Path) -> tuple[str, bool]:
    """
    The tables, and whether all is well: no round of ours broken, or void for another reason than a lost store, each
    control condemned in every round, and the run not broken off.
    """
    ours: dict[tuple[str, str], list[Row]] = {}
    controls: dict[tuple[str, str], list[Row]] = {}
    for row in rows(folder):
        if row.facts["contender"] == "library":
            ours.setdefault((row.case, row.facts["fault"]), []).append(row)
        else:
            controls.setdefault((row.facts["contender"], f"{row.facts['fault']}, {row.case}"), []).append(row)
    parts = [*([_ours(ours)] if ours else []), *([_controls(controls)] if controls else [])]
    judged = [row for group in ours.values() for row in group]
    for row in judged:
        told = [*(f"{each['law']}: {each['what']}" for each in row.verdict["findings"]), *row.verdict["void"]]
        parts += [f"{row.verdict['status']}: {row.place.relative_to(folder)}: {each}" for each in told]
    stages = {
        path.parent.name: (
            json.loads(path.with_name("stage.json").read_text("utf-8")),
            json.loads(path.read_text("utf-8")),
        )
        for path in sorted(folder.glob("*/stage-verdict.json"))
    }
    parts += [_stages(stages)] if stages else []
    for name, (_, verdict) in stages.items():
        parts += [f"broken: {name}: {each['law']}: {each['what']}" for each in verdict["findings"]]
    audits = {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/audits.json"))}
    parts += [_audits(audits)] if audits else []
    valid = not any(told["held"] and told["verdict"] == "invalid" for told in audits.values())
    aborted = [f"{each.parent.name}: {each.read_text('utf-8').strip()}" for each in sorted(folder.glob("*/aborted"))]
    if not is_whole(folder):
        aborted.append("the run itself: what is judged here is a part of it")
    parts += [f"aborted: {each}" for each in aborted]
    parts += [f"played again: {each.parent.name}: {each.read_text('utf-8').strip()}" for each in folder.glob("*/lost")]
    passed = [row.verdict["status"] for row in judged if row.verdict["status"] != "void" or not row.lost]
    passed += [verdict["status"] for _, verdict in stages.values()]
    well = valid and not aborted and all(each == "passed" for each in passed)
    condemned = all(CONDEMNED_BY[name] in row.laws() for (name, _), group in controls.items() for row in group)
    return "\n\n".join(parts) or "no round was judged", well and condemned and bool(parts)


def main() -> int:
    """
    The command.
    """
    folder = Path(sys.argv[1])
    run = folder / "run.json"
    if run.exists():
        print(run.read_text(encoding="utf-8"))
    text, well = scorecard(folder)
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
