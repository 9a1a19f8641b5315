"""
The arguments of `leadership audit`.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from leadership.cli._options import INTERRUPTED, UNREAD, Help, add_json, seconds, statuses

STATUSES: Final = statuses({2: "the arguments or the audits cannot be used", **UNREAD, **INTERRUPTED})
ABOUT_VERIFY: Final = """\
Judge the audits of all nodes of an election: did each follow its table, keep its deadline, lead alone?

Files come in any order, rotated, compressed or damaged. Findings show the lines that prove them. Without the files of
all nodes the verdict can only be of those that were given.
"""
ABOUT_REPORT: Final = """\
Judge audits, and write an HTML page to look at and to hand on.

The page is one file that asks nothing of a network: the verdict and its evidence, a lane a node, the terms, vacancies,
causes, and the machine as it behaved.
"""


def add_actions(audit: argparse.ArgumentParser) -> None:
    """
    Add what can be done with audits.
    """
    actions = audit.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = _action(
        actions,
        "show",
        "print the transitions of several audits in order",
        "Print the transitions of several audits in order.",
        STATUSES,
    )
    show.add_argument("files", nargs="+", metavar="FILE")
    show.add_argument("--election", metavar="E", help="of this election only")
    show.add_argument("--node", metavar="N", help="of this node only")
    show.add_argument("--rotated", action="store_true", help="also the rotated files of each")
    add_json(show)
    _add_judge(actions)
    _add_report(actions)


def _action(actions: Any, name: str, about: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=about, description=description, epilog=epilog, formatter_class=Help
    )
    parser.set_defaults(parser=parser)
    return parser


def _add_judge(actions: Any) -> None:
    verify = _action(
        actions,
        "verify",
        "judge the audits of all nodes",
        ABOUT_VERIFY,
        statuses(
            {
                0: "valid",
                1: "invalid: a promise was broken, or an audit was changed",
                2: "the arguments or the audits cannot be used",
                3: "unknown: something is missing that would be needed",
                **UNREAD,
                **INTERRUPTED,
            }
        ),
    )
    _add_judged(verify)
    verify.add_argument("--json", action="store_true", help="the whole judgement as one JSON object, terms included")
    timeline = _action(
        actions,
        "timeline",
        "say who led when, and how long nobody did",
        "Say who led when, and how long nobody did.",
        STATUSES,
    )
    timeline.add_argument("files", nargs="+", metavar="FILE")
    timeline.add_argument("--election", metavar="E", help="of this election only")
    timeline.add_argument("--rotated", action="store_true", help="also the rotated files of each")


def _add_judged(parser: argparse.ArgumentParser) -> None:
    """
    What is judged, and what is known besides.
    """
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--rotated", action="store_true", help="also the rotated files of each")
    parser.add_argument(
        "--anchor", action="append", default=[], metavar="HASH", help="a last line's SHA-256 that was kept elsewhere"
    )
    parser.add_argument(
        "--clock-error",
        type=seconds,
        default=0.1,
        metavar="S",
        help="seconds by which wall clocks of different machines may differ (default: 0.1)",
    )


def _add_report(actions: Any) -> None:
    report = _action(
        actions,
        "report",
        "judge audits, and write an HTML page to look at and to hand on",
        ABOUT_REPORT,
        statuses(
            {
                0: "written; the verdict is valid",
                1: "written; the verdict is invalid",
                2: "the arguments or the audits cannot be used; nothing is written",
                3: "written; the verdict is unknown",
                **UNREAD,
                **INTERRUPTED,
            }
        ),
    )
    _add_judged(report)
    report.add_argument(
        "-o", "--output", required=True, metavar="HTML", help="write to HTML; an earlier report there is replaced"
    )
    report.add_argument("--title", default="Audit report", metavar="T", help="of the page (default: Audit report)")
