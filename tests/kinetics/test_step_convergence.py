"""How far the deposit depends on the tick: the answer must settle as the tick shrinks."""

import pytest

from stmtem_control.simulators import KineticModel

FINEST = 2.5e-4
BOUNDS = {4e-3: 4e-4, 2e-3: 2e-4, 1e-3: 1e-4, 5e-4: 5e-5}


@pytest.fixture(scope="module", params=[1, 2, 3])
def deposits(request: pytest.FixtureRequest) -> dict[float, KineticModel]:
    """The same deposition of 2 s at -5 V with several ticks; without the walk, whose steps differ.

    Nucleation draws from thresholds that do not depend on the tick, so the runs differ by the
    error of the integration only.
    """
    runs = {}
    for tick_s in (*BOUNDS, FINEST):
        runs[tick_s] = KineticModel(seed=request.param, tick_s=tick_s, migration_factor=0.0)
        runs[tick_s].advance(2.0, -5.0)
    return runs


@pytest.mark.parametrize("tick_s", BOUNDS)
def test_volume_after_two_seconds(deposits: dict[float, KineticModel], tick_s: float) -> None:
    found = deposits[tick_s].lithium_volume_nm3 / deposits[FINEST].lithium_volume_nm3
    assert found == pytest.approx(1.0, abs=BOUNDS[tick_s])
    assert found != 1.0


def test_same_crystals_are_born_and_fuse(deposits: dict[float, KineticModel]) -> None:
    for kind in ("birth", "merge"):
        number = KineticModel.EVENT_KINDS[kind]
        counts = [int((model.events["kind"] == number).sum()) for model in deposits.values()]
        assert len(set(counts)) == 1
        assert counts[0] > 10


def test_volume_left_by_stripping() -> None:
    left = []
    for tick_s in (*BOUNDS, FINEST):
        model = KineticModel(tick_s=tick_s, site_count=0, migration_factor=0.0)
        model.place([300.0, 900.0, 1500.0], 0.0, [2e5, 3e5, 4e5])
        model.advance(0.2, 5.0)
        left.append(model.lithium_volume_nm3)
    assert 0.5 < left[-1] / 9e5 < 0.7
    # The double layer is reversed in a fraction of the first tick: twice the bounds of plating.
    for volume, bound in zip(left, BOUNDS.values(), strict=False):
        assert volume == pytest.approx(left[-1], rel=2.0 * bound)


@pytest.mark.parametrize(
    ("kind", "bias", "seconds"), [("merge", -5.0, 0.6), ("depin", 2.0, 1.0), ("gone", 2.0, 2.5)]
)
def test_events_have_their_time_within_a_tick(kind: str, bias: float, seconds: float) -> None:
    times = []
    for tick_s in (4e-3, 1e-4):
        model = KineticModel(tick_s=tick_s, site_count=0, migration_factor=0.0)
        # Three pairs that grow towards each other and touch one after the other.
        s = [300.0, 367.0, 800.0, 869.0, 1300.0, 1371.0]
        model.place(s, 0.0, [3e4, 3.1e4, 3.2e4, 3.3e4, 3.4e4, 3.5e4])
        model.advance(seconds, bias)
        found = model.events[model.events["kind"] == model.EVENT_KINDS[kind]]
        times.append(found["time_s"])
    assert len(times[0]) == len(times[1]) == (3 if kind == "merge" else 6)
    # Dated at the ends of their ticks, six would all be this near once in 16 000 times.
    assert abs(times[0] - times[1]).max() < 0.2 * 4e-3
