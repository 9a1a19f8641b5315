"""
The production engine in virtual time, on models of four stores, under faults drawn from a seed: `python -m seeds`.
"""
