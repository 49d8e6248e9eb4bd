"""Registration: once, from disk, whatever the server does, and out of sight of the RunEngine."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.recording.mend_documents import mend_documents
from stmtem_control.recording.run_documents import FramesOnDisk, read_documents

from .recorded_run import RecordedRun

Record = Callable[..., RecordedRun]


def documents_of(client: Any, uid: str) -> tuple[int, int]:
    """Return how many frames and rows the catalog has."""
    frames = client[uid]["frames"]
    return frames["camera_image"].shape[0], len(frames.base["internal"].read())


class Counting:
    """A client that notes what is asked of it."""

    def __init__(self, client: Any, asked: list[str]) -> None:
        self.client = client
        self.asked = asked

    def __getattr__(self, name: str) -> Any:
        """Hand on."""
        self.asked.append(name)
        return getattr(self.client, name)

    def __getitem__(self, key: str) -> Any:
        """Hand on."""
        self.asked.append(f"[{key}]")
        return self.client[key]


def test_registering_again_changes_nothing(
    server: Any, client: Any, registrar: Any, record: Record, root: Path
) -> None:
    from stmtem_control.catalog.register import Registrar

    run = record()
    run.record(9)
    run.stop()
    registrar.step()
    before = client[run.uid].item["attributes"]
    assert str(registrar.step()) == "1 runs registered"
    asked: list[str] = []
    again = Registrar(root, lambda: Counting(server.client(), asked))  # as after a restart
    assert str(again.step()) == "1 runs registered"
    assert asked == [f"[{run.uid}]"]  # read, and nothing else
    again.disconnect()
    assert client[run.uid].item["attributes"] == before
    assert documents_of(client, run.uid) == (9, 9)


def test_a_run_of_which_a_part_is_registered_is_made_whole(
    server: Any, client: Any, registrar: Any, record: Record, root: Path
) -> None:
    from stmtem_control.catalog.register import Registrar

    run = record()
    run.record(4)
    registrar.step()
    registrar.disconnect()
    run.record(4)
    run.stop()
    again = Registrar(root, server.client)
    assert str(again.step()) == "1 runs registered"
    again.disconnect()
    assert documents_of(client, run.uid) == (8, 8)


def test_a_recovered_run_is_registered_as_mended(
    client: Any, registrar: Any, record: Record
) -> None:
    run = record()
    run.record(4)
    assert str(registrar.step()) == "0 runs registered, 1 not closed"
    with open(run.path, "a", encoding="utf-8") as file:
        file.write('["event_page", {"uid": ["torn')
    registrar.step()
    assert documents_of(client, run.uid) == (4, 4)
    # As 'stmtem recover' does it: the last frame is lost, the file is replaced.
    found = read_documents(run.path)
    rows = run.rows[:3]
    stamps = [1_795_000_000.0 + row["run_time_s"] for row in rows]
    frames = FramesOnDisk(rows, stamps, dict)  # type: ignore[arg-type]
    mend_documents(found, run.folder, frames, reason=lambda: "killed", ended=stamps[-1])
    new = run.path.with_name("new")
    new.write_bytes(found.encoded())
    new.replace(run.path)
    assert str(registrar.step()) == "1 runs registered"
    assert documents_of(client, run.uid) == (3, 3)
    assert client[run.uid].metadata["stop"]["reason"] == "killed"


def test_a_run_mended_after_it_was_registered_is_registered_anew(
    client: Any, registrar: Any, record: Record
) -> None:
    run = record()
    run.record(4)
    run.stop()
    registrar.step()
    lines = [json.loads(line) for line in run.path.read_text("utf-8").splitlines()]
    lines[-1][1]["reason"] = "one frame was lost"
    new = run.path.with_name("new")
    new.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    new.replace(run.path)
    assert str(registrar.step()) == "1 runs registered"
    assert client[run.uid].metadata["stop"]["reason"] == "one frame was lost"
    assert documents_of(client, run.uid) == (4, 4)


def test_a_dead_server_is_tried_again_and_registration_goes_on(
    server: Any, client: Any, record: Record, root: Path
) -> None:
    import httpx

    from stmtem_control.catalog.register import Registrar

    alive = False

    def connect() -> Any:
        if not alive:
            raise httpx.ConnectError("Connection refused")
        return server.client()

    run = record()
    run.record(2)
    run.stop()
    registrar = Registrar(root, connect)
    waits = [registrar.step().wait_s for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert str(registrar.step()) == (
        "no answer: Connection refused; tried again in 60 s; 0 runs registered"
    )
    alive = True
    assert str(registrar.step()) == "1 runs registered"
    assert documents_of(client, run.uid) == (2, 2)
    registrar.disconnect()


def test_a_server_that_dies_in_the_middle_of_a_run(
    client: Any, registrar: Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    from stmtem_control.catalog.run_writer import RunWriter

    run = record()
    run.record(3)
    registrar.step()
    run.record(3)

    def dies(self: Any) -> None:
        raise httpx.ReadTimeout("The read operation timed out")

    with monkeypatch.context() as dying:
        dying.setattr(RunWriter, "flush", dies)
        assert registrar.step().away == "The read operation timed out"
    run.stop()
    assert str(registrar.step()) == "1 runs registered"  # no row twice
    assert documents_of(client, run.uid) == (6, 6)


def test_one_run_that_cannot_be_registered_stops_no_other(
    server: Any, client: Any, record: Record, root: Path
) -> None:
    from stmtem_control.catalog.register import Registrar

    now = 0.0
    bad, good = record(plan="a"), record(plan="b")
    bad.path.write_text(bad.path.read_text("utf-8") + "garbage\n", "utf-8")
    good.record(2)
    good.stop()
    registrar = Registrar(root, server.client, now=lambda: now)
    state = registrar.step()
    assert state.registered == 1
    assert len(state.problems) == 1
    assert state.problems[0].startswith(bad.folder.name)
    assert f"'stmtem recover {bad.folder}' mends it" in state.problems[0]
    assert documents_of(client, good.uid) == (2, 2)
    bad.path.write_text(bad.path.read_text("utf-8").replace("garbage\n", ""), "utf-8")
    assert len(registrar.step().problems) == 1  # not yet tried again
    now = 60.0
    assert str(registrar.step()) == "1 runs registered, 1 not closed"
    registrar.disconnect()


def test_a_copy_of_a_run_is_not_registered_twice(
    client: Any, registrar: Any, record: Record, root: Path
) -> None:
    run = record()
    run.record(2)
    run.stop()
    registrar.step()
    copy = root / "zz_copy"
    copy.mkdir()
    (copy / "documents.jsonl").write_bytes(run.path.read_bytes())
    state = registrar.step()
    assert state.registered == 1
    assert f"a copy of {run.folder.name}" in state.problems[0]
    assert client[run.uid].metadata["folder"] == str(run.folder)


def test_a_run_that_is_just_beginning_is_left_alone(registrar: Any, root: Path) -> None:
    (root / "run").mkdir()
    (root / "run" / "documents.jsonl").write_text('["start", {"uid": "half', "utf-8")
    assert str(registrar.step()) == "0 runs registered"


def test_nothing_of_a_session_knows_the_catalog() -> None:
    """So nothing that a server does can reach the RunEngine, on any thread."""
    code = (
        "import sys, stmtem_control.session, stmtem_control.plans, stmtem_control.devices\n"
        "strangers = {'tiled', 'bluesky_tiled_plugins', 'httpx', 'stmtem_control.catalog'}\n"
        "found = strangers & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_plan_runs_while_the_server_is_dead(
    server: Any, client: Any, root: Path, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of a real session: no subscriber of its RunEngine sends anything to a server."""
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp
    import httpx

    from stmtem_control.catalog.register import Registrar
    from stmtem_control.config import load_station
    from stmtem_control.session import Session

    sent: list[str] = []

    def refused(self: Any, request: Any, **options: Any) -> Any:
        sent.append(str(request.url))
        raise httpx.ConnectError("Connection refused")

    station = load_station("sim").with_bench(speed=5.0, size=256).with_data(root)
    with Session(station, addresses=bench.addresses.as_dict()) as session:
        camera = session.devices["camera"]

        def some_frames() -> Any:
            yield from bps.declare_stream(camera, name="frames", collect=True)
            yield from bps.kickoff(camera, wait=True)
            yield from bps.sleep(0.1)
            yield from bps.complete(camera, wait=True)
            yield from bps.collect(camera, name="frames", return_payload=False)

        with monkeypatch.context() as dead:
            dead.setattr(httpx.Client, "send", refused)
            outcome = session.run(bpp.run_wrapper(some_frames(), md={"plan_name": "some_frames"}))
            assert sent == []
    assert outcome.exit_code == 0, outcome.reason
    assert outcome.folder is not None
    registrar = Registrar(root, server.client)
    assert str(registrar.step()) == "1 runs registered"
    registrar.disconnect()
    (uid,) = [uid for uid in client if client[uid].metadata.get("folder") == str(outcome.folder)]
    assert documents_of(client, uid) == (outcome.frames, outcome.frames)
    assert outcome.frames > 0
