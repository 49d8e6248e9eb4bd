"""The station that the environment names, for what is started by another program."""

from collections.abc import Mapping

from .config import Station, load_station

#: Environment variables: name or file of a station, its data folder, the addresses of a bench.
STATION, DATA, ATTACH = "STMTEM_STATION", "STMTEM_DATA", "STMTEM_ATTACH"


def named_station(
    environment: Mapping[str, str], station: str | None = None, data: str | None = None
) -> Station:
    """Return the station that is asked for, else the one that the environment names, else "sim".

    Parameters
    ----------
    environment : mapping
        ``STMTEM_STATION`` and ``STMTEM_DATA`` are looked up in it.
    station, data : str, optional
        Name or file, and data folder, in the place of these.

    Raises
    ------
    ConfigError
        There is no such station, or its file cannot be used.
    """
    return load_station(
        station or environment.get(STATION) or "sim", data=data or environment.get(DATA) or None
    )
