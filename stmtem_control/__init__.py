"""Instrument control and acquisition for in-situ STM-TEM.

The packages are :mod:`stmtem_control.devices`, :mod:`stmtem_control.plans` and
:mod:`stmtem_control.simulators`; :class:`stmtem_control.session.Session` opens a station.
"""

from importlib.util import find_spec

if find_spec("stmtem_control.devices") is None:
    raise ImportError(
        "stmtem_control was imported from a source checkout that is not installed in place: "
        "run 'pip install -e .' there, or start Python in another folder."
    )
del find_spec

__version__ = "0.1.0"
