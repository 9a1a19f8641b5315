"""
For users' tests: virtual time, a store that fails on demand, a term out of nothing, the conformance suite for stores.

pytest is not imported.
"""

from leadership.testing._simulation import Simulation, make_term

__all__ = ["Simulation", "make_term"]
