"""The command that looks at the dose ledger: what each site has had, and what is left."""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_options import add_station
from .errors import ConfigError, RecordingError
from .terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from .config import Station
    from .dose.bookings import Exposure, SiteTotal
    from .dose.ledger import Ledger


def add_dose_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``dose`` to the command line."""
    dose = commands.add_parser(
        "dose",
        help="say what dose each specimen and site has had, and what is left",
        description="Without names: all specimens and sites, and the calibrations. With a "
        "specimen, its sites; with a site, its history, exposure by exposure.",
        epilog="exit codes: 0 done; 2 no such ledger, specimen or site, or a damaged ledger",
    )
    dose.add_argument("specimen", nargs="?", metavar="SPECIMEN", help="a part of its name will do")
    dose.add_argument("site", nargs="?", metavar="SITE", help="a part of its name will do")
    add_station(dose)
    dose.add_argument("--data", metavar="DIR", help="data folder (default: the station's)")
    dose.add_argument("--csv", metavar="FILE", help="write all exposures as a table; - for output")
    dose.add_argument(
        "--picture",
        metavar="FILE",
        help="draw dose against time with the limits, and the dose map, of one site (PNG, PDF)",
    )
    dose.set_defaults(run=_dose)


def _dose(options: argparse.Namespace) -> int:
    from .config import load_station
    from .dose.ledger import Ledger
    from .station_dose import ledger_path

    station = load_station(options.station, data=options.data)
    path = ledger_path(station)
    console = make_console()
    if not path.exists() and not (options.specimen or options.csv or options.picture):
        console.print(f"no dose is booked yet in {path}", soft_wrap=True)
        _show_calibrations(station, console)
        return 0
    with Ledger(path, readonly=True) as ledger:
        totals = _chosen(ledger, options.specimen, options.site)
        exposures = [
            one for total in totals for one in ledger.exposures(total.specimen, total.site)
        ]
        if options.csv is not None:
            _write_csv(exposures, options.csv)
        elif options.picture is not None:
            if len(totals) != 1:
                raise ConfigError(
                    f"a picture shows one site, {len(totals)} fit; give specimen and site"
                )
            print(_draw(station, totals[0], exposures, Path(options.picture)))
        else:
            _show_totals(station, totals, console)
            if options.site is not None:
                _show_history(exposures, console)
            elif options.specimen is None:
                _show_calibrations(station, console)
    return 0


def _chosen(ledger: "Ledger", specimen: str | None, site: str | None) -> "list[SiteTotal]":
    """Return the sites that fit, an exact name before a part of one."""
    found = ledger.totals()
    for what, name in (("specimen", specimen), ("site", site)):
        if name is None:
            continue
        exact = [one for one in found if getattr(one, what) == name]
        known = sorted({getattr(one, what) for one in found})
        found = exact or [one for one in found if name in getattr(one, what)]
        if not found:
            raise RecordingError(
                f"{ledger.path}: no {what} {name!r}; there are: {', '.join(known) or 'none'}"
            )
    return found


def _show_totals(station: "Station", totals: "Sequence[SiteTotal]", console: "Console") -> None:
    from rich.table import Table

    budget = station.dose.budget()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("specimen")
    table.add_column("site")
    for head in ("dose e/Å²", "± 95 %", "open s", "runs"):
        table.add_column(head, justify="right")
    table.add_column("last, UTC")
    for phase in budget.phases:
        table.add_column(f"left {phase.name}", justify="right")
    for one in totals:
        left = budget.left_e_per_A2(one.dose_e_per_A2)
        vacuum = one.specimen == "vacuum"
        table.add_row(
            one.specimen,
            one.site,
            _number(one.dose_e_per_A2) + ("*" if one.unsettled_e_per_A2 else ""),
            _number(one.uncertainty_e_per_A2),
            f"{one.open_s:.1f}",
            str(one.runs),
            _utc(one.last_unix_s),
            *("–" if vacuum else _left(left[phase.name]) for phase in budget.phases),
        )
    console.print(table)
    if any(one.unsettled_e_per_A2 for one in totals):
        console.print(
            "* with dose that is booked ahead: the beam is open now, or a session was killed; "
            "all of it counts",
            soft_wrap=True,
        )


def _show_history(exposures: "Sequence[Exposure]", console: "Console") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("begun, UTC")
    for head in ("dose e/Å²", "less by", "open s", "openings", "e/Å²/s"):
        table.add_column(head, justify="right")
    table.add_column("setting")
    table.add_column("run")
    for one in exposures:
        table.add_row(
            _utc(one.first_unix_s),
            _number(one.dose_e_per_A2) + ("" if one.settled else "*"),
            _number(one.uncertainty_e_per_A2),
            f"{one.open_s:.2f}",
            str(one.openings),
            f"{one.account.dose_rate_e_per_A2_s:.4g}",
            one.account.setting,
            one.account.run[:8] or "–",
        )
    console.print()
    console.print(table)


def _show_calibrations(station: "Station", console: "Console") -> None:
    from .dose.calibration import FRESH_S, REFUSED_S
    from .station_dose import find_calibrations

    now = time.time()
    found = find_calibrations(station, now)
    console.print()
    for _, one in sorted(found.items()):
        age = one.age_s(now)
        note = ""
        if age > REFUSED_S:
            note = "  [bold]too old: calibrate[/bold]"
        elif age > FRESH_S:
            note = "  stale: calibrate"
        console.print(f"calibration {one.one_line(now)}{note}", soft_wrap=True)


COLUMNS = (
    "specimen", "site", "begun_utc", "ended_utc", "dose_e_per_A2", "less_by_e_per_A2", "open_s",
    "openings", "settled", "setting", "dose_rate_e_per_A2_s", "relative_uncertainty", "run",
)  # fmt: skip


def _rows(exposures: "Sequence[Exposure]") -> Iterator[tuple[Any, ...]]:
    for one in exposures:
        account = one.account
        yield (
            account.specimen, account.site, _utc(one.first_unix_s, exact=True),
            _utc(one.last_unix_s, exact=True), one.dose_e_per_A2, one.uncertainty_e_per_A2,
            one.open_s, one.openings, one.settled, account.setting, account.dose_rate_e_per_A2_s,
            account.relative_uncertainty, account.run,
        )  # fmt: skip


def _write_csv(exposures: "Sequence[Exposure]", where: str) -> None:
    if where == "-":
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        writer.writerows(_rows(exposures))
        return
    try:
        with open(where, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_rows(exposures))
    except OSError as error:
        raise RecordingError(f"{where} cannot be written: {error.strerror or error}") from None
    print(where)


def _draw(
    station: "Station", total: "SiteTotal", exposures: "Sequence[Exposure]", path: Path
) -> Path:
    from .dose_picture import draw_site

    return draw_site(
        total,
        exposures,
        station.dose.budget(),
        root=Path(station.station.data),
        path=path,
    )


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 1e5 else f"{value:.3g}"


def _left(value: float) -> str:
    return _number(value) if value > 0.0 else "[bold]none[/bold]"


def _utc(unix_s: float, *, exact: bool = False) -> str:
    when = datetime.fromtimestamp(unix_s, UTC)
    return when.isoformat(timespec="milliseconds") if exact else f"{when:%Y-%m-%d %H:%M:%S}"
