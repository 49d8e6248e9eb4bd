"""What holds to rounding on every tick: charge, counts, contact angles, fusion, rest.

No statistics here: a correct model passes whatever the seed.
"""

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

KINDS = KineticModel.EVENT_KINDS
# Crystals that only move where they are told: no charge transfer, no facets, no walk.
FROZEN: dict[str, Any] = {
    "site_count": 0,
    "exchange_current_pA_nm2": 0.0,
    "migration_factor": 0.0,
    "switch_rate": 0.0,
}


def cap_factor(angle: float) -> float:
    """k_V: volume of a cap over the cube of the radius of its base."""
    tau = math.tan(0.5 * angle)
    return math.pi / 6.0 * tau * (3.0 + tau * tau)


class Cycles:
    """Four cycles of 1 s at -5 V and 1 s at +5 V, looked at on each of 8000 ticks."""

    def __init__(self) -> None:
        self.model = model = KineticModel(seed=8, site_count=220)
        rows, angles = [], []
        for tick in range(8000):
            bias = 5.0 if tick // 1000 % 2 else -5.0
            model.advance(1e-3, bias)
            status = model._status()
            crystals = model.particles
            angles.append(crystals["contact_angle_rad"])
            rows.append(
                (
                    bias,
                    status.volume * status.charge_per_nm3,
                    status.faradaic_charge,
                    status.particles,
                    status.events,
                    status.overpotential,
                    status.kirchhoff_residual,
                )
            )
        columns = np.array(rows).T
        self.bias, self.held, self.charge, _, _, self.eta, self.kirchhoff = columns
        self.count, self.event_number = columns[3].astype(int), columns[4].astype(int)
        self.angles = np.concatenate(angles)
        self.kinds = model.events["kind"]

    def number_so_far(self, kind: str) -> NDArray[np.int64]:
        """Events of this kind up to the end of each tick."""
        sums = np.concatenate([[0], np.cumsum(self.kinds == KINDS[kind])])
        return np.asarray(sums[self.event_number])


@pytest.fixture(scope="module")
def cycles() -> Cycles:
    """One run for all balances."""
    return Cycles()


def test_charge_is_on_the_fibre_on_every_tick(cycles: Cycles) -> None:
    assert cycles.number_so_far("merge")[-1] >= 91
    living = cycles.held > 0.0
    off = np.abs(cycles.held - cycles.charge)[living] / cycles.held[living]
    assert off.max() <= 1e-12
    assert living.sum() > 5000


def test_no_charge_is_left_after_complete_stripping(cycles: Cycles) -> None:
    ends = np.arange(1999, 8000, 2000)
    assert not cycles.count[ends].any()
    assert np.abs(cycles.charge[ends]).max() <= 1e-12 * cycles.charge.max()
    model = cycles.model
    assert model.deposited_charge == pytest.approx(model.stripped_charge, rel=1e-12)
    assert model.cycle == 3


def test_crystals_are_born_minus_merged_minus_gone(cycles: Cycles) -> None:
    born, merged, gone = (cycles.number_so_far(kind) for kind in ("birth", "merge", "gone"))
    np.testing.assert_array_equal(cycles.count, born - merged - gone)


def test_contact_angles_lie_between_receding_and_advancing(cycles: Cycles) -> None:
    angles = np.degrees(cycles.angles)
    assert angles.min() >= 30.0 - 1e-9
    assert angles.max() <= 60.0 + 1e-9
    assert (angles < 30.0 + 1e-9).sum() > 1000  # both ends are reached, and the way between
    assert (angles > 60.0 - 1e-9).sum() > 1000
    assert ((angles > 35.0) & (angles < 55.0)).sum() > 1000


def test_kirchhoff_holds_on_every_tick(cycles: Cycles) -> None:
    assert np.abs(cycles.kirchhoff).max() <= 1e-3
    assert np.median(np.abs(cycles.kirchhoff)) <= 2e-4


def test_no_crystal_is_born_while_stripping(cycles: Cycles) -> None:
    births = np.diff(cycles.number_so_far("birth"), prepend=0)
    assert births[cycles.bias < 0.0].sum() > 200
    assert not births[(cycles.bias > 0.0) & (cycles.eta <= 0.0)].any()
    stripping = (cycles.bias > 0.0) & (np.roll(cycles.bias, 1) > 0.0)
    assert (np.diff(cycles.count, prepend=0)[stripping] <= 0).all()


