"""The protocols of the paper's experiments, each on the bench that is its specimen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from stmtem_control.config import load_station
from stmtem_control.plans import follow_protocol
from stmtem_control.plans.timetable import whole_frames
from stmtem_control.protocol import Protocol, read_protocol
from stmtem_control.recording.frame_table import read_table
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

FOLDER = Path(__file__).resolve().parents[2] / "protocols"
PAGE = FOLDER.parent / "docs" / "reference" / "protocols.md"
#: Specimen of the bench, its speed, and the frame rate (Hz) that shall do here.
BENCHES = {
    "nucleation_burst": ("fig2", 5.0, 25.0),
    "small_particles": ("fig2", 5.0, 25.0),
    "local_facets": ("fig3b", 15.0, 2.0),
    "large_crystal": ("fig3c", 20.0, 2.0),
    "several_cycles": ("fig2", 8.0, 10.0),
    "several_fibres": ("fibres", 8.0, 5.0),
    "beam_blocked": ("fig2", 10.0, 5.0),
    "irradiation": ("fig2", 8.0, 5.0),
    "diffraction_of_nuclei": ("fig2", 10.0, 10.0),
}


class Ran:
    """A protocol on its bench, and what the bench knows of the specimen as each step ended."""

    def __init__(self, name: str, data: Path) -> None:
        preset, speed, rate = BENCHES[name]
        self.protocol = _quick(read_protocol(FOLDER / f"{name}.yaml"), rate)
        self.steps: list[tuple[str, Any]] = []
        station = load_station("sim").with_bench(speed=speed, size=256, preset=preset)
        station = station.with_data(data).with_safe(guard=False)
        with Bench(speed=speed, size=256, seed=1, preset=preset) as bench:
            bench.specimen.step(2, 421.0)  # in contact: approaches have tests of their own
            self.model = bench.specimen.model
            with Session(station, addresses=bench.addresses.as_dict()) as session:
                session.RE.subscribe(self._look)
                self.outcome: Outcome = session.run(
                    follow_protocol(
                        session.bias,
                        session.camera,
                        session.beam,
                        session.probe,
                        self.protocol,  # type: ignore[arg-type]
                        ask=lambda question: _turn(bench, question),
                    )
                )
            self.safe = all(bench.safe().values())

    def _look(self, name: str, doc: dict[str, Any]) -> None:
        if name == "event" and doc["data"].get("step_state") == "end":
            self.steps.append((doc["data"]["step_kind"], self.model.particles.copy()))

    def particles(self, kind: str) -> list[Any]:
        """Return the particles as each step of a kind ended."""
        return [found for step, found in self.steps if step == kind]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        assert self.outcome.folder is not None
        return self.outcome.folder


def _quick(protocol: Protocol, rate_Hz: float) -> Protocol:
    """Return a protocol without its approach, and with as few frames as will do."""
    steps = tuple(s for s in protocol.steps if s.kind not in ("approach", "leakage_baseline"))
    exposure_s = min(protocol.camera.exposure_s, 0.8 / rate_Hz)
    camera = protocol.camera.model_copy(update={"rate_Hz": rate_Hz, "exposure_s": exposure_s})
    return protocol.model_copy(update={"steps": steps, "camera": camera})


def _turn(bench: Bench, question: Any) -> str:
    if question.mode:
        bench.turn(question.mode, question.camera_length_m or None)
    return "done"


@pytest.fixture
def ran(request: pytest.FixtureRequest, tmp_path: Path) -> Ran:
    """Provide a protocol that has run to its end."""
    found = Ran(request.param, tmp_path)
    assert found.outcome.error is None
    assert found.outcome.exit_code == 0
    assert found.safe
    return found


def frames(ran: Ran) -> int:
    """Return how many frames came, recorded or lost."""
    return ran.outcome.frames + ran.outcome.dropped


def shipped(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ran", [name], indirect=True)


def test_every_protocol_has_a_bench_and_a_line_in_the_reference() -> None:
    names = {path.stem for path in FOLDER.glob("*.yaml")}
    assert names == set(BENCHES)
    page = PAGE.read_text("utf-8")
    for name in names:
        protocol = read_protocol(FOLDER / f"{name}.yaml")
        assert protocol.shows
        assert f"[{protocol.name}](../../protocols/{name}.yaml)" in page
        assert protocol.shows in page


@shipped("nucleation_burst")
def test_nucleation_burst(ran: Ran) -> None:
    assert frames(ran) == whole_frames(0.5 + 1.2 + 2.0, 25.0)
    assert len(ran.particles("deposit")[0]) > 20
    assert len(ran.particles("strip")[0]) == 0


@shipped("small_particles")
def test_small_particles(ran: Ran) -> None:
    (grown,) = ran.particles("deposit")
    assert len(grown) > 10
    assert np.percentile(grown["diameter_nm"], 95) < 120.0
    assert len(ran.particles("rest")[0]) <= 0.2 * len(grown)


@shipped("local_facets")
def test_local_facets(ran: Ran) -> None:
    (grown,) = ran.particles("deposit")
    large = grown[grown["diameter_nm"] > 100.0]
    assert len(large) > 0
    assert np.mean(large["phi"] >= 0.1) > 0.5
    assert sum(ran.particles("rest")[0]["volume_nm3"]) < 0.2 * sum(grown["volume_nm3"])


@shipped("large_crystal")
def test_large_crystal(ran: Ran) -> None:
    (grown,) = ran.particles("deposit")
    largest = grown[grown["volume_nm3"].argmax()]
    assert largest["phi"] > 0.9
    assert largest["diameter_nm"] > 200.0
    assert sum(ran.particles("rest")[0]["volume_nm3"]) < 0.2 * sum(grown["volume_nm3"])


@shipped("several_cycles")
def test_several_cycles(ran: Ran) -> None:
    assert frames(ran) == whole_frames(0.5 + 5 * 2.5, 10.0)
    assert [len(found) > 10 for found in ran.particles("deposit")] == [True] * 5
    assert {row["cycle"] for row in read_table(ran.folder)} >= {1, 2}


@shipped("several_fibres")
def test_several_fibres(ran: Ran) -> None:
    (grown,) = ran.particles("deposit")
    fibres = np.unique(grown["fibre"])
    assert len(fibres) == 3
    volumes = [sum(grown["volume_nm3"][grown["fibre"] == fibre]) for fibre in fibres]
    assert volumes == sorted(volumes, reverse=True)


@shipped("beam_blocked")
def test_beam_blocked(ran: Ran) -> None:
    (lit,), (dark,) = ran.particles("deposit"), ran.particles("blank")
    volumes = [sum(found["volume_nm3"]) for found in (lit, dark)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.35)  # edges jitter, at this speed
    looks = [row for row in read_table(ran.folder) if row["phase"] == "snapshot"]
    assert len(looks) == 3
    assert frames(ran) == whole_frames(10.5, 5.0) + 3 + whole_frames(6.5, 5.0)


@shipped("irradiation")
def test_irradiation(ran: Ran) -> None:
    (grown,), (rested,) = ran.particles("deposit"), ran.particles("rest")
    assert sum(rested["volume_nm3"]) > 0.5 * sum(grown["volume_nm3"])
    rest = [row for row in read_table(ran.folder) if row["phase"] == "rest"]
    dose = rest[-1]["total_dose_e_per_A2"] - rest[0]["total_dose_e_per_A2"]
    assert dose == pytest.approx(300.0, rel=0.1)


@shipped("diffraction_of_nuclei")
def test_diffraction_of_nuclei(ran: Ran) -> None:
    table = read_table(ran.folder)
    places = [row["frame"] for row in table if row["mode"] == "diffraction"]
    assert len(places) == 10
    assert sum(row["mode"] == "survey" for row in table) == 2
    with tifffile.TiffFile(ran.folder / "frames_0000.tif") as file:
        before, after = (
            np.sum([file.pages[int(n)].asarray().astype(float) for n in five], axis=0)
            for five in (places[1:5], places[6:10])
        )

    # Spots: pixels far above the ring they are in.
    def spots(pattern: Any) -> int:
        y, x = np.indices(pattern.shape)
        ring = np.hypot(y - 127.5, x - 127.5).astype(int)
        typical = np.array([np.median(pattern[ring == r]) for r in range(ring.max() + 1)])
        beside_the_stop = (ring >= 45) & (ring <= 125)
        return int(np.sum(beside_the_stop & (pattern > 3.0 * typical[ring] + 30.0)))

    assert spots(before) == 0
    assert spots(after) >= 3
