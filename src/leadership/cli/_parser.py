"""
The arguments of the command, as data for argparse.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, NoReturn

from leadership.cli._common import Exit, say

STORE: Final = {
    69: "the store is unavailable",
    77: "the store refuses: credentials, permission, foreign data",
}
UNREAD: Final = {141: "nobody reads the output any more (SIGPIPE)"}
INTERRUPTED: Final = {130: "interrupted (SIGINT)"}


def _statuses(own: Mapping[int, str], *last: str) -> str:
    """
    The list of a subcommand's exit statuses, in their order.
    """
    statuses = {0: "done", 2: "the arguments cannot be used", **own}
    return "\n".join(["exit statuses:", *(f"  {n:<4} {statuses[n]}" for n in sorted(statuses)), *last, ""])


STATUSES_OF_RUN: Final = _statuses(
    {
        **STORE,
        0: "CMD has ended with status 0",
        75: "not elected in time (--wait), or demoted (--once)",
        126: "CMD cannot be executed",
        127: "CMD was not found",
    },
    "  else CMD's own status; 128 + n when signal n ended CMD, or the waiting",
)
ABOUT_RUN: Final = """\
Run CMD while leading; LEADERSHIP_ELECTION, LEADERSHIP_NODE and LEADERSHIP_TOKEN are in its environment.

CMD never outlives its term, whatever becomes of this process: a guard process kills it and all that descends
from it when this process is killed or frozen. On demotion its group gets SIGTERM, and SIGKILL before the lease
can lapse; then this process stands again. When CMD ends by itself, leadership is released and CMD's status
returned. SIGTERM and SIGINT are passed on to CMD and end this process too; asked a second time, CMD is killed.
SIGHUP, SIGUSR1 and SIGUSR2 are passed on; a SIGHUP that comes when no CMD runs ends this process.

A lease cannot fence what CMD has sent elsewhere before it died: hand LEADERSHIP_TOKEN to what it writes to.
"""
OPTIONS: Final = ("-h", "--help", "--version")
"""Of the command itself."""
_URL: Final = "such as sqlite:////var/lib/app/election.db"


class Parser(argparse.ArgumentParser):
    """
    An argument parser whose errors are one line; options are written in full.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """
        Say what cannot be used, and where to look; exit status 2.
        """
        say(f"{self.prog.removeprefix('leadership').strip()}: {message} (see {self.prog} --help)".removeprefix(": "))
        sys.exit(Exit.USAGE)


def parse(argv: list[str]) -> argparse.Namespace:
    """
    The arguments; `module` and `subcommand` say who takes them, `command` is what follows `--`.

    Raises:
        SystemExit: They cannot be used, or ask for help.
    """
    parser, subparsers = _parser()
    # Not left to argparse, which treats a second `--`, one of CMD's own, differently from version to version.
    own, dashes, command = argv, False, list[str]()
    if "run" in argv[:1] and "--" in argv:
        place = argv.index("--")
        own, dashes, command = argv[:place], True, argv[place + 1 :]
    if own and own[0].startswith("-") and own[0] not in OPTIONS:
        parser.error(f"there is no option {own[0]!r}")
    args, extras = parser.parse_known_args(own)
    if extras:
        _refuse(args, extras[0], dashes=dashes)
    if args.subcommand == "run":
        if not command:
            missing = "no CMD after --" if dashes else "no -- CMD"
            subparsers["run"].error(f"{missing}: say what to run, as in: leadership run {args.election} -- ./job")
        args.command = command
    if hasattr(args, "store") and not args.store:
        subparsers[args.subcommand].error(f"no store: give --store URL, {_URL}, or set LEADERSHIP_STORE")
    return args


def _refuse(args: argparse.Namespace, extra: str, *, dashes: bool) -> NoReturn:
    """
    Say that an argument is one too many.
    """
    parser: Parser = args.parser
    if extra.startswith("-") and extra != "-":
        parser.error(f"there is no option {extra!r}")
    if args.subcommand == "run" and not dashes:
        parser.error(f"put -- before CMD: leadership run {args.election} … -- {extra}")
    parser.error(f"{extra!r} is one argument too many")