def test_kirchhoff_residual_falls_at_least_as_fast_as_the_tick() -> None:
    worst = []
    for tick_s in (2e-3, 1e-3, 5e-4):
        model = KineticModel(site_count=0, tick_s=tick_s)
        s = np.linspace(50.0, 1950.0, 20)
        model.place(s, 300.0, np.linspace(2e3, 6e4, 20))
        model.advance(0.1, -5.0)
        residuals = []
        for _ in range(100):
            model.advance(2e-3, -5.0)
            residuals.append(abs(model.kirchhoff_residual))
        worst.append(max(residuals))
    assert worst[1] <= 1e-3
    assert 0.0 < worst[1] <= 0.52 * worst[0]
    assert 0.0 < worst[2] <= 0.52 * worst[1]


def test_short_circuit_without_capillarity_changes_nothing() -> None:
    model = KineticModel(seed=2, kelvin=0)
    model.advance(0.5, -5.0)
    model.advance(0.1, 0.0)  # the double layer gives its charge away
    before, count, seen = model.lithium_volume_nm3, len(model.particles), model.event_count
    assert count > 20
    counts = []
    for _ in range(50):
        model.advance(0.1, 0.0)
        counts.append(len(model.particles))
    assert model.lithium_volume_nm3 == pytest.approx(before, rel=1e-9)
    assert counts == sorted(counts, reverse=True)
    assert KINDS["birth"] not in model.events_from(seen)["kind"]


def test_open_circuit_keeps_the_volume() -> None:
    model = KineticModel(seed=2)
    model.advance(0.8, -5.0)
    model.advance(0.1, None)  # the double layer discharges into the crystals
    before, seen = model.lithium_volume_nm3, model.event_count
    counts = [len(model.particles)]
    for _ in range(50):
        model.advance(0.1, None)
        counts.append(len(model.particles))
    assert model.lithium_volume_nm3 == pytest.approx(before, rel=2e-4)
    assert counts == sorted(counts, reverse=True)
    assert KINDS["birth"] not in model.events_from(seen)["kind"]
    assert model.current == 0.0


@pytest.mark.parametrize("detector", ["counting", "ccd"])
def test_frame_by_one_or_more_threads_is_the_same(detector: Literal["counting", "ccd"]) -> None:
    model = KineticModel(seed=2)
    model.advance(0.6, -5.0)

    def frame(threads: int) -> bytes:
        # An odd number of rows, so that the threads get unequal shares.
        return model.frame(
            shape=(203, 390), detector=detector, probe_nm=(-300.0, 200.0), threads=threads
        ).tobytes()

    alone = frame(1)
    assert len(set(alone)) > 10
    for threads in (2, 3, 8):
        assert frame(threads) == alone


angles = st.floats(math.radians(30.0), math.radians(60.0))
sizes = st.floats(10.0, 1e6)


