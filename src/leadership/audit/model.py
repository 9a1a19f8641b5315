"""
The judge of one node's lines: whether each record follows the last, is a row of the table, and kept the deadline.

Law 1: nothing here reads a file or a clock. Lines come in, in the order in which they were written; findings, terms and
views go out.
Law 2: what is remembered of records does not grow with their number: the last one of each candidate and follower. Terms
and views are kept, packed (`_terms`), because they are judged against other nodes' afterwards (`court`).
"""

from __future__ import annotations

from typing import Final, cast

from leadership.audit._deadlines import fault_of_election, fault_of_term
from leadership.audit._found import Findings, place, seconds, short
from leadership.audit._lives import BROKEN, INITIAL, LEGAL, Fields, Life, Line, Process, about, stay_of, term_of
from leadership.audit._terms import Packed, Stay, View
from leadership.audit.judgement import Place, Verdict

LATE: Final = 1.0
"""
Seconds after the deadline from which leaving office is remarked upon.
"""
STEP: Final = 1.0
"""
Seconds by which a wall clock has to have been set within a term to be remarked upon; and 5 % of the term, which the
clock of deadlines may run faster or slower.
"""


class Model:
    """
    Judges the lines of files that belong together: those of one process are never judged by two models.
    """

    def __init__(self) -> None:
        self.packed = Packed()
        self.findings = Findings()
        self.records = 0
        self.elections: set[str] = set()
        self.nodes: set[str] = set()
        self.ends: dict[tuple[str, str], list[Stay]] = {}
        """For each election and node: from when to when the records of each of its candidates go."""
        self.holes: list[tuple[int, int, str, tuple[Place, ...], Fields]] = []
        """Missing records between two files, or before the first: whether a file is missing is yet to be seen."""
        self._processes: dict[str, Process] = {}
        self._lengths: dict[str, float] = {}
        """The length of a candidate's lease."""
        self._lives: dict[tuple[str, str], Life] = {}
        self._viewed: dict[tuple[str, str], tuple[str, int]] = {}
        self._last_signs: dict[str, Fields] = {}
        """The last sign of life of a process: from lines that are no records; at the end, from all."""
        self._file = self._audit = -1

    def begin(self, name: str, audit: int) -> None:
        """
        The lines that follow are of a file.

        Args:
            name: Its name.
            audit: The same number for files that an AuditLog has rotated into one another.
        """
        self.packed.files.append(name)
        self._file = len(self.packed.files) - 1
        self._audit = audit

    def feed(self, fields: Fields, line: int) -> None:
        """
        Judge a line: an object with `kind`.
        """
        kind = fields["kind"]
        try:
            if kind == "transition":
                self.records += 1
                self._transition(fields, line)
            elif kind == "leader":
                self._view(fields, line)
            elif kind == "header":
                self._process(fields["boot"]).heed(fields)
            elif kind == "candidate":
                self._candidate(fields)
            elif kind in ("gap", "torn"):
                self._loss(fields, line)
        except BROKEN as error:
            what = f"a line of kind {kind!r} of {fields.get('node')!r} is damaged: {type(error).__name__}: {error}"
            self.findings.add("damaged_record", Verdict.INVALID, what, self._here(fields, line))

    def _process(self, boot: str) -> Process:
        process = self._processes.get(boot)
        if process is None:
            process = self._processes[boot] = Process(boot)
        return process

    # -- records ------------------------------------------------------------------------------------------------

    def _transition(self, f: Fields, line: int) -> None:
        machine = f["machine"]
        life = self._lives.get((f["incarnation"], machine))
        if life is None:
            life = self._born(f, line)
        source, dest, mono = f["source"], f["dest"], f["monotonic"]
        if (
            f["seq"] != life.seq + 1
            or source != life.state
            or mono < life.mono
            or f["node"] != life.node
            or f["election"] != life.election
            or f["boot"] != life.boot
        ) and not self._follows(life, f, line):
            return
        legal = life.legal
        if legal is not None:
            row = (source, f["trigger"], dest, f["guard"], f["disposition"], f["cause"])
            if row not in legal:
                self._illegal(f, line)
        if f["disposition"] != "go":
            self._stayed(f, line)
        elif machine == "candidate":
            if dest == "leader":
                self._elected(life, f, line)
            elif source == "leader":
                self._demoted(life, f, line)
        life.blind = False
        life.seq, life.state, life.mono = f["seq"], dest, mono
        life.fields, life.file, life.line, life.audit = f, self._file, line, self._audit
        life.lost = life.process.lost

    def _born(self, f: Fields, line: int) -> Life:
        """
        The first record of a candidate or follower.
        """
        boot, machine = f["boot"], f["machine"]
        process = self._process(boot)
        digest = process.tables.get(machine)
        legal = LEGAL.get((machine, str(digest)))
        if legal is None and machine not in process.unknown:
            process.unknown.add(machine)
            says = "no header names it" if digest is None else f"{digest!r} is none of this version's"
            what = (
                f"the {machine}'s table is unknown, {says}: whether the rows of {f['node']!r} are legal is not judged"
            )
            self.findings.add("unknown_table", Verdict.UNKNOWN, what, self._here(f, line), nodes=(f["node"],))
        life = self._lives[f["incarnation"], machine] = Life(f, process, legal)
        self.elections.add(life.election)
        self.nodes.add(life.node)
        life.state = INITIAL.get(machine, "idle")
        life.audit = self._audit
        life.file = self._file
        return life

    def _follows(self, life: Life, f: Fields, line: int) -> bool:
        """
        Say why a record does not follow the last one; False where it is to be passed over.
        """
        seq = f["seq"]
        for key, of in (("node", life.node), ("election", life.election), ("boot", life.boot)):
            if f[key] != of:
                self._broken(life, f, line, f"its {key} is {f[key]!r}, and was {of!r}")
        if seq <= life.seq and (life.audit != self._audit or life.process.copied):
            self._copied(life, f, line)
            return False
        if seq > life.seq + 1:
            self._hole(life, f, line)
            self._drop_open(life)
            life.blind = True
        elif seq <= life.seq:
            self._broken(life, f, line, f"record {seq} comes after record {life.seq}")
        elif f["source"] != life.state:
            self._broken(life, f, line, f"it leaves {f['source']!r}, and the state was {life.state!r}")
        if f["monotonic"] < life.mono:
            self._broken(life, f, line, f"its clock went back by {life.mono - f['monotonic']:.6f} s")
        return True

    def _copied(self, life: Life, f: Fields, line: int) -> None:
        """
        A record that is known was given once more: what its copy says of a term is compared.
        """
        if f["seq"] != life.copied + 1:
            life.copy = None
        life.copied = f["seq"]
        if f["machine"] != "candidate" or f["disposition"] != "go":
            return
        if f["dest"] == "leader":
            life.copy = (f, self._file, line)
        elif f["source"] == "leader" and life.copy is not None:
            end = (f, self._file, line)
            other = self.packed.add_copy(life.election, term_of(self.packed.names, life, life.copy, end, f))
            if other is not None:
                what = f"two copies of the audit of {life.node!r} tell of its term {other.token} in two ways"
                files = self.packed.files
                known = [(other.elected_file, other.elected_line), (other.demoted_file, other.demoted_line)]
                places = [Place(files[file], number, f"the term {other.token}") for file, number in known]
                places += [place(files[file], number, fields) for fields, file, number in (life.copy, end)]
                self.findings.add("edited_record", Verdict.INVALID, what, *places, **about(f))
            life.copy = None

    def _hole(self, life: Life, f: Fields, line: int) -> None:
        here = self._here(f, line)
        if life.seq == 0:
            what = f"the first record of {life.node!r} in {life.election!r} is number {f['seq']}: others are missing"
            self.holes.append((-1, self._file, what, (here,), f))
            return
        many = f["seq"] - life.seq - 1
        what = f"{many} record(s) of {life.node!r} in {life.election!r} are missing after number {life.seq}"
        places = (self._last(life), here)
        told = life.process.lost - life.lost
        if told >= many:
            self.findings.add("missing_records", Verdict.UNKNOWN, f"{what}: a gap tells of it", *places, **about(f))
        else:
            what += f", and gaps tell of {told}" if told else ""
            self.holes.append((life.file, self._file, what, places, f))

    def _broken(self, life: Life, f: Fields, line: int, why: str) -> None:
        places = (self._last(life), self._here(f, line)) if life.seq else (self._here(f, line),)
        what = f"a record of {life.node!r} does not follow the one before: {why}"
        self.findings.add("broken_sequence", Verdict.INVALID, what, *places, **about(f))

    def _illegal(self, f: Fields, line: int) -> None:
        words = f"{f['source']} → {f['dest']} by {f['trigger']}, guard {f['guard']}, cause {f['cause']}"
        if f["source"] == "leader" and f["cause"] is None and f["disposition"] == "go":
            return  # said as no_cause
        what = f"{f['node']!r} went {words} ({f['disposition']}): the {f['machine']}'s table has no such row"
        self.findings.add("illegal_transition", Verdict.INVALID, what, self._here(f, line), **about(f))

    def _stayed(self, f: Fields, line: int) -> None:
        if f["disposition"] == "illegal":
            what = f"{f['node']!r} met {f['trigger']!r} in state {f['source']!r}, which the table declares impossible"
            self.findings.add("refused_event", Verdict.VALID, what, self._here(f, line), **about(f))

    # -- terms --------------------------------------------------------------------------------------------------

    def _elected(self, life: Life, f: Fields, line: int) -> None:
        token, deadline = f["token"], f["lease_deadline"]
        if type(token) is not int:
            msg = f"an election without a token: {token!r}"
            raise TypeError(msg)
        if life.open is not None:
            what = f"{life.node!r} was elected with token {token}, and its term {life.open[0]['token']} had not ended"
            self.findings.add(
                "elected_twice", Verdict.INVALID, what, self._opened(life), self._here(f, line), **about(f)
            )
            self._drop_open(life)
        if life.token is not None and token < life.token and f["reason"] != "token_reset":
            what = f"{life.node!r} was elected with token {token} after token {life.token}"
            self.findings.add("token_order", Verdict.INVALID, what, self._here(f, line), **about(f))
        life.token = token
        unknown = life.process.unknown
        if deadline is not None and f["incarnation"] not in self._lengths and "lease" not in unknown:
            unknown.add("lease")
            what = f"no line says how long the lease of {life.node!r} lasts: its deadlines are not judged"
            self.findings.add("unknown_lease", Verdict.UNKNOWN, what, self._here(f, line), **about(f))
        why = None if deadline is None else fault_of_election(f, self._length(f))
        if why is not None:
            self.findings.add("past_deadline", Verdict.INVALID, f"{life.node!r} {why}", self._here(f, line), **about(f))
        life.open, life.clock = (f, self._file, line), life.process.clock

    def _demoted(self, life: Life, f: Fields, line: int) -> None:
        if f["cause"] is None:
            what = f"{life.node!r} left office by {f['trigger']!r} without a cause"
            self.findings.add("no_cause", Verdict.INVALID, what, self._here(f, line), **about(f))
        if life.open is None:
            if not life.blind:
                what = f"{life.node!r} left office without having been elected"
                self.findings.add("demoted_without_elected", Verdict.INVALID, what, self._here(f, line), **about(f))
            return
        elected = life.open[0]
        if f["token"] != elected["token"]:
            self._broken(life, f, line, f"the term of token {elected['token']} ends with token {f['token']!r}")
        deadline, mono = f["lease_deadline"], f["monotonic"]
        if deadline is not None:
            self._kept(life, elected, f, line)
            if mono - deadline >= LATE:
                what = f"{life.node!r} left office {mono - deadline:.3f} s after its deadline: its process stood still"
                self.findings.add("late", Verdict.VALID, what, self._here(f, line), **about(f))
        began, left = seconds(elected["at"]), seconds(f["at"])
        ran = mono - elected["monotonic"]
        if abs(left - began - ran) > STEP + 0.05 * ran:
            what = f"the wall clock of {life.node!r} was set by {left - began - ran:+.3f} s within a term"
            self.findings.add("clock_step", Verdict.VALID, what, self._opened(life), self._here(f, line), **about(f))
        self._keep(life, (f, self._file, line))

    def _kept(self, life: Life, elected: Fields, f: Fields, line: int) -> None:
        """
        See whether the deadline that was in force at the end of a term was kept.
        """
        why = fault_of_term(elected, f, self._length(f))
        if why is not None:
            places = (self._opened(life), self._here(f, line))
            self.findings.add("past_deadline", Verdict.INVALID, f"{life.node!r} {why}", *places, **about(f))
        ahead = f["lease_deadline"] - f["monotonic"]
        if f["trigger"] == "lease_expired" and ahead > 0:
            what = f"{life.node!r} left office by lease_expired {ahead:.3f} s before its deadline"
            self.findings.add("illegal_transition", Verdict.INVALID, what, self._here(f, line), **about(f))

    def _length(self, f: Fields) -> float:
        """
        Seconds that a lease of a candidate lasts; no end where its audit does not say.
        """
        return self._lengths.get(f["incarnation"], float("inf"))

    def _drop_open(self, life: Life) -> None:
        """
        The end of the term that is open will not be known.
        """
        if life.open is not None:
            self._keep(life, None)

    def _keep(self, life: Life, end: Line | None) -> None:
        elected = cast("Line", life.open)
        life.open = None
        last = self._last_signs.get(life.boot, life.fields) if end is None else end[0]
        self.packed.add_term(life.election, term_of(self.packed.names, life, elected, end, last))

    # -- other lines --------------------------------------------------------------------------------------------

    def _candidate(self, f: Fields) -> None:
        timing: Fields = f["timing"]
        if timing:
            self._lengths[f["incarnation"]] = max(timing["ttl"], timing["effective_ttl"])
        self.elections.add(f["election"])
        self.nodes.add(f["node"])

    def _view(self, f: Fields, line: int) -> None:
        sign = self._last_signs.get(f["boot"])
        if sign is None or sign["monotonic"] <= f["monotonic"]:
            self._last_signs[f["boot"]] = f
        leader = f["leader"]
        if leader is None or leader["node"] == f["node"]:
            return
        key = (f["incarnation"], f["election"])
        seen = (leader["node"], leader["token"])
        if self._viewed.get(key) == seen:
            return
        self._viewed[key] = seen
        clock = self._process(f["boot"]).clock
        number = self.packed.names.number
        view = View(
            token=leader["token"],
            seen=seconds(f["at"]),
            seen_mono=f["monotonic"],
            leader=number(leader["node"]),
            node=number(f["node"]),
            clock=number(clock),
            same_boot=number(clock),
            file=self._file,
            line=line,
        )
        self.packed.add_view(f["election"], view)

    def _loss(self, f: Fields, line: int) -> None:
        here = self._here(f, line)
        if f["kind"] == "gap":
            process = self._process(f["boot"])
            process.lost += 0 if process.copied else f["lost"]
            what = f"{f['lost']} record(s) could not be written since {short(f['since'])} ({f['error']})"
            self.findings.add("gap", Verdict.UNKNOWN, what, here)
        else:
            self.findings.add("torn", Verdict.UNKNOWN, f"a line cannot be read: {f['problem']}", here)

    def finish(self) -> None:
        """
        No more lines will come.
        """
        lives = [(machine, life) for (_, machine), life in self._lives.items() if life.seq]
        for close in (self._live, self._leave, self._end):
            for machine, life in lives:
                try:
                    close(machine, life)
                except BROKEN as error:
                    what = f"the last record of {life.node!r} is damaged: {type(error).__name__}: {error}"
                    self.findings.add("damaged_record", Verdict.INVALID, what, self._last(life))

    def _live(self, _machine: str, life: Life) -> None:
        sign = self._last_signs.get(life.boot)
        if sign is None or sign["monotonic"] < life.mono:
            self._last_signs[life.boot] = life.fields

    def _leave(self, _machine: str, life: Life) -> None:
        self._drop_open(life)

    def _end(self, machine: str, life: Life) -> None:
        if machine == "candidate":
            # Whoever left the contest may have been granted what it had asked for before, and lets it go.
            slack = 0.0 if life.state in ("campaigning", "leader") else self._length(life.fields)
            self.ends.setdefault((life.election, life.node), []).append(stay_of(life, self._last(life), slack))

    # -- evidence -----------------------------------------------------------------------------------------------

    def _here(self, f: Fields, line: int) -> Place:
        return place(self.packed.files[self._file], line, f)

    def _last(self, life: Life) -> Place:
        return place(self.packed.files[life.file], life.line, life.fields)

    def _opened(self, life: Life) -> Place:
        fields, file, line = cast("Line", life.open)
        return place(self.packed.files[file], line, fields)
