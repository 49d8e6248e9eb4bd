"""The dose ledger: what every site of every specimen has had, over all runs and days.

An SQLite file.  Rows are only ever added, and triggers hold that.  Dose is booked ahead, before
the beam opens, and corrected when it is blanked: whatever dies in between, and when, a site never
has had more than the ledger says.
"""

import math
import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stmtem_control.errors import RecordingError

from .bookings import Account, Exposure, SiteTotal

FILE = "dose_ledger.sqlite3"
APPLICATION = 0x53544D44  # "STMD": what the file says it is
SCHEMA_VERSION = 1
BUSY_S = 5.0  # that another writer may take

_SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE bookings (
    id INTEGER PRIMARY KEY,
    lease TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('ahead', 'settled')),
    at_unix_s REAL NOT NULL,
    specimen TEXT NOT NULL,
    site TEXT NOT NULL,
    run TEXT NOT NULL,
    setting TEXT NOT NULL,
    dose_rate_e_per_A2_s REAL NOT NULL,
    relative_uncertainty REAL NOT NULL,
    booked_e_per_A2 REAL NOT NULL,
    exposed_e_per_A2 REAL,
    uncertainty_e_per_A2 REAL,
    open_s REAL,
    openings INTEGER,
    first_unix_s REAL,
    last_unix_s REAL,
    CHECK (kind = 'settled' OR booked_e_per_A2 >= 0)
);
CREATE INDEX by_site ON bookings (specimen, site);
CREATE UNIQUE INDEX settled_once ON bookings (lease) WHERE kind = 'settled';
CREATE TRIGGER no_update BEFORE UPDATE ON bookings
BEGIN SELECT RAISE(ABORT, 'the dose ledger is append-only'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON bookings
BEGIN SELECT RAISE(ABORT, 'the dose ledger is append-only'); END;
CREATE TRIGGER no_replace BEFORE INSERT ON bookings
WHEN EXISTS (SELECT 1 FROM bookings WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the dose ledger is append-only'); END;
CREATE TRIGGER settled_is_settled BEFORE INSERT ON bookings
WHEN EXISTS (SELECT 1 FROM bookings WHERE lease = NEW.lease AND kind = 'settled')
BEGIN SELECT RAISE(ABORT, 'this lease is settled'); END;
COMMIT;
"""


class Ledger:
    """A dose ledger, safe to use from several threads and processes.

    Parameters
    ----------
    path : Path
        The file; made with the first booking if it is not there.
    readonly : bool
        Only read.

    Raises
    ------
    RecordingError
        It cannot be opened, is damaged, is no dose ledger, or of a newer version.  It is then left
        as it is.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._readonly = readonly
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        if readonly and not self.path.exists():
            raise RecordingError(f"{self.path}: there is no dose ledger")
        if self.path.exists():
            self._connect()

    def _connect(self) -> None:
        """Open the file, make what is missing, and see that it is whole."""
        try:
            if self.path.exists() and self.path.stat().st_size:
                with open(self.path, "rb") as file:
                    if file.read(16) != b"SQLite format 3\0":
                        raise RecordingError(self._refusal("it is no SQLite file"))
            if not self._readonly:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = "ro" if self._readonly else "rwc"
            self._connection = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,  # every statement is a transaction of its own
                check_same_thread=False,
            )
            self._check()
        except sqlite3.DatabaseError as error:
            self._drop()
            raise RecordingError(self._refusal(str(error))) from None
        except OSError as error:
            self._drop()
            if isinstance(error, RecordingError):
                raise
            raise RecordingError(f"{self.path}: {error.strerror or error}") from None

    def _check(self) -> None:
        connection = self._open()
        one = self._one
        # Whoever made the file may have been killed before it had tables.
        if not self._readonly and one("SELECT COUNT(*) FROM sqlite_master") == 0:
            # WAL: readers never wait; FULL: what is booked outlasts a power failure.
            one("PRAGMA journal_mode = WAL")
            try:
                connection.executescript(_SCHEMA)
            except sqlite3.OperationalError:  # somebody else was faster
                if connection.in_transaction:
                    connection.rollback()
        one("PRAGMA synchronous = FULL")
        if one("PRAGMA application_id") != APPLICATION:
            raise RecordingError(self._refusal("it is another kind of database"))
        version = one("PRAGMA user_version")
        if version != SCHEMA_VERSION:
            raise RecordingError(
                f"{self.path}: a dose ledger of version {version}, this program knows "
                f"{SCHEMA_VERSION}; update stmtem-control"
            )
        if (found := one("PRAGMA quick_check(1)")) != "ok":
            raise RecordingError(self._refusal(str(found).splitlines()[-1]))

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise RecordingError(f"{self.path}: the dose ledger is closed")
        if self._connection is None:
            self._connect()
        assert self._connection is not None
        return self._connection

    def _refusal(self, why: str) -> str:
        return (
            f"{self.path} is damaged or no dose ledger ({' '.join(why.split())}); it was left as "
            "it is: restore a copy, or move it away to begin a new one"
        )

    # Booking

    def book_ahead(self, account: Account, dose_e_per_A2: float) -> None:
        """Book so much (e/A^2) before it is given; on disk when this returns.

        Raises
        ------
        RecordingError
            It could not be booked: the beam must not be open.
        """
        self._insert(account, "ahead", dose_e_per_A2)

    def settle(self, exposure: Exposure) -> None:
        """Put what a lease came to in the place of what was booked ahead for it.

        Raises
        ------
        RecordingError
            It could not be written, or the lease is settled; what was booked ahead stays.
        """
        found = self._read(
            "SELECT COALESCE(SUM(booked_e_per_A2), 0) FROM bookings WHERE lease = ?",
            exposure.account.lease,
        )
        ahead = float(found[0][0]) if found else 0.0
        self._insert(
            exposure.account,
            "settled",
            exposure.dose_e_per_A2 - ahead,
            (
                exposure.dose_e_per_A2,
                exposure.uncertainty_e_per_A2,
                exposure.open_s,
                exposure.openings,
                exposure.first_unix_s,
                exposure.last_unix_s,
            ),
        )

    def _insert(
        self, account: Account, kind: str, booked: float, found: tuple[Any, ...] = (None,) * 6
    ) -> None:
        values = (
            account.lease, kind, time.time(), account.specimen, account.site, account.run,
            account.setting, account.dose_rate_e_per_A2_s, account.relative_uncertainty, booked,
            *found,
        )  # fmt: skip
        if not all(math.isfinite(v) for v in values if isinstance(v, float)):
            raise RecordingError(f"{self.path}: a dose that is no number cannot be booked")
        try:
            self._one(
                "INSERT INTO bookings (lease, kind, at_unix_s, specimen, site, run, setting, "
                "dose_rate_e_per_A2_s, relative_uncertainty, booked_e_per_A2, exposed_e_per_A2, "
                "uncertainty_e_per_A2, open_s, openings, first_unix_s, last_unix_s) "
                "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                *values,
            )
        except sqlite3.Error as error:
            raise RecordingError(f"{self.path}: dose cannot be booked: {error}") from None

    # Reading

    def dose(self, specimen: str, site: str, *, without: str = "") -> float:
        """Return what a site has had at most (e/A^2), but for the lease `without`.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        found = self._read(
            "SELECT COALESCE(SUM(booked_e_per_A2), 0) FROM bookings "
            "WHERE specimen = ? AND site = ? AND lease != ?",
            specimen,
            site,
            without,
        )
        return float(found[0][0]) if found else 0.0

    def totals(self) -> list[SiteTotal]:
        """Return what every site has had, in the order in which they came.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        rows = self._read(
            "SELECT specimen, site, SUM(booked_e_per_A2), COALESCE(SUM(open_s), 0), "
            "COUNT(DISTINCT NULLIF(run, '')), MAX(at_unix_s) "
            "FROM bookings GROUP BY specimen, site ORDER BY MIN(id)"
        )
        made = []
        for specimen, site, dose, open_s, runs, last in rows:
            history = self.exposures(specimen, site)
            # A calibration is wrong the same way for all exposures that rest on it.
            systematic: dict[tuple[str, float], float] = {}
            for one in history:
                account = one.account
                key = (account.setting, account.dose_rate_e_per_A2_s)
                part = one.dose_e_per_A2 * account.relative_uncertainty
                systematic[key] = systematic.get(key, 0.0) + part
            edges = sum(one.uncertainty_e_per_A2 for one in history)
            made.append(
                SiteTotal(
                    specimen=specimen,
                    site=site,
                    dose_e_per_A2=dose,
                    uncertainty_e_per_A2=math.hypot(edges, *systematic.values()),
                    open_s=open_s,
                    runs=runs,
                    unsettled_e_per_A2=sum(
                        (one.dose_e_per_A2 for one in history if not one.settled), 0.0
                    ),
                    last_unix_s=last,
                )
            )
        return made

    def exposures(
        self, specimen: str | None = None, site: str | None = None, *, run: str | None = None
    ) -> list[Exposure]:
        """Return what leases came to, oldest first: of a specimen, a site, a run, or all.

        Raises
        ------
        RecordingError
            It cannot be read.
        """
        rows = self._read(
            "SELECT lease, specimen, site, run, setting, dose_rate_e_per_A2_s, "
            "relative_uncertainty, SUM(booked_e_per_A2), "
            "MAX(uncertainty_e_per_A2), MAX(open_s), MAX(openings), MAX(first_unix_s), "
            "MAX(last_unix_s), MAX(kind = 'settled'), MIN(at_unix_s), MAX(at_unix_s) "
            "FROM bookings WHERE (?1 IS NULL OR specimen = ?1) AND (?2 IS NULL OR site = ?2) "
            "AND (?3 IS NULL OR run = ?3) GROUP BY lease ORDER BY MIN(id)",
            specimen, site, run,
        )  # fmt: skip
        return [
            Exposure(
                Account(row[0], *row[1:7]),
                dose_e_per_A2=row[7],
                uncertainty_e_per_A2=row[8] if row[13] else row[7],
                open_s=row[9] or 0.0,
                openings=row[10] or 0,
                first_unix_s=row[11] if row[13] else row[14],
                last_unix_s=row[12] if row[13] else row[15],
                settled=bool(row[13]),
            )
            for row in rows
        ]

    def _read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                if self._connection is None and not self._closed and not self.path.exists():
                    return []  # nobody has booked anything yet
                return self._open().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f"{self.path}: cannot be read: {error}") from None

    def _one(self, sql: str, *values: Any) -> Any:
        with self._lock:
            row = self._open().execute(sql, values).fetchone()
        return None if row is None else row[0]

    # Life

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Close the file; harmless when called again."""
        self._closed = True
        self._drop()

    def __enter__(self) -> Self:
        """Return the ledger."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()
