"""
All faults that are injected into elections of the library.
"""

from __future__ import annotations

from typing import Final

from court.fault import Fault
from court.faults_of_access import (
    CloseChroot,
    CutWithDelay,
    DeadHosts,
    EndTokens,
    KillWithDelay,
    ResignWithDelay,
    Revoke,
    RevokeRole,
)
from court.faults_of_bad_networks import BAD_NETWORKS
from court.faults_of_candidates import (
    Break,
    Cut,
    CutReplies,
    CutRequests,
    Hang,
    Kill,
    Pause,
    Resign,
    TimedPause,
)
from court.faults_of_clocks import HalfRate, Rate, SlowMachine, StoreWallSteps, Suspend, WallSteps
from court.faults_of_crowds import MassKill
from court.faults_of_data import Compact, DiskFull, NoSpace, Restore, RestoreSnapshot, Wipe
from court.faults_of_followers import Miss, Sleep
from court.faults_of_networks import PACKET_FAULTS
from court.faults_of_processes import (
    BlockedLoop,
    CallbacksBlock,
    CallbacksRaise,
    Fork,
    Hog,
    NoDescriptors,
    OrphanedFork,
    Signals,
)
from court.faults_of_stores import (
    Edit,
    FreezeStoreLeader,
    KillStoreLeader,
    Overwrite,
    RollingRestart,
    StoreHang,
)
from court.nemesis import Nemesis

FAULTS: Final[tuple[Fault, ...]] = (
    Kill(),
    Resign(),
    Pause(),
    TimedPause(),
    Hang(),
    Cut(),
    CutRequests(),
    CutReplies(),
    Break(),
    Miss(),
    Sleep(),
    Edit(),
    Overwrite(),
    StoreHang(),
    KillStoreLeader(),
    FreezeStoreLeader(),
    RollingRestart(),
    Wipe(),
    Restore(),
    RestoreSnapshot(),
    Compact(),
    NoSpace(),
    DiskFull(),
    DeadHosts(),
    EndTokens(),
    Revoke(),
    RevokeRole(),
    CloseChroot(),
    KillWithDelay(),
    CutWithDelay(),
    ResignWithDelay(),
    *PACKET_FAULTS,
    *BAD_NETWORKS,
    WallSteps(),
    StoreWallSteps(),
    Rate(),
    HalfRate(),
    SlowMachine(),
    Suspend(),
    Fork(),
    OrphanedFork(),
    Signals(),
    Hog(),
    BlockedLoop(),
    NoDescriptors(),
    CallbacksRaise(),
    CallbacksBlock(),
    MassKill(),
    Nemesis(),
)
