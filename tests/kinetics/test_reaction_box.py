"""The reaction box: its steps, its contacts, and its rate against closed forms.

Seeds are fixed, so that no test fails by chance; the rates given are those at which a new seed
would make a right box fail.
"""

import math
import signal
import threading
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import ReactionBox

PLACE, STEP = 32, 33  # purposes of the draws

Positions = NDArray[np.float64]


def box(**changes: Any) -> ReactionBox:
    """Return the box of the comparison with other codes, but for the changes."""
    usual = {"count": 20000, "length": 100.0, "diffusivity": 1.0, "radius": 0.5, "step_s": 1e-3}
    return ReactionBox(**(usual | changes))


def state(of: ReactionBox) -> tuple[int, bytes, bytes]:
    return of.count, of.unfolded_positions.tobytes(), of.uids.tobytes()


# ---- motion ------------------------------------------------------------------------------------


def philox(seed: int, purpose: int, uid: int, when: int) -> list[int]:
    """Philox4x32-10 (Salmon et al., SC11, 2011), written down anew."""
    c = [uid & 0xFFFFFFFF, (uid >> 32) | purpose << 24, when & 0xFFFFFFFF, when >> 32]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def normals(words: list[int]) -> list[float]:
    """Box-Muller with 32 bits a uniform number."""
    found = []
    for u, v in (words[:2], words[2:]):
        radius = math.sqrt(-2.0 * math.log((u + 0.5) / 2**32))
        angle = 2.0 * math.pi * (v + 0.5) / 2**32
        found += [radius * math.cos(angle), radius * math.sin(angle)]
    return found


@pytest.mark.parametrize("dimensions", [2, 3])
def test_places_and_steps_are_those_of_their_keys(dimensions: int) -> None:
    seed, count = 0x0123456789ABCDEF, 150  # two whole tiles of 64 and a part
    walk = box(count=count, radius=0.0, dimensions=dimensions, seed=seed)
    before = walk.positions
    for step in range(3):
        walk.advance(1)
        after = walk.unfolded_positions
        z = [normals(philox(seed, STEP, uid, step))[:dimensions] for uid in range(count)]
        np.testing.assert_allclose(after - before, math.sqrt(2e-3) * np.array(z), atol=1e-13)
        before = after
    start = box(count=count, dimensions=dimensions, seed=seed).positions
    for uid in (0, 1, count - 1):
        for axis in range(dimensions):
            high, low = philox(seed, PLACE, uid, axis)[:2]
            assert start[uid, axis] == pytest.approx(100.0 * (high * 2**32 + low) / 2**64)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mean_square_displacement(dimensions: int) -> None:
    # 2 d D t; the mean of n d squares of normal numbers is off by sqrt(2/(n d)); 4 sigma: 6e-5.
    count = 20000
    walk = box(count=count, radius=0.0, dimensions=dimensions, diffusivity=0.7)
    start = walk.positions
    for _ in range(3):
        walk.advance(50)
        way = walk.unfolded_positions - start
        square = float((way**2).sum(axis=1).mean())
        assert square / (2 * dimensions * 0.7 * walk.time) == pytest.approx(
            1.0, abs=4.0 * math.sqrt(2.0 / (count * dimensions))
        )
    assert walk.count == count


def test_steps_are_normal_and_independent() -> None:
    count = 20000
    walk = box(count=count, radius=0.0, seed=7)
    places = [walk.positions]
    for _ in range(2):
        walk.advance(1)
        places.append(walk.unfolded_positions)
    z = np.diff(places, axis=0) / math.sqrt(2e-3)  # (step, particle, axis)
    # Kolmogorov and Smirnov, p = 1e-3, each axis: 3e-3 in all.
    for axis in range(3):
        ordered = np.sort(z[0, :, axis])
        share = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in ordered])
        steps = np.arange(count + 1) / count
        distance = max((steps[1:] - share).max(), (share - steps[:-1]).max())
        assert distance * math.sqrt(count) < 1.95
    # Between axes, steps and neighbours in uid; 4 sigma, 6e-5 each, 22 of them.
    columns = np.concatenate([z[0], z[1], np.roll(z[0, :, :1], 1, axis=0)], axis=1)
    off = np.corrcoef(columns.T)[~np.eye(7, dtype=bool)]
    assert np.abs(off).max() * math.sqrt(count) < 4.0
    # The fourth moment, 3 +- sqrt(96/n), and the tails: 60000 numbers, 162 +- 13 beyond 3.
    assert float((z[1] ** 4).mean()) == pytest.approx(3.0, abs=4.0 * math.sqrt(96.0 / z[1].size))
    assert 162 - 4 * 13 < int((np.abs(z[1]) > 3.0).sum()) < 162 + 4 * 13


