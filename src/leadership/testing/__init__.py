"""
For users' tests: virtual time, a store that fails on demand, a term out of nothing, the conformance suite for stores.

pytest is not imported.
"""

from leadership.testing._simulation import Simulation, make_term
from leadership.testing.conformance import StoreConformance

__all__ = ["Simulation", "StoreConformance", "make_term"]
