"""The Python face of the kinetic model: time, charge, state, threads, bad input."""

import json
import math
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.simulators import KineticModel

KINDS = KineticModel.EVENT_KINDS


def imbalance(model: KineticModel) -> float:
    """Relative difference of lithium on the fibre and charge that went there."""
    volume = model.lithium_volume_nm3
    booked = model.faradaic_charge / model.charge_per_nm3
    return abs(volume - booked) / volume if volume else abs(booked) * 1e-7


def same_state(one: KineticModel, other: KineticModel) -> bool:
    """Tell whether two models agree to the last bit."""
    return (
        one.particles.tobytes() == other.particles.tobytes()
        and one.events.tobytes() == other.events.tobytes()
        and (one.ticks, one.overpotential, one.charge)
        == (other.ticks, other.overpotential, other.charge)
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 0.05), min_size=1, max_size=20), st.floats(-6.0, 6.0))
def test_chopping_the_same_waveform_changes_no_bit(pieces: list[float], bias: float) -> None:
    chopped, whole = KineticModel(seed=2), KineticModel(seed=2)
    for model in (chopped, whole):
        model.advance(0.3, -5.0)
    for piece in pieces:
        chopped.advance(piece, bias)
    # The whole time in picoseconds, as the core counts it.
    whole.advance(sum(round(piece * 1e12) for piece in pieces) / 1e12, bias)
    assert same_state(chopped, whole)


def test_seed_names_the_run() -> None:
    one, same, other = KineticModel(seed=4), KineticModel(seed=4), KineticModel(seed=5)
    for model in (one, same, other):
        model.advance(0.5, -5.0)
    assert same_state(one, same)
    assert not same_state(one, other)


def test_remainder_is_carried() -> None:
    model = KineticModel()
    for _ in range(10):
        model.advance(0.0003, -5.0)
    assert model.ticks == 3
    assert model.time == 0.003


def test_zero_bias_and_open_circuit_start_nothing() -> None:
    for bias in (0.0, None):
        model = KineticModel()
        model.advance(1.0, bias)
        assert len(model.particles) == 0
        assert model.current == 0.0
        assert model.charge == 0.0
        assert model.overpotential == 0.0


def test_meter_reads_the_loop() -> None:
    model = KineticModel(site_count=0)
    model.advance(0.001, -5.0)
    spike = model.current
    assert spike == pytest.approx(-20e-12 * 5.0 / 1e-3, rel=0.02)  # stray capacitance
    model.advance(0.2, -5.0)
    steady = -(5.0 / 20.66e9 + 5.0 / 1e12)
    assert model.current == pytest.approx(steady, rel=1e-6)
    assert model.overpotential == pytest.approx(5.0 * 0.66 / 20.66, rel=1e-6)
    before = model.charge
    model.advance(0.1, -5.0)
    assert (model.charge - before) / 0.1 == pytest.approx(steady, rel=1e-6)
    model.advance(0.1, -5.0, series_GOhm=20.0)
    assert model.current == pytest.approx(-(5.0 / 40.66e9 + 5.0 / 1e12), rel=1e-3)
    model.advance(0.1, -5.0, series_GOhm=math.inf)
    assert model.current == pytest.approx(-5.0 / 1e12, rel=1e-6)
    model.advance(0.1, None)
    assert model.current == 0.0


def test_ramp_charges_the_cable() -> None:
    model = KineticModel(site_count=0, double_layer_pF=1e-3)
    model.advance(0.5, 0.0, bias_end=-1.0)
    loop = -(1.0 / 20.66e9 + 1.0 / 1e12)
    assert model.current == pytest.approx(loop - 20e-12 * 2.0, rel=0.01)


def test_beam_without_coupling_changes_no_bit() -> None:
    dark, lit = KineticModel(seed=6), KineticModel(seed=6)
    dark.advance(0.6, -5.0)
    lit.advance(0.6, -5.0, beam_e_per_A2_s=100.0)
    assert same_state(dark, lit)
    eroded = KineticModel(seed=6, beam_erosion_nm3=1e-4)
    eroded.advance(0.6, -5.0, beam_e_per_A2_s=100.0)
    assert eroded.eroded_volume_nm3 > 0.0
    left = eroded.lithium_volume_nm3 + eroded.eroded_volume_nm3
    assert left == pytest.approx(eroded.faradaic_charge / eroded.charge_per_nm3, rel=1e-12)


@pytest.mark.parametrize("preset", ["na", "k"])
def test_other_metals_grow_and_balance(preset: str) -> None:
    model = KineticModel(preset)
    model.advance(0.8, -5.0)
    assert len(model.particles) > 5
    assert imbalance(model) <= 1e-12


