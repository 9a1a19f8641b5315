"""
The parts of a report of audits: what its page is told, the machine that it draws, and the page itself.

Nothing in it asks anything of a network: one file, its style, code and data within it.
"""
