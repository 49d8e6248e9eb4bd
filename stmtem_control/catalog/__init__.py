"""Runs in a Tiled catalog: registered from what is on disk, and read through any Tiled client.

Needs the extra ``catalog``.  Nothing here is used by a session or by a plan: see the decision
record on late registration.
"""