def test_folded_places_are_in_the_box_and_differ_by_whole_boxes() -> None:
    walk = box(count=500, length=2.0, radius=0.0, step_s=0.5)
    walk.advance(40)
    inside, free = walk.positions, walk.unfolded_positions
    assert (inside >= 0.0).all()
    assert (inside < 2.0).all()
    assert np.abs(free).max() > 6.0
    boxes = (free - inside) / 2.0
    np.testing.assert_allclose(boxes, np.round(boxes), atol=1e-12)


# ---- contacts ----------------------------------------------------------------------------------


def separations(places: Positions, length: float) -> Positions:
    """Squares of the distances of all pairs, nearest images."""
    d = places[None, :, :] - places[:, None, :]
    d -= length * np.rint(d * (1.0 / length))
    total = d[..., 0] * d[..., 0]
    for axis in range(1, places.shape[1]):
        total = total + d[..., axis] * d[..., axis]
    return total


def fuse_by_hand(places: Positions, length: float, radius: float) -> tuple[Positions, list[int]]:
    """Return what is left of particles that stand still, and their numbers."""
    places, alive = places.copy(), list(range(len(places)))
    while True:
        square = separations(places[alive], length)
        near = np.argwhere(np.triu(square < radius * radius, 1))  # rising (i, j)
        if not len(near):
            return places[alive], alive
        taken: set[int] = set()
        gone = []
        for i, j in near.tolist():
            if i in taken or j in taken:
                continue
            taken |= {i, j}
            d = places[alive[j]] - places[alive[i]]
            places[alive[i]] += 0.5 * (d - length * np.rint(d * (1.0 / length)))
            gone.append(alive[j])
        alive = [uid for uid in alive if uid not in gone]


@pytest.mark.parametrize(("dimensions", "radius"), [(2, 0.35), (3, 1.0)])
def test_contacts_of_standing_particles_are_those_found_by_hand(
    dimensions: int, radius: float
) -> None:
    still = box(
        count=500, length=10.0, diffusivity=0.0, radius=radius, dimensions=dimensions, seed=3
    )
    places, left = fuse_by_hand(still.positions, 10.0, radius)
    assert 100 < len(left) < 450
    still.advance(1)
    assert still.uids.tolist() == left
    assert still.unfolded_positions.tobytes() == places.tobytes()
    # Somebody met across the edge of the box.
    assert ((still.positions != still.unfolded_positions).any(axis=1)).sum() > 0


@pytest.mark.parametrize(
    ("count", "dimensions", "radius", "step_s"),
    [
        (400, 3, 0.5, 1e-3),  # the list is kept for some steps
        (400, 3, 0.05, 1e-3),  # for many
        (400, 3, 0.5, 1.0),  # for none
        (400, 2, 0.2, 1e-3),
        (400, 2, 0.02, 1e-2),
        (40, 3, 3.0, 1e-3),  # fewer than three cells along an edge
        (10, 2, 5.0, 1e-3),  # half the box
        (2, 3, 0.5, 0.3),
        (1, 2, 0.5, 1.0),
    ],
)
def test_the_list_misses_no_contact(
    count: int, dimensions: int, radius: float, step_s: float
) -> None:
    small = {"count": count, "length": 10.0, "radius": radius, "step_s": step_s}
    small |= {"dimensions": dimensions}
    for seed in range(3):
        listed, certain = box(**small, seed=seed), box(**small, seed=seed, search="every pair")
        for _ in range(40):
            listed.advance(1)
            certain.advance(1)
            assert state(listed) == state(certain)
        apart = separations(listed.positions, 10.0)
        np.fill_diagonal(apart, np.inf)
        assert apart.min() >= radius * radius


