"""
Whether a model and the real store answer alike to the same operations, drawn from a seed.

A script is a coroutine that knows a store by its contract only; the model plays it in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from leadership.errors import LeadershipError
from leadership.store import Entry, Fact, Holder, Outcome, Session, Store, WatchEvent
from seeds.stores import Model, ModelSimulation

ELECTION: Final = "job"
INTRUDER: Final = "intruder"
ROLES: Final = ("ann", "bob", "cid")
STEPS: Final = 14
POLL: Final = 0.05
LAG: Final = 3.0
"""Seconds that a watch may take to tell what a read shows, on a busy machine."""

Operation = tuple[str, str]
Do = Callable[[], Awaitable[None]]


def operations(seed: int, *, overwrites: bool) -> list[Operation]:
    """
    What a seed means: what is done, and by whom.
    """
    draw = random.Random(seed)
    kinds = ["acquire"] * 5 + ["again", "again", "release", "release", "release", "end", "delete"]
    if overwrites:
        kinds.append("overwrite")
    found = [(draw.choice(kinds), draw.choice(ROLES)) for _ in range(STEPS)]
    found.insert(draw.randint(STEPS // 2, STEPS), ("lapse", draw.choice(ROLES)))
    return found


def interval(model: Model, ttl: float) -> tuple[float, float]:
    """
    Seconds from a renewal to the end of a session without another one: at least, and at most.
    """
    match model.store:
        case "etcd":
            return ttl, ttl + 1.0
        case "consul":
            return ttl, 2 * ttl + model.lock_delay
        case "zookeeper":
            return ttl - model.tick / 2, ttl + 1.5 * model.tick
        case _:
            return ttl, ttl + 0.1


@dataclass
class Answers:
    """
    What a store answered.
    """

    told: list[str] = field(default_factory=list[str])
    lapses: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])
    """What no store may answer, whatever another does."""


class Script:
    """
    One run on one store. Each role is a process of its own, with a store and a session.
    """

    def __init__(self, stores: dict[str, Store], ttl: float, delete: Do, overwrite: Do) -> None:
        self.stores = stores
        self.ttl = ttl
        self.answers = Answers()
        self._operator = {"delete": delete, "overwrite": overwrite}
        self._sessions: dict[str, Session] = {}
        self._entries: dict[str, Entry] = {}
        self._number = 0
        self._highest = 0
        self._tokens: dict[str, int] = {}
        self._facts: list[WatchEvent] = []

    async def run(self, script: list[Operation]) -> Answers:
        """
        Do it all.
        """
        watch = self.stores["ann"].watch(ELECTION, self._facts.append)
        for role in ROLES:
            await self._open(role)
        for kind, role in script:
            await self._renew(ROLES)
            answer = await self._do(kind, role)
            holder = await self._holder()
            self.answers.told.append(f"{kind} {role}: {answer}; then {holder or 'nobody'} leads")
            await self._seen(holder)
        watch.close()
        return self.answers

    async def _open(self, role: str) -> None:
        self._sessions[role] = await self.stores[role].open_session(self.ttl, lambda _event: None)
        self._entries.pop(role, None)

    async def _renew(self, roles: tuple[str, ...]) -> None:
        for role in roles:
            if (await self._sessions[role].renew()).outcome is not Outcome.DONE:
                self.answers.wrong.append(f"the session of {role} was not renewed")

    async def _read(self) -> Holder | None:
        return (await self.stores["bob"].read([ELECTION]))[ELECTION]

    async def _holder(self) -> str | None:
        holder = await self._read()
        return None if holder is None else holder.node

    async def _seen(self, holder: str | None) -> None:
        """
        The watch tells what the read showed.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + LAG
        while self._watched() != holder:
            if loop.time() > until:
                self.answers.wrong.append(f"the watch shows {self._watched()}, and a read {holder}")
                return
            await asyncio.sleep(0.01)

    def _watched(self) -> str | None:
        holder: Holder | None = None
        for event in self._facts:
            if event.fact is Fact.LEADER_OBSERVED:
                holder = event.holder
            elif event.fact is Fact.VACANT_OBSERVED or (
                event.fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED)
                and holder is not None
                and event.token == holder.token
            ):
                holder = None
        return None if holder is None else holder.node

    async def _do(self, kind: str, role: str) -> str:
        match kind:
            case "acquire":
                self._number += 1
                key = f"{self._number:032x}"
                self._entries[role] = Entry(ELECTION, role, key, number=self._number)
                return await self._acquire(role)
            case "again":
                return await self._acquire(role) if role in self._entries else "nothing"
            case "release":
                if role not in self._entries:
                    return "nothing"
                return (await self._sessions[role].release(self._entries.pop(role))).outcome.value
            case "end":
                reply = await self._sessions[role].end()
                await self._open(role)
                return reply.outcome.value
            case "lapse":
                return await self._lapse(role)
            case _:
                await self._operator[kind]()
                return "done"

    async def _acquire(self, role: str) -> str:
        entry = self._entries[role]
        reply = await self._sessions[role].acquire(entry)
        if reply.outcome is Outcome.DONE:
            token = reply.token or 0
            before = self._tokens.setdefault(entry.key, token)
            if before != token:
                return "done, with another token"
            if token <= self._highest and self._tokens[entry.key] != self._highest:
                self.answers.wrong.append(f"token {token} of {role} is not above {self._highest}")
            self._highest = max(self._highest, token)
        return reply.outcome.value

    async def _lapse(self, role: str) -> str:
        """
        Whoever leads renews no more; another waits for it.
        """
        holder = await self._read()
        leads = next((one for one in ROLES if holder is not None and self._sessions[one].id == holder.session), None)
        if leads is None:
            return "nothing"
        heir = role if role != leads else ROLES[(ROLES.index(role) + 1) % len(ROLES)]
        others = tuple(one for one in ROLES if one != leads)
        loop = asyncio.get_running_loop()
        for one in others:
            if one != heir and one in self._entries:  # the heir is the next
                await self._sessions[one].release(self._entries.pop(one))
        sent = loop.time()
        await self._renew((leads,))
        await self._do("acquire", heir)
        renewed = loop.time()
        while await self._acquire(heir) != Outcome.DONE.value:
            await asyncio.sleep(POLL)
            if loop.time() - renewed > self.ttl / 4:
                renewed = loop.time()
                await self._renew(others)
            if loop.time() - sent > 4 * self.ttl:
                return "for ever"
        self.answers.lapses.append(loop.time() - sent)
        with contextlib.suppress(LeadershipError):
            await self._sessions[leads].end()
        await self._open(leads)
        return f"{leads} is followed by {heir}"


