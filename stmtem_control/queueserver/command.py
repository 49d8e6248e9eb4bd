"""``stmtem queue``: start an RE Manager for a station, or write the list of its plans."""

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from stmtem_control.bench_process import read_addresses
from stmtem_control.config import Station, load_station
from stmtem_control.errors import ConfigError, TransportError
from stmtem_control.named_station import ATTACH, DATA, STATION
from stmtem_control.run_folder import check_writable

MODULE = "stmtem_control.queueserver.startup"
PLANS = "existing_plans_and_devices.yaml"
PERMISSIONS = "user_group_permissions.yaml"
NEEDED = ("bluesky_queueserver", "redis")
INSTALL = "pip install 'stmtem-control[queue]'"
REACH_S = 2.0  # wall seconds for redis to answer


def packaged(name: str) -> Path:
    """Return the path of a file that comes with this package."""
    return Path(str(files("stmtem_control.queueserver").joinpath(name)))


def run_queue(
    *,
    station: str = "sim",
    out: str | None = None,
    attach: str | None = None,
    redis: str = "localhost:6379",
    control: str = "tcp://127.0.0.1:60615",
    info: str = "tcp://127.0.0.1:60625",
    permissions: str | None = None,
    write_list: str | None = None,
    show: bool = False,
) -> int:
    """Become an RE Manager whose worker opens a station, until Ctrl-C.

    Parameters
    ----------
    station : str
        Name or file.
    out : str, optional
        Where run folders go, and the manager's list of plans; by default what the station says.
    attach : str, optional
        File with the addresses of a simulated bench that runs already.
    redis : str
        Host and port of the redis server that keeps queue and history.
    control, info : str
        Where the manager takes requests, and publishes what it prints.
    permissions : str, optional
        Who may do what; by default the file that comes with the package.
    write_list : str, optional
        Only write the list of plans and devices to this file.
    show : bool
        Only print the command and its environment.

    Returns
    -------
    int
        Exit code; a manager does not return.

    Raises
    ------
    ConfigError
        The extra is not installed, or a file cannot be used.
    TransportError
        No redis server answers.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not installed; {INSTALL}")
    # As a path that holds wherever the worker looks from.
    described = load_station(station, data=out)
    place = str(Path(station).resolve()) if Path(station).is_file() else station
    environment = {STATION: place}
    if out is not None:
        environment[DATA] = str(Path(out).resolve())
    if attach is not None:
        read_addresses(Path(attach))
        environment[ATTACH] = str(Path(attach).resolve())
    if write_list is not None:
        return _write_list(Path(write_list).resolve(), environment)
    allowed = packaged(PERMISSIONS) if permissions is None else Path(permissions).resolve()
    if not allowed.is_file():
        raise ConfigError(f"permissions {allowed}: no such file; {packaged(PERMISSIONS)} is one")
    plans = _list_of(described)
    command = [
        "start-re-manager",
        f"--startup-module={MODULE}",
        f"--existing-plans-devices={plans}",
        f"--user-group-permissions={allowed}",
        f"--redis-addr={redis}",
        # Each station has a queue and a history of its own.
        f"--redis-name-prefix=stmtem_{re.sub(r'[^A-Za-z0-9]+', '_', described.station.name)}",
        f"--zmq-control-addr={control}",
        f"--zmq-info-addr={info}",
        "--zmq-publish-console=ON",
    ]
    if show:
        words = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
        print(" ".join([*words, shlex.join(command)]))
        return 0
    _reach(redis)
    check_writable(plans.parent)
    _write_list(plans, environment)
    program = shutil.which(command[0], path=os.pathsep.join((_bin(), os.environ.get("PATH", ""))))
    if program is None:
        raise ConfigError(f"{command[0]} is not installed; {INSTALL}")
    print(f"station  {described.station.name}; runs go to {Path(described.station.data).resolve()}")
    print(f"clients  {control}; console on {info}; until Ctrl-C", flush=True)
    os.execve(program, command, {**os.environ, **environment})


def _bin() -> str:
    return str(Path(sys.executable).parent)


def _list_of(station: Station) -> Path:
    """Return where the manager keeps the list of a station, which it writes anew."""
    return Path(station.station.data).resolve() / ".queue" / PLANS


def _reach(redis: str) -> None:
    """Raise TransportError if no redis server answers."""
    host, _, port = redis.removeprefix("redis://").split("/")[0].rpartition(":")
    if not port.isdigit():
        host, port = port, "6379"
    try:
        with socket.create_connection((host or "localhost", int(port)), REACH_S) as line:
            line.settimeout(REACH_S)
            line.sendall(b"PING\r\n")
            answer = line.recv(64)
    except OSError as error:
        raise TransportError(
            f"redis at {redis}: {error.strerror or error}; start one (redis-server --port "
            f"{port} --bind 127.0.0.1), or name another with --redis"
        ) from None
    if not answer.startswith((b"+PONG", b"-NOAUTH")):
        raise TransportError(
            f"redis at {redis}: something else answers there; name it with --redis"
        )


def _write_list(path: Path, environment: Mapping[str, str]) -> int:
    """Write the list of plans and devices; it is made in a process of its own.

    Raises
    ------
    ConfigError
        It cannot be made.
    """
    import logging

    from bluesky_queueserver.manager.gen_lists import (  # pyright: ignore[reportMissingImports]
        gen_list_of_plans_and_devices,
    )

    logging.getLogger("bluesky_queueserver").setLevel(logging.ERROR)
    os.environ.update(environment)
    try:
        gen_list_of_plans_and_devices(
            startup_module_name=MODULE, file_dir=str(path.parent), file_name=path.name,
            overwrite=True,
        )  # fmt: skip
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise ConfigError(f"list of plans {path}: {lines[-1] if lines else error}") from None
    return 0
