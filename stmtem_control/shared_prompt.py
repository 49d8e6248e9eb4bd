"""The one session that all prompts of a process share.

A station is opened once in a process: the second ``%run -m stmtem_control.startup`` must find the
session that the first one opened, and not fail at the station's lock.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from .errors import ConfigError, StmTemError
from .named_station import DATA, STATION, named_station
from .prompt import Prompt

# Process-wide on purpose: %run executes the startup module anew each time, and keeps nothing.
_shared: list[Prompt] = []


def shared_prompt(
    station: str | None = None,
    out: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
) -> Prompt:
    """Return the open session of this process with its names; open it if there is none.

    Parameters
    ----------
    station : str, optional
        A station's name or file; by default the environment variable ``STMTEM_STATION``, else
        "sim".
    out : str, optional
        Where run folders go; by default ``STMTEM_DATA``, else what the station file says.
    environment : mapping
        In which these are looked up.

    Raises
    ------
    ConfigError
        Another station is open in this process, or this one with another data folder.
    StmTemError
        The station could not be opened.
    """
    asked = named_station(environment, station, out)
    _shared[:] = [prompt for prompt in _shared if not prompt.session.closed]
    if _shared:
        there = _shared[0].session.station
        wanted = station is not None or out is not None
        if wanted and asked != there:
            raise ConfigError(
                f"station {there.station.name!r} (data in {there.station.data}) is open in this "
                "process; session.close() first, or take another process"
            )
        return _shared[0]
    _shared.append(Prompt(asked))
    return _shared[0]


def give_names(where: dict[str, Any], *, run: bool) -> list[str]:
    """Put the names of :func:`shared_prompt` into a namespace; an IPython shell gets its magics.

    Parameters
    ----------
    where : dict
        The namespace.
    run : bool
        Whether the module is run and not imported: then the command line may name station and data.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    StmTemError
        The station could not be opened.
    SystemExit
        The same, with one line for the person who runs it.
    """
    from IPython import get_ipython

    station = out = None
    if run:
        parser = argparse.ArgumentParser(prog="stmtem_control.startup")
        # Without dashes: %run takes those for its own.
        parser.add_argument("station", nargs="?", help=f"name or file (default: ${STATION}, sim)")
        parser.add_argument("out", nargs="?", help=f"where run folders go (default: ${DATA})")
        options = parser.parse_args()
        station, out = options.station, options.out
    shell = get_ipython()
    try:
        prompt = shared_prompt(station, out)
    except StmTemError as error:
        if not run:
            raise
        text = f"stmtem_control.startup: {error}"
        if shell is None:
            raise SystemExit(text) from None
        print(text, file=sys.stderr)
        raise SystemExit from None  # which %run takes for a quiet end
    if shell is not None:
        prompt.attach(shell)
    where.update(prompt.names)
    return list(prompt.names)
