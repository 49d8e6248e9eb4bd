"""Tiled beside a session: whatever its process does, or does not, no plan notices."""

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import bluesky.plans as bp
import pytest

from stmtem_control import catalog_feed
from stmtem_control.catalog_feed import LOG, CatalogFeed
from stmtem_control.config import Station, parse_station
from stmtem_control.errors import ConfigError
from stmtem_control.session import Session
from stmtem_control.simulators import Bench
from stmtem_control.station_tables import CatalogTable

ENDS = "import sys; print('up', sys.argv[1:], flush=True); sys.stdin.read(); print('down')"
HANGS = "import sys; print('up', flush=True); [sys.stdin.read() for _ in iter(int, 1)]"
DIES = "raise SystemExit('no such server')"
TABLE = CatalogTable(server="http://127.0.0.1:1")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts another program in the place of ``stmtem catalog``."""

    def replace(code: str) -> None:
        monkeypatch.setattr(catalog_feed, "NEEDED", ())
        monkeypatch.setattr(catalog_feed, "PROGRAM", ("-c", code))

    return replace


@pytest.fixture
def with_catalog(station: Station) -> Station:
    raw = station.model_dump(mode="json", exclude_none=True)
    return parse_station({**raw, "catalog": {"server": TABLE.server}}, "the test")


def test_without_a_table_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with CatalogFeed(None, tmp_path) as feed:
        assert feed.problem == ""


def test_it_gets_folder_and_server_and_ends_with_the_session(
    tmp_path: Path, program: Callable[[str], None]
) -> None:
    program(ENDS)
    with CatalogFeed(TABLE, tmp_path) as feed:
        assert feed.problem == ""
    told = (tmp_path / LOG).read_text().splitlines()
    assert told == [f"up ['{tmp_path}', '--server={TABLE.server}', '--until-eof']", "down"]
    feed.close()  # again


def test_what_is_missing_is_said_and_the_session_goes_on(
    with_catalog: Station, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_feed, "find_spec", lambda _: None)
    with Session(with_catalog, addresses=bench.addresses.as_dict()) as session:
        assert session.catalog.problem.startswith("[catalog] server: tiled is not installed")
        assert session.run(bp.count([session.bias])).status == "success"


@pytest.mark.parametrize("code", [HANGS, DIES])
def test_no_plan_waits_for_it(
    with_catalog: Station,
    bench: Bench,
    program: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    program(code)
    monkeypatch.setattr(catalog_feed, "END_S", 0.1)
    with contextlib.ExitStack() as opened:
        session = opened.enter_context(Session(with_catalog, addresses=bench.addresses.as_dict()))
        begun = time.monotonic()
        outcome = session.run(bp.count([session.bias]))
        assert time.monotonic() - begun < 2.0
        assert (outcome.status, outcome.reason) == ("success", "")
        assert outcome.folder is not None
        assert (outcome.folder / "outcome.json").exists()


def test_a_server_is_an_address(with_catalog: Station) -> None:
    raw = with_catalog.model_dump(mode="json", exclude_none=True)
    with pytest.raises(ConfigError, match=r"\[catalog\] server: .*found 'localhost'"):
        parse_station({**raw, "catalog": {"server": "localhost"}}, "the test")
    text = with_catalog.to_toml()
    assert f'[catalog]\nserver = "{TABLE.server}"' in text
