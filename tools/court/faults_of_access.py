"""
Faults of the way in: addresses at which nobody answers, credentials that end, a lock that Consul keeps back.
"""

from __future__ import annotations

import json
import time
from typing import Any

from servers import Consul, Etcd
from servers._net import Refused, request
from servers.etcd import coded

from court.cases import LOCK_DELAY, owner
from court.clock import now
from court.fault import Fault, Injection
from court.faults_of_candidates import Break, Cut, Kill, Resign


class DeadHosts(Break):
    """
    The connections of a leader are closed, and its server answers nothing new for most of a TTL, so that it asks those
    hosts that its URL names first: a port that refuses, a host that is silent, a name of which the first address is
    dead.
    """

    name = "F17 dead hosts first"
    cluster = False
    variant = "addresses"

    def inject(self, injection: Injection) -> None:
        """
        Cut and close.
        """
        dead = injection.stage.dead
        injection.facts["held"] = 0 if dead is None else dead.silent.held
        for proxy in injection.leader.proxies:
            proxy.cut()
        super().inject(injection)
        time.sleep(0.75 * injection.stage.case.ttl)
        for proxy in injection.leader.proxies:
            proxy.reset()
            proxy.heal()

    def heal(self, injection: Injection) -> None:
        """
        See that it has asked the silent one.
        """
        dead = injection.stage.dead
        asked = 0 if dead is None else dead.silent.held - injection.facts["held"]
        injection.proof = f"{injection.proof}, the silent host asked {asked} times" if asked else ""


