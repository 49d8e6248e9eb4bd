"""The column of the bench, turned by hand: what its camera then shows."""

from collections.abc import Iterator

import numpy as np
import pytest

from stmtem_control.bench_process import BenchProcess
from stmtem_control.errors import ConfigError
from stmtem_control.simulators import Bench
from stmtem_control.simulators.bench_orders import BenchOrders
from stmtem_control.simulators.optics import Optics
from stmtem_control.station_tables import BenchTable

SHAPE = (256, 256)


@pytest.fixture
def lit(bench: Bench) -> Iterator[Bench]:
    """Provide a bench whose beam is open."""
    bench.specimen.force_blank(False)
    yield bench
    bench.specimen.force_blank(True)


def look(bench: Bench, index: int = 0) -> np.ndarray:
    """Return an exposure of a tenth of a second that ends now."""
    now = bench.clock.now()
    bench.specimen._beam._times[-1] = now - 1.0
    return bench.specimen.image(now - 0.1, now, SHAPE, index)


def test_each_mode_shows_another_picture(lit: Bench) -> None:
    image = look(lit)
    lit.turn("survey")
    survey = look(lit)
    lit.turn("diffraction", 0.5)
    pattern = look(lit)
    lit.turn("imaging")
    again = look(lit)
    # The image is bright where nothing is, the survey dark; the tip is the brightest there.
    assert np.median(image) > 20
    assert np.median(survey) < 5
    assert survey[110:146, :60].mean() > 5.0 * survey.mean()
    # The pattern is round: a ring, with the shadow of the beam stop in the middle.
    assert pattern[120:136, 120:136].max() == 0
    ring = pattern[128, 180:200].mean()
    assert ring == pytest.approx(pattern[128, 56:76].mean(), rel=0.2)
    assert ring > 2.0 * pattern[128, 250:].mean()
    assert again.mean() == pytest.approx(image.mean(), rel=0.05)


def test_the_camera_length_scales_the_pattern(lit: Bench) -> None:
    def stop_px(camera_length_m: float) -> int:
        lit.turn("diffraction", camera_length_m)
        return int(np.flatnonzero(look(lit)[128, 128:])[0])

    assert stop_px(0.6) == pytest.approx(2.0 * stop_px(0.3), rel=0.1)


def test_a_blanked_beam_shows_nothing_in_any_mode(bench: Bench) -> None:
    for mode in ("survey", "diffraction"):
        bench.turn(mode)
        now = bench.clock.now()
        assert bench.specimen.image(now - 0.1, now, SHAPE, 0).max() == 0


@pytest.mark.parametrize(
    ("mode", "value", "words"),
    [
        ("stem", None, "no mode 'stem' of the column; there are imaging, survey, diffraction"),
        ("imaging", 2.0, "imaging takes no value"),
        ("survey", 5.0, "give 100 to 1e"),
        ("diffraction", float("nan"), "give 0.01 to 100"),
    ],
)
def test_what_the_column_cannot_be_turned_to(mode: str, value: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words.split(";")[0][:20]) as refusal:
        Optics.turned(mode, value)
    assert words in str(refusal.value)


def test_the_column_is_turned_by_orders(bench: Bench) -> None:
    orders = BenchOrders(bench)
    assert orders.answer("turn diffraction 0.4")["value"] == 0.4
    assert (bench.specimen.optics.mode, bench.specimen.optics.value) == ("diffraction", 0.4)
    assert orders.answer("turn survey")["value"] == 6000.0
    assert orders.answer("turn imaging")["mode"] == "imaging"
    assert "no mode 'stem'" in orders.answer("turn stem")["error"]
    assert "could not convert" in orders.answer("turn survey wide")["error"]
    assert bench.specimen.optics.mode == "imaging"


def test_a_bench_of_its_own_is_turned_from_outside() -> None:
    bench = BenchProcess(BenchTable(seed=1, size=256))
    try:
        bench.turn("diffraction", 0.25)
        bench.turn("imaging")
        with pytest.raises(ConfigError, match="no mode"):
            bench.turn("sideways")
    finally:
        bench.close()
