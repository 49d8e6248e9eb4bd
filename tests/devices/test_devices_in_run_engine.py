"""The devices under a RunEngine: valid documents, pauses that restore, ends that are safe."""

import math
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from event_model import DocumentNames, schema_validators

from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera
from stmtem_control.recording.frame_files import read_frames

W = 5.0  # wall seconds that a test waits at most
STAMP = 1_795_000_000.0

Plan = Generator[Any, Any, Any]


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    made = RunEngine({}, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(W)
    made.loop.close()


@pytest.fixture
def documents(engine: RunEngine) -> list[tuple[str, dict[str, Any]]]:
    """All documents; each has been validated against its schema."""
    found: list[tuple[str, dict[str, Any]]] = []

    def keep(name: str, doc: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(doc)
        found.append((name, doc))

    engine.subscribe(keep)
    return found


def frames_on_disk(camera: FrameCamera, merlin: Any, count: int) -> Callable[[], None]:
    """Return a function that lets the camera send frames and waits until they are on disk."""
    done = threading.Event()

    def note(value: int, **_: Any) -> None:
        if value >= count:
            done.set()

    def send() -> None:
        camera.frames_written.subscribe(note, run=False)
        for i in range(count - camera.frames_written.get()):
            merlin.frame(STAMP + 0.1 * i)
        assert done.wait(W)

    return send


def test_a_run_with_frames_and_readings(
    engine: RunEngine,
    documents: list[tuple[str, dict[str, Any]]],
    bias: BiasSource,
    beam: BeamBlanker,
    camera: FrameCamera,
    merlin: Any,
    smu: Any,
    tmp_path: Path,
) -> None:
    camera.directory = tmp_path
    first, more = frames_on_disk(camera, merlin, 2), frames_on_disk(camera, merlin, 5)

    def body() -> Plan:
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield from bps.kickoff(camera, wait=True)
        yield from bps.mv(beam, "open", bias, -5.0, camera.phase, "deposit", camera.cycle, 1)
        yield from bps.trigger_and_read([bias, beam], name="readings")
        for step in (first, more):
            step()
            yield from bps.collect(camera, name="frames", return_payload=False)
            yield from bps.checkpoint()
        yield from bps.complete(camera, wait=True)
        yield from bps.collect(camera, name="frames", return_payload=False)

    engine(bpp.stage_wrapper(bpp.run_wrapper(body()), [bias, beam, camera]))
    names = [name for name, _ in documents]
    assert names.count("stream_resource") == 1
    data = [doc for name, doc in documents if name == "stream_datum"]
    assert [doc["indices"] for doc in data] == [{"start": 0, "stop": 2}, {"start": 2, "stop": 5}]
    assert [doc["seq_nums"] for doc in data] == [{"start": 1, "stop": 3}, {"start": 3, "stop": 6}]
    pages = [doc for name, doc in documents if name == "event_page"]
    assert [n for page in pages for n in page["data"]["camera_frame"]] == [0, 1, 2, 3, 4]
    stop = documents[-1][1]
    assert stop["num_events"] == {"frames": 5, "readings": 1}
    assert len(list(read_frames(tmp_path))) == 5
    assert not smu.output
    assert beam.blanked.get()
    assert not camera.running


def test_a_pause_is_safe_and_resuming_restores(
    engine: RunEngine,
    documents: list[tuple[str, dict[str, Any]]],
    bias: BiasSource,
    beam: BeamBlanker,
    camera: FrameCamera,
    merlin: Any,
    smu: Any,
    tmp_path: Path,
) -> None:
    camera.directory = tmp_path
    after: list[tuple[bool, bool]] = []

    def body() -> Plan:
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield from bps.kickoff(camera, wait=True)
        yield from bps.mv(beam, "open", bias, -5.0)
        yield from bps.checkpoint()
        yield from bps.pause()
        # No set is repeated: the devices themselves restore what was.
        after.append((smu.output, bool(beam.blanked.get())))
        yield from bps.complete(camera, wait=True)
        yield from bps.collect(camera, name="frames", return_payload=False)

    plan = bpp.stage_wrapper(bpp.run_wrapper(body()), [bias, beam, camera])
    with pytest.raises(RunEngineInterrupted):
        engine(plan)
    assert not smu.output
    assert beam.blanked.get()
    assert merlin.commands[-1] == "STOPACQUISITION"
    engine.resume()
    assert after == [(True, False)]
    assert merlin.commands.count("STARTACQUISITION") == 2
    assert documents[-1][1]["exit_status"] == "success"
    assert not smu.output


def test_a_hard_pause_before_a_reading_can_be_resumed(
    engine: RunEngine,
    documents: list[tuple[str, dict[str, Any]]],
    bias: BiasSource,
    smu: Any,
) -> None:
    """The pause drops the reading, which ends as none; after it, the reading is taken again."""
    gate, seen = threading.Event(), list[float]()
    pausers: list[threading.Thread] = []

    def look(value: float, **_: Any) -> None:
        seen.append(value)
        if math.isnan(value):
            gate.set()  # the reading was dropped: the stop may get through now

    def hold_up() -> None:
        smu.gate = gate
        bias.source.set_line(4, True)
        assert smu.held.wait(W)

    def body() -> Plan:
        yield from bps.mv(bias, -5.0)
        yield from bps.checkpoint()
        if not pausers:
            hold_up()
        yield from bps.trigger(bias, group="reading")
        if not pausers:
            pausers.append(threading.Thread(target=engine.request_pause, args=(False,)))
            pausers[0].start()
        yield from bps.wait("reading")
        yield from bps.create("readings")
        yield from bps.read(bias)
        yield from bps.save()

    bias.voltage.subscribe(look, run=False)
    with pytest.raises(RunEngineInterrupted):
        engine(bpp.stage_wrapper(bpp.run_wrapper(body()), [bias]))
    pausers[0].join(W)
    assert bias.unsafe is None
    assert not smu.output
    engine.resume()
    events = [doc for name, doc in documents if name == "event"]
    assert [event["data"]["bias_voltage"] for event in events] == [-5.0]
    assert math.isnan(seen[0])
    assert seen[1:] == [-5.0]
    assert documents[-1][1]["exit_status"] == "success"


def test_an_abort_from_a_pause_is_final(
    engine: RunEngine, bias: BiasSource, beam: BeamBlanker, smu: Any
) -> None:
    def body() -> Plan:
        yield from bps.mv(beam, "open", bias, -5.0)
        yield from bps.checkpoint()
        yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        engine(bpp.stage_wrapper(bpp.run_wrapper(body()), [bias, beam]))
    engine.abort("enough")
    assert not smu.output
    assert beam.blanked.get()
    bias.resume()
    beam.resume()
    assert not smu.output
    assert beam.blanked.get()


def test_a_halt_skips_the_plan_but_not_the_devices(
    engine: RunEngine, bias: BiasSource, beam: BeamBlanker, smu: Any
) -> None:
    def body() -> Plan:
        yield from bps.mv(beam, "open", bias, -5.0)
        yield from bps.checkpoint()
        yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        engine(bpp.stage_wrapper(bpp.run_wrapper(body()), [bias, beam]))
    engine.halt()
    assert not smu.output
    assert beam.blanked.get()


def test_at_the_prompt_a_set_ends_off(engine: RunEngine, bias: BiasSource, smu: Any) -> None:
    """The RunEngine stops all that a plan has set, also at a good end."""
    engine(bps.mv(bias, 3.0))
    assert ":SOUR:VOLT 3.0000000E+00" in smu.sent
    assert not smu.output