def test_events_are_counted_and_ordered() -> None:
    model = KineticModel(seed=1)
    model.advance(0.5, -5.0)
    seen = model.event_count
    model.advance(0.5, -5.0)
    events, late = model.events, model.events_from(seen)
    assert len(events) == model.event_count
    assert late.tobytes() == events[seen:].tobytes()
    assert (np.diff(events["time_s"]) >= -1e-3).all()  # births lie within their tick
    born = (events["kind"] == KINDS["birth"]).sum()
    ended = np.isin(events["kind"], [KINDS["merge"], KINDS["gone"]]).sum()
    assert born - ended == len(model.particles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "fig2b"}, "did you mean 'fig2'"),
        ({"preset": "gold"}, "unknown preset 'gold'; known: fig2"),
        ({"site_coun": 3}, "did you mean 'site_count'"),
        ({"site_count": -1}, "site_count must lie in 0"),
        ({"site_count": 1.5}, "whole number"),
        ({"temperature_K": math.nan}, "temperature_K must lie in 50 ... 1500, not nan"),
        ({"temperature_K": "warm"}, "must be a number"),
        ({"receding_angle_deg": 80.0}, "must not exceed"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 1.0}, "seed must be a whole number"),
    ],
)
def test_bad_parameters_raise(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("?", r"\?")) as error:
        KineticModel(**arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "bias", "options"),
    [
        (-1.0, 0.0, {}),
        (math.nan, 0.0, {}),
        (1e9, 0.0, {}),
        (1.0, math.nan, {}),
        (1.0, 5e3, {}),
        (1.0, None, {"bias_end": 1.0}),
        (1.0, 1.0, {"bias_end": math.inf}),
        (1.0, 1.0, {"series_GOhm": -1.0}),
        (1.0, 1.0, {"beam_e_per_A2_s": math.inf}),
    ],
)
def test_bad_advance_raises(seconds: float, bias: float | None, options: dict[str, float]) -> None:
    model = KineticModel()
    with pytest.raises(ValueError, match=r"must lie in|open circuit"):
        model.advance(seconds, bias, **options)
    assert model.ticks == 0


def test_parameters_are_read_only() -> None:
    model = KineticModel("fig3b", seed=12, site_count=7)
    assert (model.preset, model.seed) == ("fig3b", 12)
    assert model.parameters["site_count"] == 7.0
    assert model.parameters["fibre_count"] == 3.0
    with pytest.raises(TypeError):
        model.parameters["site_count"] = 8.0  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert "fig3b" in repr(model)


def test_other_threads_run_while_the_core_computes() -> None:
    model = KineticModel(seed=1)
    done = threading.Event()
    span = [0.0, 0.0]

    def compute() -> None:
        span[0] = time.perf_counter()
        model.advance(20.0, -5.0)
        span[1] = time.perf_counter()
        done.set()

    worker = threading.Thread(target=compute)
    worker.start()
    last, longest = time.perf_counter(), 0.0
    while not done.is_set():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    worker.join()
    # A core that kept the interpreter would stop this thread for the whole call.
    assert longest < 0.5 * (span[1] - span[0])
    assert model.ticks == 20000


def test_saved_state_goes_on_as_if_never_stopped() -> None:
    straight = KineticModel(seed=5, plating_limit_pA_nm=0.1)
    straight.advance(0.7003, -5.0)
    resumed = KineticModel.restore(straight.save())
    assert same_state(straight, resumed)
    assert (resumed.preset, resumed.seed) == ("fig2", 5)
    for model in (straight, resumed):
        model.advance(0.3, 5.0)
        model.advance(0.3998, -5.0)
    assert same_state(straight, resumed)
    np.testing.assert_array_equal(straight.frame(shape=(64, 64)), resumed.frame(shape=(64, 64)))


def test_a_state_file_is_whole_or_not_there(tmp_path: Path) -> None:
    model = KineticModel("fig3b", seed=5, site_count=20)
    model.advance(0.4, -5.0)
    path = tmp_path / "specimen.state"
    state = model.save(path)
    assert path.read_bytes() == state
    assert [entry.name for entry in tmp_path.iterdir()] == ["specimen.state"]
    resumed = KineticModel.restore(path)
    for one in (model, resumed):
        one.advance(0.2, 5.0)
    assert same_state(model, resumed)
    with pytest.raises(OSError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "specimen.state")
    with pytest.raises(FileNotFoundError):
        KineticModel.restore(tmp_path / "other.state")


def test_a_state_of_another_version_is_refused_by_name() -> None:
    state = KineticModel().save()
    head, _, body = state.partition(b"\n")
    values = json.loads(head) | {"version": 3}
    with pytest.raises(ValueError, match="version 3, this program reads version 4"):
        KineticModel.restore(json.dumps(values).encode() + b"\n" + body)


def test_damaged_states_are_refused() -> None:
    model = KineticModel(seed=5)
    model.advance(0.3, -5.0)
    state = model.save()
    flipped = bytearray(state)
    flipped[-1000] ^= 1
    foreign = state.replace(b'"seed": 5', b'"seed": 6')
    for bad in (b"", b"{}\n", b"[]\n", state[:-8], state[:100], bytes(flipped), foreign):
        with pytest.raises(ValueError, match="cannot restore the state"):
            KineticModel.restore(bad)


def test_two_threads_may_advance_one_model() -> None:
    shared, alone = KineticModel(seed=9), KineticModel(seed=9)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        for _ in range(200):
            shared.advance(0.001, -5.0)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone.advance(0.4, -5.0)
    assert same_state(shared, alone)