def on_model(model: Model, ttl: float, script: list[Operation], seed: int) -> Answers:
    """
    Play a script on a model, in virtual time.
    """
    with ModelSimulation(seed, model) as sim:

        async def delete() -> None:
            sim.server.vacate(ELECTION, Fact.KEY_DELETED)

        async def overwrite() -> None:
            if sim.server.read(ELECTION) is not None:
                sim.server.overwrite(ELECTION, INTRUDER)

        stores: dict[str, Store] = {role: sim.view(role) for role in ROLES}
        return sim.run(Script(stores, ttl, delete, overwrite).run(script))


def differences(model: Model, ttl: float, real: Answers, modelled: Answers, slack: float) -> list[str]:
    """
    What the two answered differently, and what was out of the stated interval.
    """
    found = [
        f"real: {one} | model: {other}" for one, other in zip(real.told, modelled.told, strict=True) if one != other
    ]
    found += [f"real: {wrong}" for wrong in real.wrong] + [f"model: {wrong}" for wrong in modelled.wrong]
    least, most = interval(model, ttl)
    for name, answers, late in (("real", real, slack), ("model", modelled, 0.2)):
        found += [
            f"{name}: a session ended after {lapse:.3f} s, and not within {least:.3f} to {most:.3f} s"
            for lapse in answers.lapses
            if not least <= lapse <= most + late
        ]
    return found
