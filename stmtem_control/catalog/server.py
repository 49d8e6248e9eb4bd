"""A Tiled server for one data folder: an SQLite catalog and a DuckDB file for the tables.

All that it keeps can be made again from the runs on disk.
"""

# pyright: reportMissingImports=false
# Tiled comes with the extra "catalog"; nothing imports this module without it.

import contextlib
import errno
import logging
import logging.handlers
import os
import secrets
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from tiled.catalog import from_uri as open_catalog
from tiled.client import from_uri as open_client
from tiled.config import Authentication
from tiled.server.app import build_app

from stmtem_control.errors import ConfigError, RecordingError
from stmtem_control.recording.line_file import LineFile

from .adapter import FramesAdapter
from .consolidator import MIMETYPE

HOST = "127.0.0.1"
FOLDER = ".catalog"  # in the data folder
API_KEY = "api_key"
LOGGERS = ("uvicorn", "tiled", "tiled.server.app")  # the last writes to stderr by itself
LOG_BYTES = 1_000_000
START_S = 60.0  # making a new catalog takes some seconds
END_S = 5


class _Listening(uvicorn.Server):  # type: ignore[misc,unused-ignore]
    """A server that says when it takes requests, or that it will not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.settled.set()

    def run_until_told(self, listening: socket.socket) -> None:
        try:
            self.run(sockets=[listening])
        except (Exception, SystemExit):  # uvicorn leaves Python if it cannot start
            logging.getLogger("uvicorn").exception("the server has ended")
        finally:
            self.settled.set()


class CatalogServer:
    """Serves the runs of a data folder to Tiled clients on this machine; one in a process.

    Tiled keeps one key for the whole process: a second server would change that of the first.

    Parameters
    ----------
    root : Path
        The data folder; only what is in it can be read through the server.  The catalog is kept
        in its folder ``.catalog``.
    port : int
        0 for any that is free.

    Attributes
    ----------
    uri : str
        For ``tiled.client.from_uri``.
    key_file : Path
        Holds the key that clients need; only the owner can read it.

    Raises
    ------
    ConfigError
        The port is taken, or another process serves this folder.
    RecordingError
        The catalog cannot be written or opened.
    """

    def __init__(self, root: Path, port: int = 0) -> None:
        self.root = root.resolve()
        self.folder = self.root / FOLDER
        self.key_file = self.folder / API_KEY
        with contextlib.ExitStack() as undo:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                undo.callback(self._hold().close)
                self._key = _api_key(self.key_file)
                undo.callback(_log_to(self.folder / "server.log"))
            except OSError as error:
                raise RecordingError(
                    f"catalog {self.folder}: {error.strerror or error}; it must be writable"
                ) from None
            listening = undo.enter_context(_listen(port))
            self.port: int = listening.getsockname()[1]
            self.uri = f"http://{HOST}:{self.port}/api/v1"
            undo.callback(self._serve(listening))
            self._undo = undo.pop_all()

    def _hold(self) -> LineFile:
        """Keep others from serving the same folder: neither database allows for two."""
        try:
            return LineFile(self.folder / "in_use")
        except BlockingIOError:
            raise ConfigError(
                f"catalog {self.folder}: another 'stmtem catalog' serves it; use that one"
            ) from None

    def _serve(self, listening: socket.socket) -> Any:
        """Start the server; return what ends it."""
        database = self.folder / "catalog.db"
        try:
            tree = open_catalog(
                f"sqlite:///{database}",
                writable_storage=[
                    str(self.folder / "data"),
                    f"duckdb:///{self.folder / 'tables.duckdb'}",
                ],
                readable_storage=[str(self.root)],
                init_if_not_exists=not database.exists(),
                adapters_by_mimetype={MIMETYPE: FramesAdapter},
                specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
            )
            app = build_app(tree, authentication=Authentication(single_user_api_key=self._key))
        except Exception as error:
            raise self._broken(" ".join(str(error).split())) from error
        server = _Listening(
            uvicorn.Config(
                app,
                loop="asyncio",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=END_S,
            )
        )
        # A thread that keeps nobody from leaving Python, whatever happens here.
        thread = threading.Thread(
            target=server.run_until_told, args=(listening,), name="catalog-server", daemon=True
        )
        thread.start()

        def end() -> None:
            server.should_exit = True
            thread.join()

        server.settled.wait(START_S)
        if not server.started:
            end()
            raise self._broken("see server.log in it")
        return end

    def _broken(self, reason: str) -> RecordingError:
        return RecordingError(
            f"catalog {self.folder} cannot be opened: {reason}; it can be removed: all that it "
            "holds is made again from the runs"
        )

    def client(self) -> Any:
        """Return a client of the catalog; what Tiled raises passes through."""
        # A proxy must not be asked for this machine, and what grows must not be cached.
        options: dict[str, Any] = {"cache": None, "show_progress": False, "trust_env": False}
        return open_client(self.uri, api_key=self._key, **options)

    def close(self) -> None:
        """End the server; harmless when called again."""
        self._undo.close()

    def __enter__(self) -> "CatalogServer":
        """Return the server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()


def _api_key(path: Path) -> str:
    """Return the key in a file that only its owner can read; make it if it is not there."""
    with contextlib.suppress(FileExistsError):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, secrets.token_hex(32).encode())
        finally:
            os.close(file)
    os.chmod(path, 0o600)
    key = path.read_text("ascii").strip()
    if not key.isalnum():
        raise RecordingError(f"{path} holds no key; remove it, and a new one is made")
    return key


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share a port that is taken
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        reason = "taken by another program" if taken else getattr(error, "strerror", None) or error
        raise ConfigError(f"port {port}: {reason}; choose another with --port") from None
    return listening


def _log_to(path: Path) -> Any:
    """Send what the server's libraries say to a file of bounded size; return what ends that."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [handler]
        logger.propagate = False

    def end() -> None:
        for logger, handlers, propagate in before:
            logger.handlers[:] = handlers
            logger.propagate = propagate
        handler.close()

    return end
