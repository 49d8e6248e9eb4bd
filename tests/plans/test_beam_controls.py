"""Beam controls on the bench: matched runs, and a beam that is open for the snapshots only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.errors import LimitError
from stmtem_control.plans import beam_blocked_control, beam_irradiation_control
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

from .test_biasing_plans import all_safe, check_agreement, documents, rows

SPEED = 10.0
OPENING_S = 1.0  # of bench time: what camera and blanker take to answer on a busy computer
Still = Callable[[], float]


@pytest.fixture
def contact(session: Session, bench: Bench) -> Session:
    """Provide a session with the probe in contact already."""
    bench.specimen.step(2, 41.0)
    return session


def devices(session: Session) -> tuple[Any, Any, Any]:
    return session.bias, session.camera, session.beam


class OpenTime:
    """Adds up, asking the bench, how long the beam was on the specimen in each run."""

    def __init__(self, session: Session, bench: Bench) -> None:
        self.seconds: dict[str, float] = {}
        self.folders: dict[str, Path] = {}
        self.starts: list[dict[str, Any]] = []
        self.charges_C: dict[str, float] = {}
        self._bench = bench
        self._session = session
        self._begun = 0.0
        session.RE.subscribe(self)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Look at the bench at the start and the end of each run."""
        now = self._bench.clock.now()
        if name == "start":
            self.starts.append(doc)
            self._begun = now
        elif name == "stop":
            condition = self.starts[-1].get("condition", "run")
            self.seconds[condition] = self._bench.specimen.exposed(self._begun, now)
            folder = self._session.run_folder.folder
            assert folder is not None
            self.folders[condition] = folder


def test_matched_runs(contact: Session, bench: Bench, stood_still_s: Still) -> None:
    seen = OpenTime(contact, bench)
    outcome = contact.run(
        beam_blocked_control(
            *devices(contact),
            deposit_s=6.0,
            strip_s=6.0,
            snapshots_s=(3.0,),
            snapshot_frames=2,
            frame_rate_Hz=5.0,
            exposure_s=0.15,
        )
    )
    assert outcome.error is None
    assert all_safe(bench)
    assert [start["condition"] for start in seen.starts] == ["beam_on", "blanked", "no_bias"]
    assert [start["control_order"] for start in seen.starts] == [0, 1, 2]
    assert len({start["control_group"] for start in seen.starts}) == 1
    phases = {}
    for condition, folder in seen.folders.items():
        check_agreement(folder)
        phases[condition] = {row["phase"]: row for row in rows(folder)}
    # The blanked run has frames of its four snapshots only, and no more light than they took.
    assert set(phases["blanked"]) == {"before", "snapshot", "after", "stripped"}
    most_s = 4 * (2.5 * 0.2 + OPENING_S + SPEED * stood_still_s())
    assert 4 * 2 * 0.2 < seen.seconds["blanked"] < most_s
    assert set(phases["beam_on"]) == {"before", "deposit", "after", "stripped"}
    assert set(phases["no_bias"]) == {"before", "irradiate", "after"}
    assert seen.seconds["beam_on"] > 6.0 + 3 * 2 * 0.2
    # The snapshot within the deposition was taken at the bias, and all of it under the beam.
    inside = [row for row in rows(seen.folders["blanked"]) if row["phase"] == "snapshot"]
    assert len(inside) >= 2
    assert {float(row["bias_set_V"]) for row in inside} == {-5.0}
    assert float(inside[0]["dose_e_per_A2"]) == pytest.approx(0.15 * 20.0, rel=1e-3)
    # Without bias the output stayed off: there is not one reading.
    streams = {
        doc["name"] for name, doc in documents(seen.folders["no_bias"]) if name == "descriptor"
    }
    assert streams == {"frames"}
    # Both deposited the same, as far as the charge tells.
    charges = {}
    for condition in ("beam_on", "blanked"):
        deposits = [
            (doc["time"], doc["data"]["bias_current"])
            for name, doc in documents(seen.folders[condition])
            if name == "event" and doc["data"].get("bias_voltage", 0.0) < -1.0
        ]
        assert deposits[-1][0] - deposits[0][0] > 0.4  # wall seconds, at speed 10
        charges[condition] = sum(current for _, current in deposits) / len(deposits)
    assert charges["beam_on"] == pytest.approx(charges["blanked"], rel=0.05)


