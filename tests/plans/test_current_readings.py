"""What repeated readings of a current say, glitches and all."""

import math

import numpy as np
import pytest

from stmtem_control.plans.current import Sample, sample_of
from stmtem_control.plans.leakage import fit_line
from stmtem_control.plans.step_sizes import StepSize


def test_a_glitch_moves_neither_the_current_nor_the_noise() -> None:
    draw = np.random.default_rng(1)
    currents = list(1e-12 + 5e-14 * draw.standard_normal(40))
    clean = sample_of(currents, [False] * 40)
    currents[7] = 4e-10
    struck = sample_of(currents, [False] * 39 + [True])
    assert clean.current_A == pytest.approx(1e-12, abs=3e-14)
    assert struck.current_A == pytest.approx(clean.current_A, abs=1e-14)
    assert clean.noise_A == pytest.approx(5e-14, rel=0.3)
    assert struck.noise_A == pytest.approx(5e-14, rel=0.3)
    assert struck.std_A < struck.noise_A / 4.0
    assert not struck.limited


def test_of_quantised_readings_one_glitch_is_not_the_noise() -> None:
    found = sample_of([1e-13] * 15 + [4e-10], [False] * 16)
    assert found.current_A == 1e-13
    assert found.noise_A == 0.0


def test_most_readings_in_compliance_are_a_compliance() -> None:
    assert sample_of([1e-8, 1e-8, 9e-9], [True, True, False]).limited


def test_the_line_of_a_leak_has_its_errors() -> None:
    draw = np.random.default_rng(2)
    volts = [0.0, 2.5, -2.5, 5.0, -5.0, 0.0]
    pulls, leak = [], None
    for _ in range(300):
        samples = [
            sample_of(list(3e-13 + v / 36e9 + 5e-14 * draw.standard_normal(16)), [False] * 16)
            for v in volts
        ]
        leak, misfit = fit_line(volts, samples)
        pulls.append((leak.conductance - 1 / 36e9) / leak.conductance_std)
        assert misfit < 2e-13
    assert abs(float(np.mean(pulls))) < 0.2
    # The errors are not too small (the median is a little worse than the mean).
    assert 0.7 < float(np.std(pulls)) < 1.4
    assert leak is not None
    assert leak.current_A(5.0) == pytest.approx(5.0 / 36e9, rel=0.01)
    assert leak.std_A(5.0) > leak.std_A(0.0)


def test_what_is_no_line_widens_the_errors() -> None:
    volts = [0.0, 2.5, -2.5, 5.0, -5.0, 0.0]
    straight = [Sample(v * 1e-12, 1e-14, 16, False) for v in volts]
    bent = [Sample(v * abs(v) * 1e-12, 1e-14, 16, False) for v in volts]
    assert (
        fit_line(volts, bent)[0].conductance_std > 50 * fit_line(volts, straight)[0].conductance_std
    )
    assert fit_line(volts, bent)[1] > 1e-12


def test_the_size_of_a_step_follows_what_is_measured() -> None:
    size = StepSize()
    assert not size.known
    for shift in (6.0, 6.2, 5.8, 6.1):
        size = size.with_step(shift)
    assert size.steps == 4
    assert size.volts == pytest.approx(6.025)
    assert 0.1 < size.std_V < 0.6
    assert size.moved(5.0)
    assert not size.moved(0.3)
    assert size.steps_within(21.0) == 3
    assert size.steps_within(5.0) == 0
    for _ in range(100):
        size = size.with_step(5.0)  # it wears
    assert size.volts == pytest.approx(5.0, abs=0.05)
    assert not math.isnan(size.std_V)
