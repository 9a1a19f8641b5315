"""
What drives the machines: the engine's thread, timers, store calls, callback lanes. No decision lives here.
"""
