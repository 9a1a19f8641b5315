"""
The judge of the terms of all nodes: whether tokens rise, whether two ever led at once, whether somebody is missing.

Law 1: nothing here reads a file or a clock.
Law 2: terms are compared in the order of the store, which is that of their tokens, each with the one before it, with
the one that ended last, and with the one that ended last by the clock of deadlines that it shares. Where two nodes
share one, that decides to the last digit. Elsewhere wall clocks do, as far as they can be trusted: `error` seconds.
Law 3: where wall clocks cannot tell, the store's order may: an entry that was given back within its lease was there
until then, so that the next one was elected afterwards. If the clocks say otherwise, they are off (`_clocks`).
"""

from __future__ import annotations

from collections.abc import Iterator

from leadership.audit._clocks import Clocks
from leadership.audit._found import Findings, short
from leadership.audit._part import Part, Tenure, Tenures
from leadership.audit._terms import RELEASED, UNFINISHED, Stay, View
from leadership.audit.judgement import Place, Span, Verdict
from leadership.audit.model import STEP

_DRIFT = 0.05
"""A part by which the clock of deadlines may run faster or slower than the wall clock."""
_WIPED = " (a store that was wiped while nobody remembered its tokens shows the same)"


class Court:
    """
    Judges election by election what the parts have left to judge.
    """

    def __init__(self, parts: list[Part], *, clock_error: float, spans: bool) -> None:
        """
        Args:
            parts: What came of the files.
            clock_error: Seconds by which the wall clocks of two nodes may differ.
            spans: Keep all terms for those who ask; without them less memory is needed.
        """
        self.parts = parts
        self.findings = Findings()
        self.spans: list[Span] = []
        self.clocks = Clocks(clock_error)
        self._keep = spans
        self._close: list[tuple[str, Tenure, Tenure, float, bool]] = []
        """Neighbours that are closer than clocks may differ, with the gap between them; and whether the store lost its
        data between them, as far as wall clocks tell."""
        self._twice: list[tuple[str, Tenure, Tenure]] = []
        """Those with one token, in an election whose store lost its data."""
        self._offsets: dict[tuple[str, str | None], tuple[float, float, Tenure]] = {}
        self._stays: dict[tuple[str, str], list[Stay]] = {}
        for part in parts:
            for key, stays in part.ends.items():
                self._stays.setdefault(key, []).extend(stays)
        self._nodes = {node for part in parts for node in part.nodes}

    def judge(self) -> None:
        """
        Judge everything.
        """
        for election in sorted({election for part in self.parts for election in part.packed.elections}):
            tenures = Tenures(self.parts, election)
            self._neighbours(election, tenures)
            self._views(election, tenures)
        for election, one, two, gap, anew in self._close:
            self._decide(election, one, two, gap, anew=anew)
        for election, one, two in self._twice:
            if not self.clocks.doubtful(one.clock, two.clock):  # else one may be from before the loss
                self._reused(election, one, two)
        self.clocks.say(self.findings)

    # -- one election, in the order of its tokens ---------------------------------------------------------------

    def _neighbours(self, election: str, tenures: Tenures) -> None:
        before: tuple[int, Tenure] | None = None
        latest: tuple[int, Tenure] | None = None
        on_clock: dict[str | None, tuple[int, Tenure]] = {}
        for counted, tenure in self._once(election, tenures):
            if self._keep:
                self.spans.append(tenure.span(election))
            self._watch_clock(election, tenure)
            if before is not None:
                self._follow(election, before, counted, tenure, resets=tenures.resets > 0)
            others = {id(held[1]): held for held in (before, latest, on_clock.get(tenure.boot)) if held is not None}
            for count, other in others.values():
                self._compare(election, other, tenure, anew=count != counted)
            before = (counted, tenure)
            if latest is None or tenure.term.ended >= latest[1].term.ended:
                latest = before
            if tenure.boot is not None and (
                tenure.boot not in on_clock or tenure.term.ended_mono >= on_clock[tenure.boot][1].term.ended_mono
            ):
                on_clock[tenure.boot] = before
        if before is not None and before[1].term.flags & UNFINISHED:
            self._unfinished(election, before[1], None)

    def _once(self, election: str, tenures: Tenures) -> Iterator[tuple[int, Tenure]]:
        """
        Each term once, whatever copies of it were given.
        """
        for counted, run in tenures.runs():
            once: dict[tuple[str | None, int], Tenure] = {}
            for tenure in run:
                known = once.setdefault((tenure.incarnation, tenure.term.seq), tenure)
                if known.term.flags & UNFINISHED:
                    once[tenure.incarnation, tenure.term.seq] = tenure
                elif not tenure.term.flags & UNFINISHED and known.differs(tenure):
                    what = (
                        f"two copies of the audit of {known.node!r} tell of its term {known.term.token} of"
                        f" {election!r} in two ways"
                    )
                    places = (known.elected(), known.last(), tenure.elected(), tenure.last())
                    nodes = (known.node,)
                    self.findings.add("edited_record", Verdict.INVALID, what, *places, election=election, nodes=nodes)
            for tenure in once.values():
                yield counted, tenure

    def _follow(self, election: str, before: tuple[int, Tenure], counted: int, tenure: Tenure, *, resets: bool) -> None:
        """
        What the order of the store asks of two that follow each other.
        """
        count, one = before
        if counted != count:
            self._reset(election, one, tenure)
        elif one.term.token == tenure.term.token:
            if resets:
                self._twice.append((election, one, tenure))
            else:
                self._reused(election, one, tenure)
        if one.term.flags & UNFINISHED:
            self._unfinished(election, one, tenure)

    def _watch_clock(self, election: str, tenure: Tenure) -> None:
        """
        A wall clock that was set moves against the clock of deadlines.
        """
        term, key = tenure.term, (tenure.clock, tenure.incarnation)
        offset = term.began - term.began_mono
        known, since, last = self._offsets.setdefault(key, (offset, term.began_mono, tenure))
        if abs(offset - known) > self.clocks.error + _DRIFT * abs(term.began_mono - since):
            self.clocks.stepped.add(tenure.clock)
        step = offset - (last.term.ended - last.term.ended_mono)
        if last is not tenure and abs(step) > STEP + _DRIFT * abs(term.began_mono - last.term.ended_mono):
            what = f"the wall clock of {tenure.node!r} was set by {step:+.3f} s between two of its terms"
            places, nodes = (last.last(), tenure.elected()), (tenure.node,)
            self.findings.add("clock_step", Verdict.VALID, what, *places, election=election, nodes=nodes)
        self._offsets[key] = (known, since, tenure)

    def _reset(self, election: str, one: Tenure, two: Tenure) -> None:
        what = f"the store of {election!r} had lost its data: token {two.term.token} came after {one.term.token}"
        places = (one.elected(), two.elected())
        self.findings.add("token_reset", Verdict.UNKNOWN, what, *places, election=election, nodes=(two.node,))

    def _reused(self, election: str, one: Tenure, two: Tenure) -> None:
        what = f"{one.node!r} and {two.node!r} were both elected in {election!r} with token {two.term.token}"
        what += _WIPED
        places = _sorted(one.elected(), two.elected(), one.term.began > two.term.began)
        nodes = (one.node, two.node)
        self.findings.add("reused_token", Verdict.INVALID, what, *places, election=election, nodes=nodes)

    def _unfinished(self, election: str, one: Tenure, two: Tenure | None) -> None:
        term = one.term
        nodes = (one.node,)
        what = f"the audit of {one.node!r} ends within its term {term.token} of {election!r}"
        left = term.deadline_mono - term.ended_mono
        if two is not None and self._outlived(one, two):
            what += f", and its process lived on long after {two.node!r} led: it had left office, and that is missing"
            self.findings.add(
                "truncated", Verdict.UNKNOWN, what, one.elected(), two.elected(), election=election, nodes=nodes
            )
            return
        if two is None:
            what += ", and nobody led after it: its process may still run"
        elif left == left and one.until(two) < left:  # noqa: PLR0124 - NEVER is not equal to itself
            what += (
                f"; {two.node!r} led from {short(two.term.began)}, before the deadline that is known: the process had"
                " died and the store knew it, or the end of the audit is missing"
            )
        else:
            what += f"; {two.node!r} led from {short(two.term.began)}, after the deadline: nothing is wrong with that"
        places = [one.elected()] if two is None else [one.elected(), two.elected()]
        self.findings.add("unfinished", Verdict.VALID, what, *places, election=election, nodes=nodes)

    def _outlived(self, one: Tenure, two: Tenure) -> bool:
        """
        Whether the process of a term whose end is missing lived on until a lease after the next one had begun.
        """
        term = one.term
        lease, lived = term.deadline_mono - term.began_mono, term.demoted - term.began_mono
        if one.incarnation == two.incarnation:
            return False  # said as elected_twice, or records are missing
        if one.boot == two.boot is not None:
            return lived > lease and term.demoted - two.term.began_mono > lease
        return lived > lease and term.began + lived - two.term.began > lease + self.clocks.error

    def _compare(self, election: str, one: Tenure, two: Tenure, *, anew: bool) -> None:
        """
        Sort out what is clear: one had ended when two began. What is not is decided when more is known of the clocks.
        """
        if one.incarnation == two.incarnation:
            return  # its own records follow each other, or that was said
        if one.boot == two.boot is not None:
            gap = two.term.began_mono - one.term.ended_mono
            if gap < 0 and not (anew and two.term.ended_mono <= one.term.began_mono):
                self._overlap(election, one, two, gap, exact=True)
            return
        gap = two.term.began - one.term.ended
        if one.term.flags & RELEASED and one.clock != two.clock and not anew:
            nodes = (one.node, two.node)
            if self.clocks.before(one.clock, two.clock, gap, nodes):
                self.clocks.before(one.clock, two.clock, gap, nodes, (one.last(), two.elected()))
        if gap <= self.clocks.error:
            self._close.append((election, one, two, gap, anew))

    def _decide(self, election: str, one: Tenure, two: Tenure, gap: float, *, anew: bool) -> None:
        clocks = self.clocks
        if one.clock == two.clock:
            if gap < -clocks.error and one.clock not in clocks.stepped:
                self._overlap(election, one, two, gap, exact=True)
                return
            if gap >= 0:
                return
        elif anew and clocks.contradict(one.clock, two.clock):
            return  # which of them was before the loss cannot be told; said of the clocks
        elif not clocks.impossible(one.clock, two.clock) and (
            one.term.flags & RELEASED or clocks.contradict(one.clock, two.clock)
        ):
            return  # decided by the store; said of the clocks
        elif gap < -clocks.error:
            self._overlap(election, one, two, gap, exact=False)
            return
        if not one.term.flags & (UNFINISHED | RELEASED):
            what = (
                f"whether the term {one.term.token} of {one.node!r} had ended when {two.node!r} was elected with token"
                f" {two.term.token} is not decided: {gap:+.3f} s by clocks that may differ by {clocks.error:g} s"
            )
            places = (one.last(), two.elected())
            nodes = (one.node, two.node)
            self.findings.add("undecided", Verdict.UNKNOWN, what, *places, election=election, nodes=nodes)

    def _overlap(self, election: str, one: Tenure, two: Tenure, gap: float, *, exact: bool) -> None:
        nodes = (one.node, two.node)
        began = two.term.began
        first, second = one.length(two), two.length(one)
        together = -gap if two.term.flags & UNFINISHED else min(-gap, second)
        # By the clock of the second: how much later than it the first began.
        if -gap - first >= second:
            what = (
                f"{two.node!r} led {election!r} with token {two.term.token} before {one.node!r} was elected with the"
                f" lower token {one.term.token}"
            )
            places = (two.elected(), one.elected())
            self.findings.add("token_order", Verdict.INVALID, what, *places, election=election, nodes=nodes)
            return
        what = (
            f"two leaders of {election!r} for {together:.3f} s, from {short(began)} to {short(began + together)}:"
            f" {one.node!r} with token {one.term.token} and {two.node!r} with token {two.term.token}"
        )
        if not exact:
            what += f" (unless their wall clocks differ by {-gap:.3f} s or more)"
        if one.cause in ("deleted", "superseded"):
            what += f"; the entry of {one.node!r} was taken from it ({one.cause}), and it learned of it too late"
        proof = (one.elected(), two.elected(), *filter(None, (one.demoted(),)))
        self.findings.add(
            "overlap",
            Verdict.INVALID,
            what,
            *proof,
            election=election,
            nodes=nodes,
            began=began,
            ended=began + together,
        )

    # -- what others saw ----------------------------------------------------------------------------------------

    def _views(self, election: str, tenures: Tenures) -> None:
        """
        Tokens that others saw lead: each belongs to a term that was given, or somebody's audit is missing.
        """
        seen = self._first_seen(election)
        for _, tenure in tenures:
            own = seen.get(tenure.term.token, {}).pop(tenure.node, None)
            if own is not None and not tenures.resets:
                self._seen(tenure, *own)
        missing: dict[str, list[tuple[Part, View]]] = {}
        for token, leaders in seen.items():
            for leader, found in leaders.items():
                missing.setdefault(leader, []).append(found)
            if len(leaders) > 1 and not tenures.resets:
                self._seen_twice(election, token, leaders)
        for node, views in missing.items():
            self._unknown(election, node, views)
        if not tenures.resets:
            for _, tenure in tenures:
                for leader, (part, view) in seen.get(tenure.term.token, {}).items():
                    self._not_its_own(election, tenure, leader, part, view)

    def _first_seen(self, election: str) -> dict[int, dict[str, tuple[Part, View]]]:
        """
        By token and leader: the view of whoever saw that first.
        """
        seen: dict[int, dict[str, tuple[Part, View]]] = {}
        for part in self.parts:
            for view in part.packed.views(election):
                leaders = seen.setdefault(view.token, {})
                leader = part.text(view.leader)
                if leader not in leaders or view.seen < leaders[leader][1].seen:
                    leaders[leader] = (part, view)
        return seen

    def _not_its_own(self, election: str, tenure: Tenure, leader: str, part: Part, view: View) -> None:
        seer, token = part.text(view.node), tenure.term.token
        what = f"{seer!r} saw {leader!r} lead {election!r} with token {token}, with which {tenure.node!r} was elected"
        places, nodes = (tenure.elected(), _place(part, view)), (tenure.node, leader)
        self.findings.add("reused_token", Verdict.INVALID, what + _WIPED, *places, election=election, nodes=nodes)

    def _seen_twice(self, election: str, token: int, leaders: dict[str, tuple[Part, View]]) -> None:
        what = f"{' and '.join(map(repr, leaders))} were seen to lead {election!r} with token {token}"
        places = [_place(*view) for view in leaders.values()]
        nodes = tuple(leaders)
        self.findings.add("reused_token", Verdict.INVALID, what + _WIPED, *places, election=election, nodes=nodes)

    def _seen(self, tenure: Tenure, part: Part, view: View) -> None:
        """
        Nobody sees a leader before it had begun to stand.
        """
        clock = part.text(view.clock)
        if clock == tenure.clock:
            return
        gap = view.seen - (tenure.term.began - tenure.term.campaign)
        nodes = (tenure.node, part.text(view.node))
        if self.clocks.before(tenure.clock, clock, gap, nodes):
            self.clocks.before(tenure.clock, clock, gap, nodes, (tenure.elected(), _place(part, view)))

    def _unknown(self, election: str, node: str, views: list[tuple[Part, View]]) -> None:
        """
        Somebody was seen to lead with tokens that no audit tells of.
        """
        views.sort(key=lambda seen: seen[1].token)
        stays = self._stays.get((election, node), [])
        about = {"election": election, "nodes": (node,)}
        if not stays:
            tokens = [view.token for _, view in views]
            shown = ", ".join(map(str, tokens[:5])) + (", …" if len(tokens) > 5 else "")
            what = f"{node!r} was seen to lead {election!r} with token {shown}, and no audit of it was given"
            what += " that tells of this election" if node in self._nodes else ""
            self.findings.add("missing_node", Verdict.UNKNOWN, what, _place(*views[0]), **about)
        for part, view in views if stays else ():
            before = [stay for stay in stays if not stay.follows(view, part.text(view.same_boot), self.clocks.error)]
            if not all(stay.precedes(view, part.text(view.same_boot), self.clocks.error) for stay in before):
                continue  # a token of which a node's audit says nothing, though it goes on, was granted and never taken
            what = f"{node!r} was seen to lead {election!r} with token {view.token} when its audit had"
            if before:
                last = max(before, key=lambda stay: stay.ended).last
                what += (
                    " ended already: its end is missing, or that of another process of it, or the process died before"
                    " it could write it, or it was copied before"
                )
                self.findings.add("truncated", Verdict.UNKNOWN, what, last, _place(part, view), **about)
            else:
                what += " not begun: that of another process of it is missing"
                self.findings.add("missing_node", Verdict.UNKNOWN, what, _place(part, view), **about)
            return


def _place(part: Part, view: View) -> Place:
    text = f"{short(view.seen)} {part.text(view.node)} sees {part.text(view.leader)} lead with token {view.token}"
    return Place(part.packed.files[view.file], view.line, text)


def _sorted(one: Place, two: Place, swapped: bool) -> tuple[Place, Place]:
    return (two, one) if swapped else (one, two)
