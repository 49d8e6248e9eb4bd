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
