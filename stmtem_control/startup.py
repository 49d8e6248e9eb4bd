"""Opens a station and gives its names: imported, or run, in IPython or Jupyter.

In IPython, or a Jupyter notebook::

    %run -m stmtem_control.startup my_lab.toml
    from stmtem_control.startup import *

The second takes the station from the environment variable ``STMTEM_STATION`` (default: sim) and the
data folder from ``STMTEM_DATA`` (default: the station's).  Run or imported again, in the same
process, it gives the names of the session that is open.  The session closes, and makes the station
safe, when Python ends, or with ``session.close()``.
"""

from stmtem_control.shared_prompt import give_names

__all__ = give_names(globals(), run=__name__ == "__main__")  # pyright: ignore[reportUnsupportedDunderAll]

del give_names
