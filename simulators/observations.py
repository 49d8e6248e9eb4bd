"""Run every observation of the paper on the kinetic model and print one table.

``python -m stmtem_control.simulators.observations`` ends with exit status 0 if all checks pass, 1
if one fails.  Paper: Wang et al., ACS Energy Lett. 2023, 8, 1929, "Direct Observation of Nucleation
and Growth Behaviors of Lithium by In Situ Electron Microscopy".  It gives few numbers; most bands
are a reading of its words, and several constants of the model are fitted to the same words (see
:mod:`.presets`), so that a pass says that one set of constants does all of it at once, no more.
Figures S.. belong to its Supporting Information and are known from what the main text says of them.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from . import observations_checks as checks
from .observations_runs import Runs
from .observations_table import Row, as_markdown, put_into_document, show, summary

__all__ = ["OBSERVATIONS", "Observation", "chosen", "main", "observe"]


class Observation(NamedTuple):
    """One statement of the paper and how it is checked."""

    number: str  # O1 ... O17 with letters for parts of one; C: a consequence, not in the paper
    paper: str
    figure: str
    check: str
    find: Callable[[Runs], checks.Finding]


OBSERVATIONS: Final[tuple[Observation, ...]] = (
    Observation(
        "O1",
        "Many nuclei at once: their number rises from 0 to 0.2 s",
        "2b, f",
        "mean of N(0.2 s)/N(0.8 s) in 0.4-0.9",
        checks.burst,
    ),
    Observation(
        "O2",
        "The number has settled at 0.8 s",
        "2f",
        "means of N(0.6 s)/N(0.8 s) and N(1.0 s)/N(0.8 s) in 0.9-1.05",
        checks.steady,
    ),
    Observation(
        "O3",
        "New nuclei appear while others fuse",
        "2b, c",
        "in each run > 10 births after 0.2 s and > 5 fusions before 1.2 s",
        checks.births_and_fusions,
    ),
    Observation(
        "O4",
        "Sizes grow and come to differ",
        "2f",
        "mean d at 0.1, 0.2, 0.4, 0.8 s rises; cv < 0.4 at 0.1 s, > 0.4 at 0.4 s",
        checks.scatter,
    ),
    Observation(
        "O5",
        "Grown for 1 s: droplets below 100 nm, quickly stripped",
        "3a",
        "95 % below 100 nm, 95 % with phi < 0.1; all gone < 1 s after reversal",
        checks.small_cycle,
    ),
    Observation(
        "O6",
        "Above 100 nm: droplets at 2 s, local facets at some 17 s, droplets again and stripped "
        "by 20 s",
        "3b",
        "95 % of d < 80 nm, phi < 0.1 at 2 s; at 17.2 s phi >= 0.1 in 90 % of d > 100 nm; "
        "reversed, phi < 0.1 after 2.5 s and gone within 6 s",
        checks.local_facets,
    ),
    Observation(
        "O7",
        "The area grows by about 5000 nm²/s",
        "3e",
        "mean rate of the side view from d = 100 nm to phi = 0.4 in 3500-6500 nm²/s",
        checks.area_rate,
    ),
    Observation(
        "O8",
        "A droplet of a few hundred nm (33 s) is completely faceted a second later (34 s)",
        "3c",
        "phi from 0.4 to 0.9 in a mean of < 1.6 s, d in 200-450 nm; when it does is not checked",
        checks.switch,
    ),
    Observation(
        "O9",
        "Faceted, it grows more slowly",
        "3e",
        "mean of area rate after over before < 0.7",
        checks.slowing,
    ),
    Observation(
        "O10",
        "Stripping starts where facets meet; volume and contact angle at first fall little",
        "3d, e",
        "when phi falls to 0.5: V/V0 > 0.8, angle > 50°, after 0.3-2 s",
        checks.edges_first,
    ),
    Observation(
        "O11",
        "Then it is stripped quickly at a nearly constant 30°",
        "3e, S12",
        "30 ± 2° from where the line lets go to 1 % of the volume",
        checks.constant_angle,
    ),
    Observation(
        "O11a",
        "(from 60° of eqs 1-6 and 30°) the contact line lets go at one volume",
        "S12",
        "V/V0 within 1 % of the ratio of two caps on one base",
        checks.depinning,
    ),
    Observation(
        "O11b",
        "(from the same) the angle never leaves 30-60°",
        "S12",
        "each particle at each look, 1e-9°",
        checks.angles,
    ),
    Observation(
        "O12",
        "Cycles repeat",
        "S5",
        "mean cv of N(0.8 s) over five cycles < 0.15",
        checks.cycles,
    ),
    Observation(
        "O12a",
        "(from charge balance) all charge comes back",
        "S5",
        "charge left on the fibre over all deposited <= 1e-12",
        checks.charge_back,
    ),
    Observation(
        "O13",
        "Pairs of about 30 and 100 nm are seen to fuse",
        "2d, e",
        "neck down to a tenth in < 50 ms; in 0.2-3 s",
        checks.pairs,
    ),
    Observation(
        "O14",
        "Nuclei start amorphous and turn BCC as they grow",
        "4a, c",
        "BCC share rises with atoms, < 0.2 at 250, > 0.8 at 10⁵; a fibre starts < 0.2, ends > 0.8",
        checks.crystallinity,
    ),
    Observation(
        "O14a",
        "Atoms diffuse slower in larger particles, ten times faster on their surface, much "
        "slower without the support",
        "4d, e, S17",
        "falls with size; ratios of 10 and > 1",
        checks.diffusivities,
    ),
    Observation(
        "O15",
        "Two fused crystals become a bicrystal, then a single crystal",
        "4b, S15",
        "two grains; boundary ends after R²/q, pairs of 30, 50, 100 nm",
        checks.bicrystal,
    ),
    Observation(
        "O15a",
        "A much smaller partner takes over the lattice of the larger at once",
        "4b",
        "one grain below half the size, two above",
        checks.adoption,
    ),
    Observation(
        "O16",
        "Several fibres do the same",
        "S6-S8",
        "N and mean d at 0.8 s of any two fibres < 5 standard errors apart",
        checks.same_laws,
    ),
    Observation(
        "O16a",
        "(the same, fibres with different contact)",
        "S6-S8",
        "bands of O1 and O2 on each fibre; the best fed has larger particles than the worst",
        checks.unlike_fibres,
    ),
    Observation(
        "O16b",
        "The same transition on the lithium oxide of the anode",
        "S13",
        "O8's size, phi from 0.4 to 0.9 in a mean of < 3 s (wider than O8: no time is given); "
        "stripped, phi < 0.5 at half the volume, then the receding angle ± 2°",
        checks.on_oxide,
    ),
    Observation(
        "O17",
        "With the beam blocked it goes the same way",
        "S1",
        "state and events at 100 e/(Å² s) and at none equal to the last bit",
        checks.beam_blocked,
    ),
    Observation(
        "O17a",
        "(a control must be able to fail) with couplings to the beam they differ",
        "S1, S2",
        "no run equal",
        checks.beam_sensitive,
    ),
    Observation(
        "C1",
        "(not in the paper) little of the 5 V is overpotential, and the current is small",
        "",
        "2.5-3.2 % and 0-50 pA at 0.8 s",
        checks.circuit,
    ),
)


def chosen(wanted: Iterable[str]) -> tuple[Observation, ...]:
    """Return the observations of these numbers; ``O11`` takes O11a and O11b along.

    Raises
    ------
    ValueError
        There is none of that number.
    """
    found: set[str] = set()
    for number in wanted:
        same = {row.number for row in OBSERVATIONS if number in (row.number, _whole(row.number))}
        if not same:
            known = ", ".join(row.number for row in OBSERVATIONS)
            raise ValueError(f"no observation {number!r}; there are {known}")
        found |= same
    return tuple(row for row in OBSERVATIONS if row.number in found)


def _whole(number: str) -> str:
    return number.rstrip("abc")


def observe(runs: Runs, observations: Iterable[Observation] = OBSERVATIONS) -> list[Row]:
    """Run what these observations need and return their rows."""
    rows = []
    for row in observations:
        found = row.find(runs)
        text = (row.number, row.paper, row.figure, row.check)
        rows.append(Row(*text, runs=found.runs, value=found.value, good=found.good))
    return rows


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m stmtem_control.simulators.observations",
        description="Run every observation of the paper on the kinetic model; "
        "exit status 1 if one does not come out.",
    )
    options.add_argument(
        "--seeds", type=int, default=40, metavar="N", help="runs of each kind (default 40)"
    )
    options.add_argument("--only", metavar="O7,O8", help="these observations")
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="give a parameter of the model another value in all runs; may be repeated",
    )
    options.add_argument("--markdown", action="store_true", help="print the table as markdown")
    options.add_argument(
        "--write",
        type=Path,
        metavar="PATH",
        help="put the table between the markers of a document instead of printing it",
    )
    return options


def _changes(given: Sequence[str]) -> Mapping[str, float]:
    changes = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set wants NAME=VALUE, not {item!r}")
        try:
            changes[name] = float(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, not {value!r}") from None
    return changes


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the table; return 0 if all checks pass, 1 if not, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    try:
        if options.seeds < 2:
            raise ValueError("--seeds must be 2 or more")
        wanted = chosen(options.only.split(",")) if options.only else OBSERVATIONS
        runs = Runs(range(1, options.seeds + 1), _changes(options.changes))
    except ValueError as error:
        return _complain(error)
    rows = observe(runs, wanted)
    line = summary(rows, checks.seed_text(runs.seeds), runs.changes)
    if options.write is not None:
        try:
            put_into_document(options.write, as_markdown(rows, line))
        except (OSError, ValueError) as error:
            return _complain(error)
        print(line)
    elif options.markdown:
        print(as_markdown(rows, line), end="")
    else:
        show(rows, line)
    return 0 if all(row.good for row in rows) else 1


def _complain(error: Exception) -> int:
    print(f"observations: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
