"""Start-up module of an RE Manager: ``--startup-module stmtem_control.queueserver.startup``.

It does its work when it is imported; nobody but a queue server should import it.  The station is
named by the environment variable STMTEM_STATION.
"""

from .profile import open_profile

globals().update(open_profile())
