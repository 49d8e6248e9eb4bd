"""A step of a protocol in words, for the record and for people."""

from typing import Any

from stmtem_control.units import seconds, si


def words_of(step: Any) -> str:
    """Return what a step does, in one line.

    Parameters
    ----------
    step : Step
        Of a protocol.
    """
    match step.kind:
        case "deposit" | "strip" | "hold":
            return _biased(step)
        case "rest":
            return f"0 V for {seconds(step.duration_s)}"
        case "blank":
            looks = ""
            if step.snapshots is not None:
                every = seconds(step.snapshots.every_s)
                looks = f", {step.snapshots.frames} frames every {every}"
            bias = si(step.bias_V, "V")
            return f"beam blanked at {bias} for {seconds(step.duration_s)}{looks}"
        case "survey":
            return f"{step.frames} frames at the survey magnification"
        case "diffraction":
            length = step.camera_length_m
            at = f" at a camera length of {si(length, 'm')}" if length else ""
            return f"{step.frames} patterns{at}"
        case "retract":
            return f"{step.steps} coarse steps back"
        case "cycles":
            return f"{step.repeat} cycles of {_biased(step.deposit)}, then {_biased(step.strip)}"
        case "prompt" | "comment" | "site":
            return str(step.text)
        case _:
            given = step.settings() if hasattr(step, "settings") else {}
            return ", ".join(f"{name} {value:g}" for name, value in given.items()) or "defaults"


def _biased(step: Any) -> str:
    biases = step.biases_V
    if len(biases) > 1:
        levels = ", ".join(f"{volts:g}" for volts in biases)
        return f"{levels} V, {seconds(step.each_s or 0.0)} at each"
    ramp = f", by {step.ramp_V_per_s:g} V/s" if step.ramp_V_per_s else ""
    bias = f"{si(biases[0], 'V')}{ramp}"
    if step.until:
        ends = " or ".join(str(condition) for condition in step.until)
        return f"{bias} until {ends}, at most {seconds(step.timeout_s or 0.0)}"
    return f"{bias} for {seconds(step.longest_s)}"