@settings(max_examples=60, deadline=None)
@given(
    sizes,
    sizes,
    angles,
    angles,
    st.tuples(st.floats(0.1, 0.9), st.floats(-math.pi, math.pi)),
    st.floats(-200.0, 200.0),
    st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    st.tuples(st.floats(0.1, 3.0), st.floats(0.1, 3.0)),
)
def test_fusion_keeps_volume_and_centre_of_mass(
    large: float,
    small: float,
    angle: float,
    other_angle: float,
    apart: tuple[float, float],
    around: float,
    phi: tuple[float, float],
    feed: tuple[float, float],
) -> None:
    assume(large != small)
    model = KineticModel("fig2", 1, **FROZEN)
    period = 2.0 * math.pi * model.parameters["fibre_radius_nm"]
    reach = sum(math.cbrt(v / cap_factor(a)) for v, a in ((large, angle), (small, other_angle)))
    ds = apart[0] * reach * math.cos(apart[1])
    dy = apart[0] * reach * math.sin(apart[1])
    # Close to the seam of the strip, on either side of it.
    uids = model.place(
        [1000.0, 1000.0 + ds],
        [around, around + dy],
        [large, small],
        contact_angle_rad=[angle, other_angle],
        phi=phi,
        feed=feed,
    )
    model.advance(1e-3, None)
    (fused,) = model.particles
    total = large + small
    share = small / total
    assert abs(fused["volume_nm3"] - total) <= 4.0 * math.ulp(total)
    assert fused["s_nm"] == pytest.approx(1000.0 + share * ds, abs=1e-9)
    off = fused["y_nm"] - (around + share * dy)
    assert off - period * round(off / period) == pytest.approx(0.0, abs=1e-9)
    mean = (1.0 - share) * angle + share * other_angle
    assert fused["contact_angle_rad"] == pytest.approx(mean, abs=1e-9)
    assert fused["phi"] == pytest.approx((1.0 - share) * phi[0] + share * phi[1], abs=1e-12)
    assert fused["feed"] == pytest.approx((1.0 - share) * feed[0] + share * feed[1], rel=1e-12)
    assert fused["uid"] == uids[0 if large > small else 1]
    assert fused["neck_nm"] == pytest.approx(apart[0] * reach, rel=1e-9)
    assert fused["neck_share"] == pytest.approx(min(share, 1.0 - share), rel=1e-12)
    (event,) = model.events[model.events["kind"] == KINDS["merge"]]
    assert event["other"] == uids[1 if large > small else 0]
    booked = model.placed_volume_nm3 + model.faradaic_charge / model.charge_per_nm3
    assert model.lithium_volume_nm3 == pytest.approx(booked, rel=1e-15)


@settings(max_examples=60, deadline=None)
@given(sizes, angles)
def test_angle_volume_and_base_fit_together(volume: float, angle: float) -> None:
    model = KineticModel("fig2", 1, **FROZEN)
    model.place(500.0, 0.0, volume, contact_angle_rad=angle)
    (crystal,) = model.particles
    base = math.cbrt(volume / cap_factor(angle))
    assert crystal["contact_angle_rad"] == pytest.approx(angle, abs=1e-12)
    assert crystal["base_radius_nm"] == pytest.approx(base, rel=1e-13)
    assert crystal["height_nm"] == pytest.approx(base * math.tan(0.5 * angle), rel=1e-12)
    assert crystal["radius_nm"] == pytest.approx(base / math.sin(angle), rel=1e-12)
    segment = crystal["radius_nm"] ** 2 * (angle - math.sin(angle) * math.cos(angle))
    assert crystal["side_area_nm2"] == pytest.approx(segment, rel=1e-11)


def test_stripping_pins_the_line_down_to_30_degrees_and_lets_it_slide_there() -> None:
    """The line holds until V = k_V(30)/k_V(60) = 0.4277 of the volume at 60 degrees."""
    model = KineticModel("fig2", 1, **(FROZEN | {"exchange_current_pA_nm2": 1.5e-5, "kelvin": 0}))
    radii = np.array([60.0, 63.0, 66.0, 69.0, 72.0])
    model.place([200.0, 500.0, 900.0, 1300.0, 1700.0], 0.0, 5.0 * math.pi / 24.0 * radii**3)
    start = np.sort(model.particles, order="uid")
    crystals = start
    while len(crystals) == 5:
        ratio = crystals["volume_nm3"] / start["volume_nm3"]
        held = crystals["base_radius_nm"] == start["base_radius_nm"]
        assert (held == (ratio > 0.427688)).all()
        slid = crystals[~held]
        np.testing.assert_allclose(slid["contact_angle_rad"], math.pi / 6.0, atol=1e-9)
        model.advance(1e-3, 2.0)
        crystals = np.sort(model.particles, order="uid")
    depinned = model.events[model.events["kind"] == KINDS["depin"]]
    assert len(depinned) == 5
    whole = dict(zip(start["uid"], start["volume_nm3"], strict=True))
    ratios = [event["volume_nm3"] / whole[event["uid"]] for event in depinned]
    np.testing.assert_allclose(ratios, 0.427688, rtol=0.01)
    assert cap_factor(math.pi / 6.0) / cap_factor(math.pi / 3.0) == pytest.approx(
        0.427688, abs=1e-6
    )
