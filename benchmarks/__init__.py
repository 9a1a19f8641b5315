"""
Benchmarks: `make bench`, or `python benchmarks/run.py`. Each part is a process of its own, and tells its rows.
`make bench-peers` measures beside other programs, on real servers.
"""
