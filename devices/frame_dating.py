"""What is known of a frame the moment it has come: its facts, and the first row of its page."""

from collections.abc import Sequence
from typing import Any

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.timeline import Timeline

from .frame_reader import ReceivedFrame


class FrameDating:
    """Dates frames by their acquisition, or by a model of the camera's clock where there is one.

    Parameters
    ----------
    clock, timeline : StationClock, Timeline
        Station time, and what was true when.

    Attributes
    ----------
    model : (ClockModel, str) or None
        The model of the camera's clock in this run, and what the table calls it.
    """

    def __init__(self, clock: StationClock, timeline: Timeline) -> None:
        self.model: tuple[ClockModel, str] | None = None
        self._clock = clock
        self._timeline = timeline

    def facts(self, frame: ReceivedFrame) -> FrameFacts:
        """Return what is known of a frame, with the time of its exposure."""
        header, acquisition = frame.header, frame.acquisition
        model = self.model
        if frame.facts is not None and frame.dated_by is model:
            return frame.facts
        # Before they are dated: the session may tell it meanwhile.
        final = model is not None or acquisition.known
        if model is not None:
            start, unsure = model[0].station_time(header.unix_time_s)
            source = model[1]
        else:
            start, unsure = acquisition.date(header, frame.arrival)
            source = acquisition.time_source
        facts = FrameFacts(
            number=frame.number,
            sequence=header.sequence,
            dropped_before=frame.dropped_before,
            camera_time_s=header.unix_time_s,
            host_monotonic_s=frame.monotonic,
            start_s=start,
            uncertainty_s=unsure,
            time_source=source,
            exposure_s=header.exposure_s,
            period_s=acquisition.period_s,
            mean_counts=frame.mean_counts,
        )
        # They are asked for twice, and are the same if nothing that they rest on is still to come.
        if final:
            frame.facts, frame.dated_by = facts, model
        return facts

    def first_rows(
        self, frames: Sequence[ReceivedFrame], dose_rate_e_per_A2_s: float
    ) -> list[dict[str, Any]]:
        """Return what is known of neighbouring frames at once, for the case that nothing follows.

        What held during them is looked up for each only if it changed between the first and the
        last: they are exposed and come faster than it can be looked up.
        """
        known = [self.facts(frame) for frame in frames]
        if not known:
            return []
        first, last = self._held(known[0]), self._held(known[-1])
        rows = []
        for facts in known:
            held = first if first == last else self._held(facts)
            rows.append(
                {
                    "frame": facts.number,
                    "sequence": facts.sequence,
                    "dropped_before": facts.dropped_before,
                    "camera_time_s": facts.camera_time_s,
                    "host_monotonic_s": facts.host_monotonic_s,
                    "host_time_s": self._clock.unix_time(facts.host_monotonic_s),
                    "run_time_s": self._timeline.run_time(facts.start_s),
                    "time_uncertainty_s": facts.uncertainty_s,
                    "time_source": facts.time_source,
                    "exposure_s": facts.exposure_s,
                    **held,
                    "dose_rate_e_per_A2_s": dose_rate_e_per_A2_s,
                    "mean_counts": facts.mean_counts,
                    "period_s": facts.period_s,
                }
            )
        return rows

    def _held(self, facts: FrameFacts) -> dict[str, Any]:
        timeline, middle = self._timeline, facts.start_s + 0.5 * facts.exposure_s
        phase, cycle = timeline.mark_at(middle)
        return {
            "phase": phase,
            "cycle": cycle,
            "bias_set_V": timeline.at("bias_set_V", middle),
            "blanked": bool(timeline.at("blanked", middle)),
        }