def test_the_order_is_random_but_fixed(contact: Session, bench: Bench) -> None:
    orders = []
    for _ in range(2):
        seen = OpenTime(contact, bench)
        outcome = contact.run(
            beam_blocked_control(
                *devices(contact),
                conditions=["no_bias"] * 3 + ["blanked"],
                deposit_s=0.5,
                strip_s=0.5,
                snapshot_frames=1,
                frame_rate_Hz=10.0,
                exposure_s=0.08,
                shuffle_seed=5,
            )
        )
        assert outcome.error is None
        orders.append([start["condition"] for start in seen.starts][-4:])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == ["blanked", "no_bias", "no_bias", "no_bias"]
    assert orders[0] != ["no_bias"] * 3 + ["blanked"]


def test_irradiation(contact: Session, bench: Bench, stood_still_s: Still) -> None:
    seen = OpenTime(contact, bench)
    outcome = contact.run(
        beam_irradiation_control(
            *devices(contact),
            doses_e_per_A2=[20.0, 60.0],
            rest_s=5.0,  # half a second of the wall, so that it has exposures within it
            frame_rate_Hz=5.0,
            exposure_s=0.15,
        )
    )
    assert outcome.error is None
    assert outcome.folder is not None
    assert all_safe(bench)
    check_agreement(outcome.folder)
    # 60 e/A^2 at 20 e/A^2/s.
    late_s = OPENING_S + SPEED * stood_still_s()
    assert seen.seconds["run"] == pytest.approx(3.0, abs=late_s)
    table = rows(outcome.folder)
    stages = {(row["phase"], row["cycle"]) for row in table if row["phase"] == "irradiate"}
    assert {("irradiate", "1"), ("irradiate", "2")} <= stages
    rest = [row for row in table if row["phase"] == "rest"]
    # The exposures at both ends of a rest can be lit in part.
    assert 0.0 in {float(row["dose_e_per_A2"]) for row in rest}
    assert bench.specimen.charge() == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"conditions": ["beam_off"]}, "'beam_off'; one of beam_on, blanked, no_bias"),
        ({"conditions": []}, "none is given"),
        ({"deposit_V": 5.0}, "deposit_V is 5 V; give a bias below zero"),
        ({"strip_V": -5.0}, "above zero"),
        ({"strip_s": 0.0}, "strip_s is 0; give a positive number"),
        ({"rest_s": -1.0}, "rest_s is -1"),
        ({"snapshots_s": [2.0, 1.0], "deposit_s": 3.0}, "rising times between 0 and deposit_s"),
        ({"snapshots_s": [3.0], "deposit_s": 3.0}, "rising times"),
        ({"snapshot_frames": 0}, "snapshot_frames is 0"),
        ({"shuffle_seed": "x"}, "shuffle_seed is 'x'"),
        ({"exposure_s": 1.0}, "does not fit"),
    ],
)
def test_bad_input_moves_nothing(
    contact: Session, bench: Bench, options: dict[str, Any], words: str
) -> None:
    outcome = contact.run(beam_blocked_control(*devices(contact), **options))
    assert outcome.folder is None
    assert isinstance(outcome.error, LimitError)
    assert words in outcome.reason
    assert bench.specimen.charge() == 0.0


@pytest.mark.parametrize("doses", [[], [0.0], [10.0, 10.0], [20.0, 10.0]])
def test_doses_must_rise(contact: Session, doses: list[float]) -> None:
    outcome = contact.run(beam_irradiation_control(*devices(contact), doses_e_per_A2=doses))
    assert "rising totals above 0" in outcome.reason