def test_the_list_is_kept_while_it_is_safe() -> None:
    run = box()
    run.advance(200)
    assert 2 <= run.listings <= 20


def test_the_smaller_uid_stays_and_nobody_comes_back() -> None:
    run = box(count=2000, length=20.0)
    left = run.uids
    for _ in range(20):
        run.advance(20)
        assert set(run.uids) <= set(left)
        assert run.count == len(run.uids) == len(run.positions)
        assert (np.diff(run.uids) > 0).all()
        left = run.uids
    assert run.count < 1000
    run.advance(20000)
    assert 0 in run.uids


# ---- rates -------------------------------------------------------------------------------------


def test_rate_in_three_dimensions_is_smoluchowskis() -> None:
    runs = [box(seed=seed) for seed in range(4)]
    for time, tolerance in ((0.1, 0.005), (0.2, 0.005), (0.4, 0.005), (0.8, 0.02), (1.6, 0.02)):
        for run in runs:
            run.advance(round((time - run.time) / 1e-3))
        mean = sum(run.count for run in runs) / 4.0
        plain = runs[0].expected_count(time, continuous=True)
        assert mean / plain == pytest.approx(1.0, abs=tolerance)
        if time < 0.5:
            # With the step taken into account.  The number of fusions is nearly Poisson's, which
            # bounds its scatter; 4 sigma: 6e-5 each, and half a thousandth for the formula.
            sharp = runs[0].expected_count(time)
            sigma = math.sqrt((20000 - sharp) / 4.0)
            assert abs(mean - sharp) < 4.0 * sigma + 0.0005 * sharp
    assert mean < 0.85 * 20000


@pytest.mark.parametrize("step_s", [1e-4, 1e-2])
def test_the_length_of_a_step_does_what_theory_says(step_s: float) -> None:
    # 4 sigma of the fusions, 6e-5, and half a thousandth of the particles.
    run = box(step_s=step_s, seed=11)
    run.advance(round(0.1 / step_s))
    sharp = run.expected_count(0.1)
    assert abs(run.count - sharp) < 4.0 * math.sqrt(20000 - sharp) + 10.0


def test_early_rate_in_two_dimensions() -> None:
    """Flux into a disc at short times, Carslaw and Jaeger, Conduction of Heat in Solids, 13.5."""
    step_s, runs = 1e-4, [box(length=1000.0, dimensions=2, step_s=1e-4, seed=s) for s in range(4)]
    s = 0.5 - 0.5826 * math.sqrt(4.0 * step_s)
    for time in (0.01, 0.02, 0.04):
        for run in runs:
            run.advance(round((time - run.time) / step_s))
        tau = 2.0 * time / s**2
        entered = 2.0 * math.sqrt(tau / math.pi) + tau / 2.0 - tau**1.5 / (6.0 * math.sqrt(math.pi))
        expected = 20000 / (1.0 + 0.02 * math.pi * s**2 * (entered + tau**2 / 16.0 + 0.5))
        mean = sum(run.count for run in runs) / 4.0
        # 4 sigma of the fusions, 6e-5 each, and half a thousandth for the formula.
        assert abs(mean - expected) < 4.0 * math.sqrt((20000 - expected) / 4.0) + 10.0


def test_late_rate_in_two_dimensions() -> None:
    """Density times 4 pi D t/ln(4 D t/s^2) goes to 1, slowly.

    With the late flux into a disc, 4 pi D/(ln(8 D t/s^2) - 2 gamma), it is
    1 - (1 + 2 gamma - ln 2)/ln(4 D t/s^2), to first order.
    """
    runs = [
        box(length=200.0, radius=1.0, step_s=1e-2, dimensions=2, seed=seed) for seed in range(8)
    ]
    for time in (50, 100):
        for run in runs:
            run.advance(round((time - run.time) / 1e-2))
        density = sum(run.count for run in runs) / 8.0 / 200.0**2
        reduced = density * 4.0 * math.pi * time
        assert 0.68 < reduced / math.log(4.0 * time) < 1.0
        # The integral of that rate; some 1100 particles left in all runs, 3 %: 10 % is 3 sigma.
        slow = math.log(8.0 * time) - 2.0 * 0.5772156649015329 - 1.0
        assert reduced / slow == pytest.approx(1.0, abs=0.1)