class Subparsers(dict[str, Parser]):
    """
    The subcommands' parsers by name.
    """

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self._commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)

    def add(self, name: str, module: str, about: str, *, epilog: str, description: str = "") -> Parser:
        """
        One more, that `leadership.cli.<module>` carries out.
        """
        self[name] = self._commands.add_parser(
            name,
            help=about,
            description=description or f"{about[0].upper()}{about[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self[name].set_defaults(module=module, parser=self[name])
        return self[name]


def _parser() -> tuple[Parser, Subparsers]:
    parser = Parser(prog="leadership", description="Leader election whose every transition can be seen.")
    parser.add_argument("--version", action="version", version=f"leadership {version('leadership')}")
    subparsers = Subparsers(parser)
    demo = subparsers.add(
        "demo",
        "demo",
        "watch three processes elect a leader, lose it, and elect another",
        epilog=_statuses({0: "each promise was kept", 1: "a promise was not kept", **INTERRUPTED}),
    )
    demo.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    _add_run(subparsers)
    _add_look(subparsers)
    _add_read(subparsers)
    return parser, subparsers


def _add_run(subparsers: Subparsers) -> None:
    run = subparsers.add("run", "run", "run CMD while leading", description=ABOUT_RUN, epilog=STATUSES_OF_RUN)
    run.usage = "leadership run ELECTION --store URL [options] -- CMD [ARG …]"
    _election(run)
    run.add_argument("--node", metavar="N", help="the name to stand under (default: host:pid)")
    _ttl(run)
    run.add_argument(
        "--grace", type=seconds, metavar="S", help="seconds from SIGTERM to SIGKILL (default: what the lease allows)"
    )
    run.add_argument("--wait", type=seconds, metavar="S", help="give up after S seconds without election, status 75")
    run.add_argument("--once", action="store_true", help="do not stand again after a demotion: end with status 75")
    run.add_argument("--audit", metavar="FILE", help="append each transition to FILE, as JSON lines")


def _add_look(subparsers: Subparsers) -> None:
    follow = subparsers.add(
        "follow",
        "look",
        "print each change of leader until interrupted",
        epilog=_statuses({0: "interrupted (SIGINT, SIGTERM)", **STORE, **UNREAD}),
    )
    _election(follow)
    _json(follow)
    status = subparsers.add(
        "status",
        "look",
        "say who leads; exit status 0 if anybody does",
        epilog=_statuses(
            {
                0: "yes: somebody leads, or the one asked for (--node)",
                1: "no: nobody leads, or another one (--node)",
                3: "unknown: no answer in time",
                **STORE,
                **INTERRUPTED,
            }
        ),
    )
    _election(status)
    status.add_argument("--node", metavar="N", help="exit status 0 only if N leads")
    _timeout(status, 5)
    _json(status)
    resign = subparsers.add(
        "resign",
        "look",
        "ask the leader to resign, and wait until its term is over",
        epilog=_statuses(
            {
                0: "the term is over",
                1: "nobody leads, or the term was over already",
                3: "unknown: no answer in time, or the term was not over in time",
                **STORE,
                **INTERRUPTED,
            }
        ),
    )
    _election(resign)
    resign.add_argument("--reason", metavar="R", help="is recorded, and told to the leader")
    _timeout(resign, 60)
    _json(resign)


def _add_read(subparsers: Subparsers) -> None:
    explain = subparsers.add(
        "explain", "explain", "say what a TTL means on a store, before anything starts", epilog=_statuses({})
    )
    _store(explain)
    _ttl(explain)
    _json(explain)
    diagram = subparsers.add(
        "diagram", "diagram", "draw a machine", epilog=_statuses({2: "the arguments or the audits cannot be used"})
    )
    diagram.add_argument("kind", choices=("candidate", "follower"), metavar="MACHINE", help="candidate or follower")
    diagram.add_argument("--format", choices=("mermaid", "dot", "svg", "png"), default="mermaid")
    diagram.add_argument("--output", metavar="FILE", help="write to FILE instead of stdout")
    diagram.add_argument("--audit", nargs="+", default=(), metavar="FILE", help="count the transitions of these audits")
    epilog = _statuses({2: "the arguments or the audits cannot be used", **UNREAD, **INTERRUPTED})
    actions = subparsers.add("audit", "audit", "read audit files", epilog=epilog).add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    show = actions.add_parser(
        "show",
        help="print the transitions of several audits in order",
        description="Print the transitions of several audits in order.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.set_defaults(parser=show)
    show.add_argument("files", nargs="+", metavar="FILE")
    show.add_argument("--election", metavar="E", help="of this election only")
    show.add_argument("--node", metavar="N", help="of this node only")
    show.add_argument("--rotated", action="store_true", help="also the rotated files of each")
    _json(show)


def _ttl(parser: Parser) -> None:
    parser.add_argument(
        "--ttl", type=seconds, default=15.0, metavar="S", help="seconds that a lease lasts (default: 15)"
    )


def _election(parser: Parser) -> None:
    parser.add_argument("election", metavar="ELECTION")
    _store(parser)


def _store(parser: Parser) -> None:
    parser.add_argument(
        "--store",
        default=os.environ.get("LEADERSHIP_STORE"),
        metavar="URL",
        help=f"{_URL}; LEADERSHIP_STORE in the environment is its default",
    )


def _timeout(parser: Parser, default: float) -> None:
    parser.add_argument(
        "--timeout", type=seconds, default=default, metavar="S", help=f"seconds to wait (default: {default:g})"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def seconds(text: str) -> float:
    """
    A number of seconds, 0 or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        msg = f"{text!r} is not a number of seconds, 0 or more"
        raise argparse.ArgumentTypeError(msg)
    return value
