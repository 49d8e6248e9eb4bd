"""The C objects themselves: whatever they are given, they do it or raise, and never crash.

The Python face above them names what it refuses: SpecimenError.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.errors import SpecimenError
from stmtem_control.simulators import KineticModel, _kinetics, diffraction, survey

REFUSALS = (TypeError, ValueError, OverflowError, BufferError)
VALUES = tuple(row[1] for row in _kinetics.PARAMETERS)
SIDE = 8
GUARD = 64  # bytes before and after a picture that must stay as they are
SCENE = (SIDE, SIDE, 20.0, 0.0, 0.0, 0.5, 200.0, 500.0, True, 10.0, 0.0, 3.0, 1)
DETECTOR = (True, 8.0, 100.0, 3.0, 0.08)


class Guarded:
    """Memory for a picture, with a guard on both sides."""

    def __init__(self, kind: type[np.generic]) -> None:
        size = SIDE * SIDE * np.dtype(kind).itemsize
        self.memory = np.full(size + 2 * GUARD, 0xA5, dtype=np.uint8)
        self.memory[GUARD:-GUARD] = 0
        self.picture = self.memory[GUARD:-GUARD].view(kind).reshape(SIDE, SIDE)

    @property
    def intact(self) -> bool:
        return bool((self.memory[:GUARD] == 0xA5).all() and (self.memory[-GUARD:] == 0xA5).all())


def grown() -> _kinetics.Model:
    model = _kinetics.Model(VALUES, 3)
    model.advance(0.15, -5.0, -5.0, 0.0, 0.0)
    return model


MODEL = grown()
STATE = bytes(MODEL.save())
U2, F4 = Guarded(np.uint16), Guarded(np.float32)
CRYSTAL = np.array([[0.0, 100.0, 50.0, 1000.0, math.nan, 0.0, 1.0]]).tobytes()

#: Good arguments of everything that takes any.
CALLS: dict[str, tuple[Any, ...]] = {
    "advance": (0.002, -5.0, -4.0, 1.0, 0.0),
    "events": (0,),
    "frame": (U2.picture, SCENE, 5, *DETECTOR),
    "means": (F4.picture, SCENE),
    "truth": SCENE[:5],
    "thickness": (F4.picture, *SCENE[:5]),
    "diffraction": (F4.picture, SIDE, SIDE, 0.05, 1e4, 200.0, 0.0, 0.0, 500.0, 0.01, 0.1, 0.0),
    "survey": (F4.picture, *SCENE[:7], 30.0, 150.0, 0.01, 0.3, 5, *SCENE[8:12]),
    "counts": (U2.picture, F4.picture, SIDE, SIDE, "frame", 5, *DETECTOR),
    "place": (CRYSTAL,),
    "instructions": ("auto",),
    "load": (STATE,),
}
WITHOUT = ("status", "particles", "grains", "save")


def strided() -> NDArray[np.uint16]:
    return np.zeros((SIDE, 2 * SIDE), dtype=np.uint16)[:, ::2]


def read_only() -> NDArray[np.float32]:
    picture = np.zeros((SIDE, SIDE), dtype=np.float32)
    picture.flags.writeable = False
    return picture


numbers = st.one_of(
    st.booleans(),
    st.integers(-3, SIDE + 1),
    st.integers(-(2**80), 2**80),
    st.sampled_from([2**31, 2**32, 2**63, 2**64 - 1, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, 1e300, -1e300, 1e-3, 1e5, math.nan, math.inf, -math.inf]),
)
BUFFERS: list[object] = [
    U2.picture,
    F4.picture,
    np.zeros(2 * SIDE * SIDE + 1, dtype=np.uint8)[1:],  # a good length, at an odd address
    np.zeros(4 * SIDE * SIDE + 2, dtype=np.uint8)[2:],
    strided(),
    read_only(),
    np.zeros((SIDE, SIDE, 1), dtype=np.float64),
    np.asfortranarray(np.zeros((SIDE, SIDE), dtype=np.uint16)),
    np.zeros(0, dtype=np.uint16),
    bytearray(2 * SIDE * SIDE),
    bytearray(4 * SIDE * SIDE + 1),
    bytes(2 * SIDE * SIDE),
    memoryview(bytearray(4 * SIDE * SIDE))[::-1],
    memoryview(b""),
]
LONG_S = 100.0
buffers = st.integers(0, len(BUFFERS) - 1).map(BUFFERS.__getitem__)
junk = st.one_of(
    numbers,
    buffers,
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=300),
    st.tuples(numbers, numbers),
    st.lists(numbers, max_size=3),
    st.just(VALUES),
    st.just(SCENE),
    st.sampled_from([KineticModel, MODEL, math.nan, 1j]),
)


def attempt(call: Callable[..., object], *arguments: object) -> bool:
    """Call it; tell whether it did what it was asked."""
    try:
        call(*arguments)
    except REFUSALS:
        return False
    finally:
        assert U2.intact
        assert F4.intact
    return True


@pytest.mark.parametrize("name", CALLS)
def test_good_arguments_are_good(name: str) -> None:
    assert attempt(getattr(grown(), name), *CALLS[name])


def test_the_table_of_calls_is_complete() -> None:
    public = {name for name in dir(_kinetics.Model) if not name.startswith("_")}
    assert public == {*CALLS, *WITHOUT}


@pytest.mark.parametrize("name", ["frame", "means", "thickness", "diffraction", "survey", "counts"])
@pytest.mark.parametrize("spare", [0, 1], ids=["taken", "refused"])
def test_buffers_are_given_back(name: str, spare: int) -> None:
    target, *others = CALLS[name]
    lent = [bytearray(target.nbytes + spare)]
    if name == "counts":
        lent.append(bytearray(others.pop(0).nbytes))
    assert attempt(getattr(MODEL, name), *lent, *others) == (spare == 0)
    for buffer in lent:
        buffer.append(0)  # a BufferError while somebody holds it


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(CALLS)), st.integers(0, 20), junk)
def test_one_bad_argument(name: str, place: int, value: object) -> None:
    arguments = list(CALLS[name])
    arguments[place % len(arguments)] = value
    if name == "advance" and isinstance(value, int | float):
        assume(not LONG_S < arguments[0] < math.inf)  # would be done, in minutes
    before = MODEL.status()
    if not attempt(getattr(MODEL, name), *arguments):
        assert MODEL.status() == before
    if name in ("advance", "place", "load", "instructions"):  # keep it small and fast
        MODEL.load(STATE)
        MODEL.instructions("auto")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["frame", "means"]), st.integers(0, len(SCENE) - 1), junk)
def test_one_bad_entry_of_a_scene(name: str, place: int, value: object) -> None:
    scene = list(SCENE)
    scene[place] = value  # type: ignore[call-overload]
    arguments = list(CALLS[name])
    arguments[1] = tuple(scene)
    attempt(getattr(MODEL, name), *arguments)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted({*CALLS, *WITHOUT})), st.lists(junk, max_size=4))
def test_any_arguments(name: str, arguments: list[object]) -> None:
    before = MODEL.status()
    if not attempt(getattr(MODEL, name), *arguments):
        assert MODEL.status() == before


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(VALUES) - 1), numbers, numbers)
@example(0, 1e-5, -1)
@example(0, 1e-3, 2**64)
def test_any_parameter_and_seed(place: int, value: float, seed: int) -> None:
    values = (*VALUES[:place], value, *VALUES[place + 1 :])
    try:
        model = _kinetics.Model(values, seed)
    except REFUSALS:
        return
    _, _, low, high = _kinetics.PARAMETERS[place]
    assert low <= value <= high
    assert 0 <= seed < 2**64
    model.advance(0.001, -5.0, -5.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "values",
    [(), VALUES[:-1], (*VALUES, 0.0), list(VALUES), ("a",) * len(VALUES), None, (1j,) * 3],
    ids=["none", "too few", "too many", "a list", "text", "None", "complex"],
)
def test_parameters_of_another_kind(values: object) -> None:
    assert not attempt(_kinetics.Model, values, 1)
    assert not attempt(_kinetics.evaluate, "crossing_angle", values)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(STATE) - 1), st.integers(0, 255)), max_size=6), junk)
def test_changed_states(changes: list[tuple[int, int]], more: object) -> None:
    changed = bytearray(STATE)
    for place, value in changes:
        changed[place] = value
    model = _kinetics.Model(VALUES, 3)
    assert attempt(model.load, bytes(changed)) == (bytes(changed) == STATE)
    assert model.status()[0] == (MODEL.status()[0] if bytes(changed) == STATE else 0)
    attempt(model.load, more)
    model.advance(0.002, -5.0, -5.0, 0.0, 0.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(junk, max_size=9))
@example([10, 1.0, 1e-4, 5e-324, 1.0, 3, 1, "auto", False])  # a list of pairs without end
@example([-1, 1.0, 1e-4, 0.1, 1.0, 3, 1, "auto", False])
def test_any_box(arguments: list[object]) -> None:
    attempt(_kinetics.Box, *arguments)


@settings(max_examples=100, deadline=None)
@given(st.lists(junk, max_size=5), st.sampled_from([row[0] for row in _kinetics.EQUATIONS]))
def test_any_evaluation(arguments: list[object], name: str) -> None:
    attempt(_kinetics.evaluate, name, VALUES, *arguments)
    attempt(_kinetics.evaluate, *arguments)
    attempt(_kinetics.bcc_families, *arguments)


BAD: list[Callable[[KineticModel], object]] = [
    lambda _: KineticModel("fig2", -1),
    lambda _: KineticModel("gold"),
    lambda _: KineticModel(["fig2"]),  # type: ignore[arg-type]
    lambda _: KineticModel(site_cuont=1),
    lambda _: KineticModel(site_count=1.5),
    lambda _: KineticModel(site_count=10**400),
    lambda _: KineticModel(first_site_feed=1e-9),
    lambda _: KineticModel(fibre_count=16, fibre_feed_ratio=1e-3),
    lambda m: setattr(m, "instructions", "abacus"),
    lambda m: setattr(m, "instructions", 3),
    lambda m: m.advance(math.nan, 0.0),
    lambda m: m.advance("x", 0.0),  # type: ignore[arg-type]
    lambda m: m.advance(None, 0.0),  # type: ignore[arg-type]
    lambda m: m.advance(10**400, 0.0),
    lambda m: m.advance(1.0, 1e4),
    lambda m: m.advance(1.0, [1.0, 2.0]),  # type: ignore[arg-type]
    lambda m: m.advance(1.0, None, bias_end=1.0),
    lambda m: m.advance(1.0, 1.0, beam_e_per_A2_s=1e11),
    lambda m: m.events_from(-1),
    lambda m: m.events_from(2**70),
    lambda m: m.events_from("a"),  # type: ignore[arg-type]
    lambda m: m.place(1.0, 1.0, [1e3, 1e3], phi=[0.0] * 3),
    lambda m: m.place("a", 1.0, 1e3),
    lambda m: m.place(1.0, 1.0, -1.0),
    lambda m: m.place(1.0, 1.0, 1e3, feed=0.0),
    lambda m: m.place([[1.0]], 1.0, 1e3),
    lambda m: m.frame(shape=(0, 5)),
    lambda m: m.frame(shape=5),  # type: ignore[arg-type]
    lambda m: m.frame(shape=("a", 5)),  # type: ignore[arg-type]
    lambda m: m.frame(shape=(2**20, 5)),
    lambda m: m.frame(pixel_size_nm=0.0),
    lambda m: m.frame(origin_nm=(1e300, 0.0)),
    lambda m: m.frame(origin_nm=None),  # type: ignore[arg-type]
    lambda m: m.frame(index=-1),
    lambda m: m.frame(index=1.5),  # type: ignore[arg-type]
    lambda m: m.frame(detector="film"),  # type: ignore[arg-type]
    lambda m: m.frame(gain=math.inf),
    lambda m: m.frame(probe_nm=(math.nan, 0.0)),
    lambda m: m.frame(threads=0),
    lambda m: m.thickness(pixel_size_nm=math.nan),
    lambda m: m.ground_truth(shape=(4, 4, 4)),  # type: ignore[arg-type]
    lambda m: m.exposure(energy_keV=0.0),
    lambda m: m.exposure(shape=(4, 4)).add(-1.0),
    lambda m: m.exposure(shape=(4, 4)).counts(spread=0.5),
    lambda m: diffraction.diffraction_pattern(m, electrons=-1.0),
    lambda m: survey.adf_survey(m, collection_mrad=(150.0, 30.0)),
    lambda m: survey.adf_signal(m, pixel_size_nm="a"),
    lambda _: KineticModel.restore(b""),
    lambda _: KineticModel.restore(7),  # type: ignore[arg-type]
    lambda _: KineticModel.restore(b'{"preset": 1, "seed": 2, "parameters": 3}\n'),
    lambda m: KineticModel.restore(m.save().replace(b'"seed": 1', b'"seed": -1')),
    lambda m: KineticModel.restore(m.save().replace(b'"site_count"', b'"site_cuont"')),
    lambda _: KineticModel.restore(b"[" * 100000),
    lambda m: KineticModel.restore(m.save()[:-1]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_refusals_have_a_name(number: int) -> None:
    model = KineticModel(site_count=5)
    with pytest.raises(SpecimenError) as error:
        BAD[number](model)
    assert str(error.value)
    assert "\n" not in str(error.value)


def test_time_ends_before_the_clock_does() -> None:
    """104 days of the model's own time; then it says so instead of starting again at 0."""
    model = _kinetics.Model((1e-2, *VALUES[1:]), 1)
    state = bytearray(model.save())
    clock = int.from_bytes(state[64:72], "little")
    assert clock == 0
    for place in (56, 64):  # ticks and picoseconds; see Header of state.c
        late = 9 * 10**18 - 10**15
        state[place : place + 8] = (late // 10**10 if place == 56 else late).to_bytes(8, "little")
    state[8:16] = fnv(state).to_bytes(8, "little")
    model.load(bytes(state))
    assert model.status()[1] == pytest.approx(8_999_000)
    model.advance(0.01, 0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="past 9e6 s"):
        model.advance(1e4, 0.0, 0.0, 0.0, 0.0)


def fnv(state: bytearray) -> int:
    """Return the checksum of a state: FNV-1a of it, the checksum itself taken as 0."""
    total = 0xCBF29CE484222325
    for place, byte in enumerate(state):
        total = (total ^ (0 if 8 <= place < 16 else byte)) * 0x100000001B3 % 2**64
    return total
