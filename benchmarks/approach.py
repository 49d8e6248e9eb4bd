"""Many approaches on simulated time, each to another specimen: nothing may be crashed.

Start gap, drift, adhesion, skin, source, leak, dielectric tail, and the slider's steps (size in
each direction, scatter, wear, missed ones, stuck), and glitches of the readings are drawn for each
approach from its seed.  Half of them begin with `leakage_baseline`.  What the contact truly is
and whether the tip was flattened is asked of the specimen, not of the plan.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from stmtem_control.errors import ApproachError
from stmtem_control.plans import approach_contact, leakage_baseline

from .approach_rig import Rig, Trouble
from .side_by_side import Report, Target, markdown

__all__ = ["Result", "approach", "run", "trouble"]

IN_A_ROUND: Final = 60
RIGHT_SHARE: Final = 0.99
# The 2400 is no picoammeter: with the defaults the plan says so, and refuses.
OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "6430": {},
    "2450": {},
    "2400": {"approach_V": 1.0, "threshold_A": 1e-11},
}


class Result(NamedTuple):
    """How one approach ended, and what was true."""

    seed: int
    trouble: Trouble
    baseline: bool
    ended: str  # what the plan judged, or "gave up"
    truth: str  # what the specimen was when the plan judged, or at the end
    reason: str
    crashed: bool
    safe: bool
    deepest_nm: float
    gap_nm: float
    readings: int
    seconds: float

    @property
    def right(self) -> bool:
        """Whether the judgement was the truth, or the plan gave up with a reason."""
        return bool(self.reason) if self.ended == "gave up" else self.ended == self.truth


def trouble(seed: int) -> Trouble:
    """Draw what an approach has to do with."""
    draw = np.random.default_rng(seed)

    def one_of(**shares: float) -> str:
        return str(draw.choice(list(shares), p=list(shares.values())))

    touching = draw.random() < 0.05
    return Trouble(
        gap_nm=float(draw.uniform(-5.0, 0.0) if touching else draw.uniform(1.0, 1200.0)),
        drift_nm_per_s=float(draw.uniform(-10.0, 10.0)) / 60.0,
        snap_in_nm=float(draw.uniform(0.3, 0.7)),
        skin=one_of(whole=0.75, cracked=0.15, bare=0.1),
        model=one_of(**{"6430": 0.7, "2450": 0.2, "2400": 0.1}),
        leak_GOhm=float(10.0 ** draw.uniform(np.log10(36.0), 3.0)),
        absorption_pF=float(draw.choice([0.0, draw.uniform(0.1, 2.0)])),
        absorption_s=float(draw.uniform(0.1, 1.0)),
        step_nm=float(draw.uniform(30.0, 75.0)),
        down_ratio=float(draw.uniform(0.6, 1.2)),
        scatter=float(draw.uniform(0.02, 0.15)),
        wear_per_step=float(draw.uniform(0.0, 1e-3)),
        missed=float(draw.choice([0.0, draw.uniform(0.0, 0.15)])),
        stuck=bool(draw.random() < 0.04),
        glitches=float(draw.choice([0.0, 0.003])),
    )  # fmt: skip


def approach(seed: int, given: Trouble | None = None) -> Result:
    """Do one approach."""
    drawn = trouble(seed) if given is None else given
    rig = Rig(seed, drawn)
    baseline = seed % 2 == 0
    ended, reason = "gave up", ""
    try:
        if baseline:
            rig.run(leakage_baseline(rig.bias, rig.beam, probe=rig.probe))
        found = rig.run(approach_contact(rig.probe, rig.bias, rig.beam, **OPTIONS[drawn.model]))
        ended = found["kind"]
    except ApproachError as error:
        reason = str(error)
    specimen = rig.specimen
    truth = rig.truth if ended != "gave up" else specimen.contact_kind()
    result = Result(
        seed, drawn, baseline, ended, truth, reason, specimen.crashed,
        not rig.meter.output_on and not rig.controller.moving,
        specimen.deepest_nm, specimen.gap_nm, len(rig.points), rig.clock.now(),
    )  # fmt: skip
    rig.close()
    return result


def table(results: Iterable[Result]) -> str:
    """Return how they ended, against what was true."""
    rows = Counter((r.trouble.skin, r.ended, r.truth) for r in results)
    return markdown(
        ["the probe meets a skin that is", "the plan judged", "the specimen was", "approaches"],
        [[*key, count] for key, count in sorted(rows.items())],
    )


def _short(reason: str) -> str:
    """Return the kind of a reason, without its numbers."""
    for words in (
        "is a short", "does not move", "is stuck", "no contact after", "in contact",
        "ran into the contact", "lost again", "too much for a fine_range_V", "GOhm of any",
    ):  # fmt: skip
        if words in reason:
            return words
    return reason


def run(rounds: int) -> Report:
    """Do 60 approaches a round, and print how they ended."""
    results = [approach(seed) for seed in range(IN_A_ROUND * rounds)]
    crashed = sum(r.crashed for r in results)
    unsafe = sum(not r.safe for r in results)
    right = sum(r.right for r in results) / len(results)
    reached = [r for r in results if r.ended != "gave up"]
    deepest = np.array([r.deepest_nm for r in reached])
    seconds = np.array([r.seconds for r in reached])
    possible = [r for r in results if r.trouble.skin != "bare" and not r.trouble.stuck]
    came = sum(r.ended != "gave up" for r in possible) / len(possible)
    reasons = Counter(_short(r.reason) for r in results if r.ended == "gave up")
    text = table(results)
    text += "\n" + markdown(
        ["it gave up, because", "approaches"], [[*each] for each in reasons.most_common()]
    )
    text += "\n" + markdown(
        ["of those that came to contact", "median", "90 %", "worst"],
        [
            ["pressed in at most (nm)", *np.quantile(deepest, [0.5, 0.9, 1.0])],
            ["took (simulated s)", *np.quantile(seconds, [0.5, 0.9, 1.0])],
        ],
    )
    targets = [
        Target("approaches", ">= 200", len(results), len(results) >= 200),
        Target("tips flattened", "0", crashed, crashed == 0),
        Target("judged right, or given up with a reason", ">= 0.99", right, right >= RIGHT_SHARE),
        Target("not safe at the end", "0", unsafe, unsafe == 0),
        Target("came to contact where that was possible", ">= 0.9", came, came >= 0.9),
    ]  # fmt: skip
    wrong = [r._asdict() | {"trouble": r.trouble._asdict()} for r in results if not r.right]
    return Report("approach", text, targets, {"wrong": wrong, "reasons": dict(reasons)})