def test_the_formula_and_where_it_does_not_hold() -> None:
    run = box()
    assert run.expected_count(0.0, continuous=True) == 20000
    pairs = 20000**2 / 2 * (4.0 / 3.0) * math.pi * 0.5**3 / 100.0**3  # at the start, 104.7
    assert 20000 - box(step_s=1e-12).expected_count(0.0) == pytest.approx(pairs, rel=0.01)
    # K by hand: 2 pi (0.1 + sqrt(0.1/(2 pi)))
    by_hand = 20000 / (1.0 + 0.02 * 2.0 * math.pi * (0.1 + math.sqrt(0.1 / (2.0 * math.pi))))
    assert run.expected_count(0.1, continuous=True) == pytest.approx(by_hand, rel=1e-12)
    with pytest.raises(ValueError, match="three dimensions"):
        box(dimensions=2).expected_count(1.0)
    with pytest.raises(ValueError, match="short against the radius"):
        box(step_s=0.2).expected_count(1.0)
    with pytest.raises(ValueError, match="time_s must be 0 or more"):
        run.expected_count(-1.0)


# ---- the same result ---------------------------------------------------------------------------


def test_calls_may_be_cut_anywhere() -> None:
    whole, cut = box(seed=5), box(seed=5)
    whole.advance(60)
    for steps in (1, 0, 7, 30, 22):
        cut.advance(steps)
        _ = cut.positions
    assert state(whole) == state(cut)
    assert (whole.steps, cut.time) == (60, 60 * 1e-3)
    other = box(seed=6)
    other.advance(60)
    assert state(other) != state(whole)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_instruction_set_gives_the_same_bits(dimensions: int) -> None:
    states, names = [], []
    for name in ("baseline", "avx2", "avx512", "auto"):
        try:
            run = box(count=5000, length=40.0, dimensions=dimensions, instructions=name)
        except ValueError:
            assert name in ("avx2", "avx512")
            continue
        run.advance(100)
        states.append(state(run))
        names.append(run.instructions)
    assert names[0] == "baseline"
    assert names[-1] in ("baseline", "avx2", "avx512")
    assert len(set(states)) == 1
    assert states[0][0] < 5000


def test_threads_may_share_a_box() -> None:
    shared, alone = box(), box()
    threads = [threading.Thread(target=shared.advance, args=(250,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(shared.positions) > 15000
    for thread in threads:
        thread.join()
    alone.advance(500)
    assert state(shared) == state(alone)


def test_a_signal_ends_a_long_advance() -> None:
    class StopError(Exception):
        pass

    def stop(number: int, frame: FrameType | None) -> None:
        raise StopError

    run, previous = box(), signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
        with pytest.raises(StopError):
            run.advance(10**9)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, previous)
    steps = run.steps
    run.advance(1)
    assert 0 < steps == run.steps - 1 < 10**6


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count must be a whole number in 1"),
        ({"count": 2.0}, "count must be a whole number"),
        ({"count": 10**8 + 1}, "count must be a whole number"),
        ({"length": 0.0}, "length must lie in"),
        ({"length": math.inf}, "length must be a finite number"),
        ({"diffusivity": -1.0}, "diffusivity must be 0 or more"),
        ({"diffusivity": 1e9}, "a step at most as wide as the box"),
        ({"radius": -0.1}, "radius must lie in"),
        ({"radius": 50.1, "count": 2}, "radius must lie in"),
        ({"radius": 10.0}, "radius is too large for so many particles"),
        ({"step_s": 0.0}, "step_s must lie in"),
        ({"step_s": math.nan}, "step_s must be a finite number"),
        ({"dimensions": 1}, "dimensions must be a whole number in 2 ... 3"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 2**64}, "seed must be a whole number"),
        ({"instructions": "mmx"}, "instructions must be"),
        ({"search": "some pairs"}, "search must be"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        box(**change)


@pytest.mark.parametrize("steps", [-1, 1.5, True, 2**63])
def test_steps_are_whole(steps: Any) -> None:
    with pytest.raises(ValueError, match="steps must be a whole number"):
        box(count=10).advance(steps)
