"""A station in a Bluesky queue server: start-up profile, permissions, and the list of plans.

Needs the extra ``queue``; see ``stmtem queue --help``.
"""
