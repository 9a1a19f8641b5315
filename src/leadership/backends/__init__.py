"""
The stores: one file a system. Each knows the contract and its own client library, and nothing else.
"""
