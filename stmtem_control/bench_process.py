"""The simulated bench as a child process, for stations whose file has a [bench] table."""

import contextlib
import json
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from .errors import ConfigError, TransportError
from .station_tables import BenchTable

START_S = 30.0  # a cold start of Python and NumPy on a busy machine
END_S = 5.0
ANSWER_S = 5.0
ADDRESSES = {
    "bias_source": ("resource", "serial"),
    "probe": ("serial", "host", "port", "password"),
    "camera": ("host", "control", "data"),
}


class BenchProcess:
    """A bench that lives as long as this object, or as this process.

    Parameters
    ----------
    options : BenchTable
        Preset, seed, speed, model, image size, faults.

    Raises
    ------
    TransportError
        The bench did not start; the message has its own words.
    """

    def __init__(self, options: BenchTable) -> None:
        command = [sys.executable, "-m", "stmtem_control.simulators", "--json", "--until-eof"]
        given = options.model_dump()
        command += [f"--fault={text}" for text in given.pop("faults")]
        for name, value in given.items():
            # With "=", because a value may begin with a minus.
            command.append(f"--{name.replace('_', '-')}={value}")
        # A session of its own: Ctrl-C at the terminal must reach the person's session, which
        # makes the sample safe, and not take the instruments away from under it.
        # A file, not a pipe: nobody reads it while all is well, and a full pipe would block.
        self._ordering = threading.Lock()
        self._ordered = 0
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,
        )
        try:
            self.addresses: dict[str, dict[str, Any]] = json.loads(self._first_line())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the bench."""
        return self._process.pid

    # -- orders while it runs ---------------------------------------------------------------

    def inject(self, fault: str) -> None:
        """Inject a fault into the running bench.

        Parameters
        ----------
        fault : str
            For example ``"bias_source:drop@exchange=5"``; ``stmtem sim --list-faults`` prints all
            kinds.  Times and exchanges count from now on.

        Raises
        ------
        ConfigError
            There is no such fault.
        TransportError
            The bench does not answer, or has ended.
        """
        self._order(f"inject {fault}")

    def turn(self, mode: str, value: float | None = None) -> None:
        """Turn the simulated column by hand, which no wire of the bench can.

        Parameters
        ----------
        mode : {"imaging", "survey", "diffraction"}
            What the camera shows from now on.
        value : float, optional
            Of the survey its field of view in nm, of diffraction the camera length in m.

        Raises
        ------
        ConfigError
            There is no such mode, or no such value of it.
        TransportError
            The bench does not answer, or has ended.
        """
        self._order(f"turn {mode}" if value is None else f"turn {mode} {value!r}")

    def clear_faults(self) -> None:
        """End all faults that last, and forget all that wait.

        Raises
        ------
        TransportError
            The bench does not answer, or has ended.
        """
        self._order("clear")

    def safe(self) -> dict[str, Any]:
        """Ask the bench itself what of the safe state holds.

        Returns
        -------
        dict
            ``t_s``, the bench's time (s); ``safe``, a truth value for each part; ``since_s``,
            since when it has held (None: it does not); ``unsafe_s``, for how long it has not.

        Raises
        ------
        TransportError
            The bench does not answer, or has ended.
        """
        return self._order("safe")

    @property
    def fault_log(self) -> list[dict[str, Any]]:
        """What the faults did: t_s, event, fault, exchange, message."""
        return self._all("log")

    @property
    def transitions(self) -> list[dict[str, Any]]:
        """The last changes of output, bias, beam and motion: t_s, part, safe, value."""
        return self._all("transitions")

    def _all(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            part = self._order(f"{name} {len(entries)}")
            entries += part["entries"]
            if part["next"] >= part["of"]:
                return entries

    def _order(self, order: str) -> dict[str, Any]:
        with self._ordering:
            try:
                _pipe(self._process.stdin).write(order.replace("\n", " ").encode() + b"\n")
                _pipe(self._process.stdin).flush()
            except (OSError, ValueError):
                raise TransportError(
                    "the simulated bench has ended; open the station again"
                ) from None
            self._ordered += 1
            answer: dict[str, Any] = {}
            while answer.get("order") != self._ordered:  # a late answer to an order given up
                answer = json.loads(self._line(ANSWER_S, "answer"))
        if "error" in answer:
            raise ConfigError(answer["error"])
        return answer

    def _first_line(self) -> bytes:
        return self._line(START_S, "start")

    def _line(self, within_s: float, what: str) -> bytes:
        out = _pipe(self._process.stdout)
        deadline = time.monotonic() + within_s
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TransportError(f"the simulated bench did not {what} within {within_s:.0f} s")
            chunk = out.readline()
            if not chunk:
                self._process.wait(END_S)
                self._words.seek(0)
                words = self._words.read().decode(errors="replace").strip()
                last = words.splitlines()[-1] if words else "it said nothing"
                raise TransportError(f"the simulated bench did not {what}: {last}")
            line += chunk
        return line

    def close(self) -> None:
        """End the bench: by closing its input, and by force when that does not help."""
        process = self._process
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _pipe(process.stdout).close()
        self._words.close()


def read_addresses(path: Path) -> dict[str, dict[str, Any]]:
    """Read what ``stmtem sim --json`` printed, from a file.

    Raises
    ------
    ConfigError
        It cannot be read, or is not that.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        return {role: {key: found[role][key] for key in keys} for role, keys in ADDRESSES.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not the addresses of a bench ({error}); give a file with the first line of "
            "'stmtem sim --json'"
        ) from None


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
