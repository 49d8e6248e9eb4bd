"""The whole simulated experiment: kinetics and camera together, against the time it stands for.

Preset ``fig2``, 512 x 512 pixels at 25 frames a second, 5 s of deposition at -5 V and 5 s of
stripping at +5 V; the protocols of the instruments are not included.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from stmtem_control.simulators import KineticModel

from .side_by_side import Report, Target, interleave, markdown

__all__ = ["experiment", "run"]

_RATE_HZ: Final = 25
_SECONDS: Final = 10.0
_BIAS_V: Final = 5.0
_WANTED: Final = 20.0


def experiment(
    *,
    seconds: float = _SECONDS,
    side: int = 512,
    detector: Any = "counting",
    frames: bool = True,
    seed: int = 1,
) -> KineticModel:
    """Run the experiment, the bias reversed after half of it; return the specimen at its end."""
    model = KineticModel("fig2", seed)
    count = round(seconds * _RATE_HZ)
    for number in range(count):
        model.advance(1.0 / _RATE_HZ, -_BIAS_V if number < count // 2 else _BIAS_V)
        if frames:
            model.frame(shape=(side, side), index=number, detector=detector)
    return model


def check() -> dict[str, Any]:
    """Run once with and once without frames; drawing must not change the specimen.

    Raises
    ------
    AssertionError
        The charge balance is not kept, nothing was deposited or dissolved, or the runs differ.
    """
    drawn, blind = experiment(), experiment(frames=False)
    assert drawn.save() == blind.save()
    assert drawn.deposited_charge > 1e-11
    assert abs(drawn.faradaic_charge) < 0.5 * drawn.deposited_charge
    booked = drawn.faradaic_charge / drawn.charge_per_nm3
    volume = drawn.deposited_charge / drawn.charge_per_nm3
    np.testing.assert_allclose(drawn.lithium_volume_nm3, booked, rtol=1e-9, atol=1e-9 * volume)
    births = drawn.events["kind"] == drawn.EVENT_KINDS["birth"]
    return {"births": int(births.sum()), "particles_at_the_end": len(drawn.particles)}


def run(rounds: int = 7) -> Report:
    """Check, then time the experiment with each detector and without frames."""
    checked = check()

    def case(**options: Any) -> Callable[[], None]:
        def work() -> None:
            experiment(**options)

        return work

    times = interleave(
        {
            "counting camera": case(),
            "CCD": case(detector="ccd"),
            "no frames": case(frames=False),
        },
        rounds,
    )
    rows: list[list[object]] = []
    speed = {}
    for name, each in times.items():
        spent = float(np.median(each))
        speed[name] = _SECONDS / spent
        rows.append([name, spent, speed[name], _SECONDS / max(each), _SECONDS / min(each)])
    targets = [
        Target(
            f"simulated seconds a CPU second, {name}",
            f">= {_WANTED:g}",
            speed[name],
            speed[name] >= _WANTED,
        )
        for name in ("counting camera", "CCD")
    ]
    result = {
        "what": "CPU seconds of one core for 10 s of experiment with 250 frames of 512 x 512",
        "seconds": times,
        "checked": checked,
    }
    headings = ["camera", "CPU s", "simulated s a CPU s", "slowest", "fastest"]
    return Report("whole_experiment", markdown(headings, rows), targets, result)
