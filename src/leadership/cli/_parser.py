"""
The arguments of the command, as data for argparse.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import Any, Final, NoReturn

from leadership.cli._common import Exit, say
from leadership.cli._options import INTERRUPTED, REFUSED, STORE, UNREAD, Help, seconds
from leadership.cli._options import add_json as _json
from leadership.cli._options import statuses as _statuses
from leadership.cli._parser_audit import STATUSES as AUDITS_STATUSES
from leadership.cli._parser_audit import add_actions

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
ABOUT_SERVE: Final = """\
Follow an election and answer by HTTP, for what is not written in Python:

  /leader?node=N  200 if N leads, as last seen; 503 if not, or while it is not known
  /status         the view, as JSON
  /healthz        200 while this process answers
  /metrics        for Prometheus

It does not stand, and what it says is what was last seen: a hint for routing, never a fence.
Only this machine is answered, unless --listen names another address. There is no encryption and no password.
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
            formatter_class=Help,
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
        epilog=_statuses(
            {0: "each promise was kept", 1: "a promise was not kept, or the audits are not valid", **INTERRUPTED}
        ),
    )
    demo.add_argument("--plain", action="store_true", help="plain lines, also on a terminal")
    _add_run(subparsers)
    _add_look(subparsers)
    _add_serve(subparsers)
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
    run.add_argument(
        "--listen",
        metavar="ADDR",
        help="answer /leader, /healthz, /status and /metrics at ADDR, such as 127.0.0.1:8080",
    )


def _add_look(subparsers: Subparsers) -> None:
    follow = subparsers.add(
        "follow",
        "look",
        "print each change of leader until interrupted",
        epilog=_statuses({0: "interrupted (SIGINT, SIGTERM)", **REFUSED, **UNREAD}),
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
    resign.add_argument("--reason", metavar="R", help="is recorded, and told to the leader and to all who follow")
    _timeout(resign, 60)
    _json(resign)


def _add_serve(subparsers: Subparsers) -> None:
    serve = subparsers.add(
        "serve",
        "serve",
        "answer by HTTP who leads, until interrupted",
        description=ABOUT_SERVE,
        epilog=_statuses({0: "interrupted (SIGINT, SIGTERM)", **REFUSED}),
    )
    _election(serve)
    serve.add_argument("--node", metavar="N", help="/leader says whether N leads, unless it is asked for another")
    serve.add_argument(
        "--listen",
        default="127.0.0.1:8080",
        metavar="ADDR",
        help="HOST:PORT to answer at (default: 127.0.0.1:8080); port 0 for any that is free",
    )


def _add_read(subparsers: Subparsers) -> None:
    explain = subparsers.add(
        "explain", "explain", "say what a TTL means on a store, before anything starts", epilog=_statuses({})
    )
    _store(explain)
    _ttl(explain)
    _json(explain)
    doctor = subparsers.add(
        "doctor",
        "doctor",
        "try all that an election needs of a store, and say what is wrong",
        epilog=_statuses({0: "all is well", 1: "something is unsound, and not refused", **STORE, **INTERRUPTED}),
    )
    _store(doctor)
    doctor.add_argument(
        "--election",
        default="leadership-doctor",
        metavar="E",
        help="stand in E, where nobody else does (default: leadership-doctor)",
    )
    _ttl(doctor)
    _timeout(doctor, 10)
    _json(doctor)
    diagram = subparsers.add(
        "diagram", "diagram", "draw a machine", epilog=_statuses({2: "the arguments or the audits cannot be used"})
    )
    diagram.add_argument("kind", choices=("candidate", "follower"), metavar="MACHINE", help="candidate or follower")
    diagram.add_argument("--format", choices=("mermaid", "dot", "svg", "png"), default="mermaid")
    diagram.add_argument("--output", metavar="FILE", help="write to FILE instead of stdout")
    diagram.add_argument("--audit", nargs="+", default=(), metavar="FILE", help="count the transitions of these audits")
    diagram.add_argument("--rotated", action="store_true", help="with --audit: also the rotated files of each")
    audit = subparsers.add("audit", "audit", "read, judge and report on audit files", epilog=AUDITS_STATUSES)
    add_actions(audit)


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
