"""The ledger: only added to, shared, and never silently replaced."""

import sqlite3
import threading
from pathlib import Path

import pytest

from stmtem_control.dose.bookings import Account, Exposure
from stmtem_control.dose.ledger import Ledger
from stmtem_control.errors import RecordingError


def account(lease: str, site: str = "A", run: str = "", sure: float = 0.1) -> Account:
    return Account(lease, "fibre", site, run, "low", 2.0, sure)


def exposure(lease: str, dose: float, site: str = "A", run: str = "") -> Exposure:
    return Exposure(account(lease, site, run), dose, 0.5, dose / 2.0, 1, 10.0, 20.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ledger.sqlite3"


def test_nothing_is_made_before_something_is_booked(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.dose("fibre", "A") == 0.0
        assert ledger.totals() == []
        assert ledger.exposures() == []
    assert not path.parent.exists()
    with pytest.raises(RecordingError, match="no dose ledger"):
        Ledger(path, readonly=True)


def test_what_is_booked_ahead_is_corrected_to_what_was_given(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.book_ahead(account("one"), 100.0)
        assert ledger.dose("fibre", "A") == 100.0
        ledger.book_ahead(account("one"), 50.0)
        assert ledger.dose("fibre", "A", without="one") == 0.0
        ledger.settle(exposure("one", 120.0))
        assert ledger.dose("fibre", "A") == pytest.approx(120.0)
        with pytest.raises(RecordingError, match="settled"):
            ledger.settle(exposure("one", 1.0))
        with pytest.raises(RecordingError, match="settled"):
            ledger.book_ahead(account("one"), 1.0)
        ledger.book_ahead(account("two", run="r"), 7.0)
        ledger.book_ahead(account("three", site="B"), 3.0)
    with Ledger(path, readonly=True) as ledger:
        first, second = ledger.totals()
        assert (first.site, second.site) == ("A", "B")
        assert first.dose_e_per_A2 == pytest.approx(127.0)
        assert first.unsettled_e_per_A2 == 7.0
        assert first.runs == 1
        assert first.open_s == 60.0
        # 0.5 of the edges, all that was never settled, and a tenth of it all.
        assert first.uncertainty_e_per_A2 == pytest.approx((7.5**2 + 12.7**2) ** 0.5)
        assert [one.settled for one in ledger.exposures("fibre", "A")] == [True, False]
        assert [one.dose_e_per_A2 for one in ledger.exposures(run="r")] == [7.0]
        with pytest.raises(RecordingError, match="readonly"):
            ledger.book_ahead(account("four"), 1.0)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE bookings SET booked_e_per_A2 = 0",
        "DELETE FROM bookings",
        "INSERT OR REPLACE INTO bookings SELECT id, lease, kind, 0, specimen, site, run, setting, "
        "1, 0, 0, 0, 0, 0, 0, 0, 0 FROM bookings",
    ],
)
def test_nobody_can_take_dose_back(path: Path, sql: str) -> None:
    with Ledger(path) as ledger:
        ledger.book_ahead(account("one"), 100.0)
    other = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(sql)
    other.close()
    with Ledger(path) as ledger:
        assert ledger.dose("fibre", "A") == 100.0


def test_it_is_on_disk_at_once_and_readers_do_not_wait(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.book_ahead(account("one"), 100.0)
        with Ledger(path, readonly=True) as reader:
            assert reader.dose("fibre", "A") == 100.0
            ledger.book_ahead(account("one"), 1.0)
            assert reader.dose("fibre", "A") == 101.0
        # The promise that a power failure takes nothing: every commit is synced.
        assert ledger._one("PRAGMA synchronous") == 2
        assert ledger._one("PRAGMA journal_mode") == "wal"


def test_many_may_book_at_once(path: Path) -> None:
    def book(name: str) -> None:
        with Ledger(path) as ledger:
            for n in range(10):
                ledger.book_ahead(account(f"{name} {n}"), 1.0)

    threads = [threading.Thread(target=book, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Ledger(path) as ledger:
        assert ledger.dose("fibre", "A") == 40.0


def damaged(path: Path) -> None:
    with Ledger(path) as ledger:
        for n in range(200):
            ledger.book_ahead(account(f"lease {n}"), 1.0)
    data = bytearray(path.read_bytes())
    assert len(data) > 3 * 4096
    data[4096 : 3 * 4096] = bytes(2 * 4096)
    path.write_bytes(data)


def other_database(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text)")
    other.commit()
    other.close()


def some_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, but a shopping list")


def newer(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.book_ahead(account("one"), 1.0)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged, "left as it is"),
        (other_database, "another kind"),
        (some_text, "no SQLite file"),
        (newer, "version 99"),
    ],
)
def test_a_file_that_is_not_right_is_refused_and_left_alone(
    path: Path, spoil: object, words: str
) -> None:
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match=words) as caught:
        Ledger(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_whose_making_was_killed_is_made(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.close()
    assert path.stat().st_size > 0
    with Ledger(path) as ledger:
        ledger.book_ahead(account("one"), 1.0)


def test_a_dose_that_is_no_number_is_refused(path: Path) -> None:
    with Ledger(path) as ledger, pytest.raises(RecordingError, match="no number"):
        ledger.book_ahead(account("one"), float("nan"))


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = Ledger(path)
    ledger.close()
    ledger.close()
    with pytest.raises(RecordingError, match="closed"):
        ledger.book_ahead(account("one"), 1.0)
    with pytest.raises(RecordingError, match="closed"):
        ledger.dose("fibre", "A")
