"""An estimate as a person reads it, on a terminal."""

import math
from typing import TYPE_CHECKING

from stmtem_control.units import megabytes, seconds, si

from .result import Estimate, SiteEstimate

if TYPE_CHECKING:
    from rich.console import Console

LISTED = 3  # frame timings that are told one by one


def show_estimate(estimate: Estimate, console: "Console") -> None:
    """Print what a plan would come to; first what would be refused."""
    from rich.markup import escape
    from rich.table import Table

    console.print(
        f"[bold]{escape(estimate.name)}[/bold]   at {escape(estimate.station)}", soft_wrap=True
    )
    for refusal in estimate.refusals:
        console.print(f"[bold red]refused[/bold red]  {escape(refusal.one_line())}", soft_wrap=True)
    for warning in estimate.warnings:
        console.print(f"[yellow]mind[/yellow]     {escape(warning)}", soft_wrap=True)
    if estimate.refusals or estimate.warnings:
        console.print()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in rows(estimate):
        table.add_row(name, escape(text))
    console.print(table)
    if estimate.assumptions:
        console.print("\ncounted on")
        for text in estimate.assumptions:
            console.print(f"  - {escape(text)}", soft_wrap=True)


def rows(estimate: Estimate) -> list[tuple[str, str]]:
    """Return the lines of the report: name and text."""
    wall = seconds(estimate.wall_s)
    faster = abs(estimate.station_s - estimate.wall_s) > 1e-9
    found = [
        (
            "time",
            f"{wall}, {seconds(estimate.station_s)} of the station's" if faster else wall,
        ),
        ("frames", _frames(estimate)),
        ("", _timings(estimate)),
        (
            "disk",
            f"{megabytes(estimate.bytes_on_disk)} of {megabytes(estimate.bytes_free)} free",
        ),
        (
            "bias",
            f"up to {si(estimate.highest_bias_V, 'V')}, {_count(estimate.bias_edges, 'edge')}, "
            f"{seconds(estimate.biased_s)} under bias",
        ),
        ("charge", _charge(estimate)),
        ("readings", f"about {estimate.readings}"),
    ]
    for one in estimate.sites:
        found.append(("dose", _dose(one)))
    return [(name, text) for name, text in found if text]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _frames(estimate: Estimate) -> str:
    if not estimate.acquisitions:
        return "none"
    about = "" if estimate.frames_exact else "about "
    height, width = estimate.image_shape
    series = f"in {len(estimate.acquisitions)} series"
    return f"{about}{estimate.frames} of {width} x {height} pixels, {series}"


def _timings(estimate: Estimate) -> str:
    found = list(
        dict.fromkeys(
            (one.frame_rate_Hz, one.exposure_s, one.electrons_per_pixel)
            for one in estimate.acquisitions
        )
    )
    if not found or len(found) > LISTED:
        return ""
    return "; ".join(
        f"{rate:g} Hz, {si(exposure, 's')}: {electrons:.3g} e- in a pixel of a frame"
        for rate, exposure, electrons in found
    )


def _charge(estimate: Estimate) -> str:
    if not estimate.biased_s:
        return ""
    most = f"at most {si(estimate.charge_limit_C, 'C')} (compliance)"
    if estimate.typical_charge_C is None:
        return most
    return f"about {si(estimate.typical_charge_C, 'C')} on this bench, {most}"


def _dose(one: SiteEstimate) -> str:
    where = f"{one.dose_e_per_A2:.4g} e/A^2 in {seconds(one.open_s)} of beam at {one.site!r}"
    if math.isinf(one.budget_e_per_A2):
        return f"{where} of {one.specimen!r}, where it hurts nothing"
    had = f", {one.had_e_per_A2:.4g} before" if one.had_e_per_A2 else ""
    left = max(0.0, one.left_e_per_A2)
    return f"{where}{had}; {left:.4g} left of {one.budget_e_per_A2:.4g} ({one.phase})"
