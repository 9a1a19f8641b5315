"""
All mutants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mutants.mutant import Mutant
from mutants.of_campaigns import CAMPAIGNS, TERMS
from mutants.of_consul import CONSUL
from mutants.of_etcd import ETCD
from mutants.of_local_stores import MEMORY, SQLITE
from mutants.of_the_clock import CLOCK
from mutants.of_the_engine import BACKOFF, ENGINE
from mutants.of_views import VIEWS
from mutants.of_witnesses import AUDITS, METRICS
from mutants.of_zookeeper import ZOOKEEPER

GROUPS: Final[Mapping[str, tuple[Mutant, ...]]] = {
    "Time and belief": CLOCK,
    "Campaigns and sessions": CAMPAIGNS,
    "Terms and clean-ups": TERMS,
    "Back-off": BACKOFF,
    "The engine": ENGINE,
    "Followers": VIEWS,
    "Embedded stores": (*MEMORY, *SQLITE),
    "etcd": ETCD,
    "Consul": CONSUL,
    "ZooKeeper": ZOOKEEPER,
    "Audits and metrics": (*AUDITS, *METRICS),
}
MUTANTS: Final = tuple(mutant for mutants in GROUPS.values() for mutant in mutants)
