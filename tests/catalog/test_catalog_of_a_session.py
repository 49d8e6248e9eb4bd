"""A session whose station names a Tiled server: alive, dead, or silent."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest

from stmtem_control.catalog_feed import LOG
from stmtem_control.config import Station, parse_station
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

from .conftest import needs_tiled

W = 50.0


def of(station: Station, server: str, root: Path) -> Station:
    raw = station.with_data(root).model_dump(mode="json", exclude_none=True)
    return parse_station({**raw, "catalog": {"server": server}}, "the test")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@needs_tiled
def test_a_run_is_there_while_the_session_goes_on(
    station: Station,
    bench: Bench,
    server: Any,
    client: Any,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILED_API_KEY", server.key_file.read_text())
    addresses = bench.addresses.as_dict()
    waiting = threading.Event()
    with Session(of(station, server.uri, root), addresses=addresses) as session:
        started: list[str] = []
        session.RE(
            bp.count([session.bias], num=3), {"start": lambda _, doc: started.append(doc["uid"])}
        )
        # One at a time: the server keeps a thread for each who asks at the same moment.
        for _ in range(int(W / 0.1)):
            if "1 runs registered" in (root / LOG).read_text():
                break
            waiting.wait(0.1)
        else:
            pytest.fail((root / LOG).read_text())
    assert client[started[0]].metadata["stop"]["exit_status"] == "success"


@needs_tiled
@pytest.mark.parametrize("kind", ["dead", "silent"])
def test_a_server_that_does_not_answer_is_nothing_to_a_plan(
    station: Station, bench: Bench, tmp_path: Path, silent: str, kind: str
) -> None:
    server = silent if kind == "silent" else "http://127.0.0.1:1"
    addresses = bench.addresses.as_dict()
    with contextlib.ExitStack() as opened:
        session = opened.enter_context(
            Session(of(station, server, tmp_path / "runs"), addresses=addresses)
        )
        begun = session.clock.now()
        outcome = session.run(bp.count([session.bias], num=3))
        assert outcome.status == "success"
        assert session.clock.wall_seconds(session.clock.now() - begun) < 2.0
    assert outcome.folder is not None
    assert (outcome.folder / "documents.jsonl").read_text().count("\n") == 6