class EndTokens(Fault):
    """
    etcd accepts the tokens no more for which the candidates have exchanged their passwords, which are as before: at
    once, and then again and again, because they last for a second in which they are not used.
    """

    name = "F17 tokens end"
    stores = frozenset({"etcd"})
    variant = "access"
    moves = "may"
    since = "healed"

    def inject(self, injection: Injection) -> None:
        """
        Set each password to what it is.
        """
        server: Any = injection.stage.answering()
        old = exchanged(server, injection.leader.node)
        injection.at = now()
        for actor in injection.stage.actors:
            server.set_password(actor.node, f"of-{actor.node}")
        injection.proof = refused(server, old)
        injection.facts["token"] = exchanged(server, injection.leader.node)

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs, to see whether it leads on.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        See that a token has ended by itself.
        """
        ended = refused(injection.stage.answering(), injection.facts["token"])
        injection.proof = f"changed: {injection.proof}; not used: {ended}" if ended and injection.proof else ""


def exchanged(server: Etcd, node: str) -> str:
    """
    A token of a node's user.
    """
    return str(server.call("auth/authenticate", name=node, password=f"of-{node}")["token"])


def refused(server: Any, token: str) -> str:
    """
    How etcd refuses a token; nothing where it accepts it.
    """
    key = json.dumps({"key": coded("court/any")}).encode()
    try:
        request(server.address, server.plain_port, "POST", "/v3/kv/range", key, {"Authorization": token})
    except Refused as error:
        return str(error)
    return ""


class Revoke(Fault):
    """
    The leader's user is removed, or its token revoked: it gives up, and another leads when its lease has ended. The
    user is made again, and the candidate told to start; with a new token another process is started.
    """

    name = "F17 credentials revoked"
    waits = True
    shuts_out = True
    stores = frozenset({"etcd", "consul"})
    bound = "refused"
    variant = "access"

    def inject(self, injection: Injection) -> None:
        """
        End them.
        """
        server: Any = injection.stage.answering()
        node = injection.leader.node
        injection.at = now()
        if isinstance(server, Etcd):
            token = exchanged(server, node)
            server.remove_user(node)
            injection.proof = refused(server, token)
            return
        token = injection.leader.url.partition("token=")[2]
        server.revoke_token(token)
        try:
            server.call("GET", "acl/token/self", token=token)
        except Refused as error:
            injection.proof = str(error)

    def heal(self, injection: Injection) -> None:
        """
        Let it in again.
        """
        stage, leader = injection.stage, injection.leader
        server: Any = stage.answering()
        if isinstance(server, Consul):
            leader.kill()
            stage.replace(leader)
        else:
            server.admin("auth/user/add", name=leader.node, password=f"of-{leader.node}")
            server.admin("auth/user/grant", user=leader.node, role=leader.node)
            leader.ask("start")


class RevokeRole(Fault):
    """
    The role of the leader's user is revoked: etcd does not ask who renews a lease, but the leader may not read the
    truth any more, and gives up. The role is granted again, and the candidate told to start.
    """

    name = "F17 role revoked"
    waits = True
    shuts_out = True
    stores = frozenset({"etcd"})
    bound = "refused"
    variant = "access"

    def inject(self, injection: Injection) -> None:
        """
        Revoke it.
        """
        server: Any = injection.stage.answering()
        node = injection.leader.node
        injection.at = now()
        server.admin("auth/user/revoke", name=node, role=node)
        injection.proof = refused(server, exchanged(server, node))

    def heal(self, injection: Injection) -> None:
        """
        Grant it.
        """
        server: Any = injection.stage.answering()
        server.admin("auth/user/grant", user=injection.leader.node, role=injection.leader.node)
        injection.leader.ask("start")


class CloseChroot(Fault):
    """
    Nobody may read the chroot on ZooKeeper, so that all candidates give up; it is opened again, and they are started.
    """

    name = "F17 chroot closed"
    shuts_out = True
    stores = frozenset({"zookeeper"})
    variant = "access"
    since = "healed"
    bound = "heal"

    def inject(self, injection: Injection) -> None:
        """
        Close it.
        """
        from kazoo.client import KazooClient
        from kazoo.exceptions import NoAuthError
        from kazoo.security import make_digest_acl

        server: Any = injection.stage.answering()
        injection.at = now()
        with server.client() as client:
            client.set_acls("/court", [make_digest_acl("nobody", "nothing", all=True)])
        asking = KazooClient(hosts=server.host, auth_data=[("digest", "court:of-the-court")])
        asking.start(timeout=5.0)
        try:
            asking.get_children("/court")
        except NoAuthError as error:
            injection.proof = f"the user of the court is refused: {error!r}"
        finally:
            asking.stop()
            asking.close()

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Open it, and start them.
        """
        server: Any = injection.stage.answering()
        with server.client() as client:
            client.set_acls("/court", [owner()])
        injection.healed = now()
        for actor in injection.stage.actors:
            actor.ask("start")


class _Delayed(Fault):
    """
    With a lock-delay: what Consul keeps back after the end of a session, it gives to nobody sooner.
    """

    def heal(self, injection: Injection) -> None:
        """
        See that it was kept back.
        """
        super().heal(injection)
        leader = injection.stage.leader(other_than=injection.leader)
        since = 0.0 if leader is None else leader.believes_since - injection.at
        held = f"nobody led for {since:.1f} s"
        injection.proof = f"{injection.proof}, {held}" if injection.proof and since >= LOCK_DELAY else ""


class KillWithDelay(_Delayed, Kill):
    """
    The leader's process is killed, and its lock is kept back.
    """

    name = "F1 kill -9, lock-delay"
    stores = frozenset({"consul"})
    cluster = False
    variant = "lock-delay"


class CutWithDelay(_Delayed, Cut):
    """
    The leader is cut off, and its lock is kept back.
    """

    name = "F4 cut both ways, lock-delay"
    stores = frozenset({"consul"})
    cluster = False
    variant = "lock-delay"


class ResignWithDelay(Resign):
    """
    The leader is asked to resign: a release is followed by no lock-delay.
    """

    name = "F2 resign, lock-delay"
    stores = frozenset({"consul"})
    variant = "lock-delay"
