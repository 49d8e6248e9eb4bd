"""What a biasing source measures: a reading's values as signals, and in the timeline."""

import math

from ophyd import Device

from stmtem_control.clock import StationClock
from stmtem_control.timeline import Timeline

from .keithley_answers import Reading
from .signals import reading


class BiasReadings(Device):
    """The values of a source's last reading.

    Attributes
    ----------
    clock, timeline : StationClock, Timeline
        The station's clock, and where readings are noted for the frames.
    """

    voltage = reading("Voltage at the output, as measured.", "V", kind="hinted")
    current = reading("Current through the output, as measured.", "A", kind="hinted")
    in_compliance = reading("Whether the last reading was limited.", value=False)
    instrument_time = reading("Time stamp of the last reading, by the source's own timer.", "s")
    time_uncertainty = reading("The last reading's time was right within so much, + or -.", "s")

    clock: StationClock
    timeline: Timeline

    def publish_reading(self, found: Reading) -> None:
        """Note a reading in the timeline, and give its values to the signals."""
        sure = found.uncertainty_s
        self.timeline.record("voltage_V", found.t, found.voltage, sure)
        self.timeline.record("current_A", found.t, found.current, sure)
        self.timeline.record("compliance", found.t, found.compliance, sure)
        self._publish(found)

    def publish_no_reading(self, now: float) -> None:
        """Give NaN to the signals, of the station time `now` (s): there was nothing to measure."""
        self._publish(Reading(math.nan, math.nan, math.nan, False, 0, now))

    def publish_dropped(self) -> None:
        """Instead of a reading that was dropped: what was read before must not pass as new."""
        now = self.clock.now()
        # Nothing of the compliance: this is no reading of NaN, which the source can give when
        # something is wrong, and which the interlocks judge.
        self.timeline.record("voltage_V", now, math.nan)
        self.timeline.record("current_A", now, math.nan)
        self.publish_no_reading(now)

    def _publish(self, found: Reading) -> None:
        stamp, sure = self.clock.wall_time(found.t), found.uncertainty_s
        self.voltage.publish(found.voltage, stamp)
        self.current.publish(found.current, stamp)
        self.in_compliance.publish(found.compliance, stamp)
        self.instrument_time.publish(found.instrument_time, stamp)
        self.time_uncertainty.publish(sure, stamp)
