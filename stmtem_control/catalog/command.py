"""``stmtem catalog``: serve the runs of a data folder to Tiled clients, and register new ones."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stmtem_control.config import load_station
from stmtem_control.errors import ConfigError, RecordingError

NEEDED = ("tiled", "bluesky_tiled_plugins", "fastapi", "duckdb")
INSTALL = "pip install 'stmtem-control[catalog]' (about 1.2 GB)"


def run_catalog(
    *,
    folder: str | None = None,
    station: str = "sim",
    port: int = 8000,
    once: bool = False,
    server: str | None = None,
    until_eof: bool = False,
) -> int:
    """Serve and register until Ctrl-C, or register once what is there.

    Parameters
    ----------
    folder : str, optional
        Data folder; by default the station's.
    station : str
        Name or file of the station.
    port : int
        Of the server on this machine, 0 for any.
    once : bool
        Whether to end when all runs are registered.
    server : str, optional
        Address of a Tiled server that runs already; its key is in ``TILED_API_KEY``.
    until_eof : bool
        Whether to end when standard input does, after a last look at the runs.

    Returns
    -------
    int
        Exit code: 0 done, or ended by Ctrl-C; 1 some runs could not be registered (with `once`).

    Raises
    ------
    ConfigError
        The extra is not installed, or the port is taken.
    RecordingError
        The data folder, or the catalog in it, cannot be used.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not installed; {INSTALL}")
    root = Path(folder if folder is not None else load_station(station).station.data)
    if not root.is_dir():
        raise RecordingError(f"data folder {root}: not there; give the one that holds the runs")
    # A server that is away is tried again here, with all other runs going on; not in the client.
    os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
    os.environ.setdefault("TILED_RETRY_TIMEOUT", "10")
    with contextlib.ExitStack() as opened:
        try:
            connect = _elsewhere(server) if server else _embedded(root, port, opened)
            return _register(root, connect, opened, once=once, until_eof=until_eof)
        except KeyboardInterrupt:
            return 0  # the usual end


def _embedded(root: Path, port: int, opened: contextlib.ExitStack) -> Callable[[], Any]:
    from .server import CatalogServer

    _say(f"catalog  of {root.resolve()} is being opened ...")
    server = opened.enter_context(CatalogServer(root, port))
    _say(f"serving  {server.uri} on this machine only, until Ctrl-C")
    _say("connect  from tiled.client import from_uri")
    _say(f'         runs = from_uri("{server.uri}", api_key=open("{server.key_file}").read())')
    return server.client


def _elsewhere(address: str) -> Callable[[], Any]:
    from tiled.client import from_uri  # pyright: ignore[reportMissingImports]

    _say(f"server   {address}")
    options: dict[str, Any] = {"cache": None, "show_progress": False}
    return lambda: from_uri(address, **options)


def _register(
    root: Path,
    connect: Callable[[], Any],
    opened: contextlib.ExitStack,
    *,
    once: bool,
    until_eof: bool,
) -> int:
    """Register again and again, and say in a line what has changed."""
    from .register import Registrar

    registrar = Registrar(root, connect)
    opened.callback(registrar.disconnect)
    told = ""
    ended = threading.Event()
    if until_eof:
        threading.Thread(target=_until_eof, args=(ended,), name="end of input", daemon=True).start()
    while True:
        last = ended.is_set()
        state = registrar.step()
        if str(state) != told:
            told = str(state)
            _say(f"runs     {told}")
            for problem in state.problems:
                print(f"stmtem catalog: {problem}", file=sys.stderr, flush=True)
        if once:
            return 1 if state.problems or state.away else 0
        if last:
            return 0
        ended.wait(state.wait_s)


def _until_eof(ended: threading.Event) -> None:
    """Wait until whoever started this command is gone."""
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(1):
            pass
    ended.set()


def _say(line: str) -> None:
    print(line, flush=True)
