"""The stream "step" of a protocol's run: an event as each step begins, and one as it ends."""

from typing import Any

from bluesky import Msg

from .notes import Fact, Notes
from .roles import Plan

STREAM = "step"
FACTS = {
    "number": Fact(0, "", "Number of the step in the protocol, from 1."),
    "of": Fact(0, "", "Steps of the protocol."),
    "kind": Fact("", "", "What kind of step it is: deposit, strip, prompt, ..."),
    "state": Fact("", "", "begin or end."),
    "cycle": Fact(0, "", "Cycle in which it is, from 1; 0 outside of cycles."),
    "text": Fact("", "", "The step in words; the text of a comment, or the question of a prompt."),
    "answer": Fact("", "", "What the person at the microscope has answered."),
    "reason": Fact("", "", "Why it ended: its time was over, a condition came, or a time-out."),
    "where": Fact("", "", "File and line of the step."),
    "bias_V": Fact(0.0, "V", "Bias that it aims at; 0 where it has none."),
    "charge_C": Fact(0.0, "C", "Charge since the first step under bias, the leak subtracted."),
    "mode": Fact("imaging", "", "Mode of the microscope: imaging, survey or diffraction."),
    "camera_length_m": Fact(0.0, "m", "Camera length of diffraction; 0: the station's, or none."),
    "beam_energy_keV": Fact(0.0, "keV", "Energy of the electrons; 0: the station does not say."),
    "planned_frames": Fact(0, "", "Frames planned in its block of frames; 0: not known before."),
    "site": Fact("", "", "Name of the place in the beam; empty: that of the session."),
}


class StepRecord:
    """Writes the events of the stream "step".

    Parameters
    ----------
    count : int
        Steps of the protocol.
    **always
        What stands in every event, for example the site.
    """

    def __init__(self, count: int, **always: Any) -> None:
        self._notes = Notes(STREAM, FACTS)
        self._always = {"of": count, **always}

    def begin(self, number: int, kind: str, text: str, **more: Any) -> Plan:
        """Note that a step begins."""
        fresh = {name: fact.value for name, fact in FACTS.items()}
        self._notes.write(**fresh)
        self._notes.write(
            **self._always, number=number, kind=kind, text=text, state="begin", **more
        )
        yield from self._event()

    def end(self, reason: str, **more: Any) -> Plan:
        """Note that it ends."""
        self._notes.write(**self._always, state="end", reason=reason, **more)
        yield from self._event()

    def always(self, **values: Any) -> None:
        """Let values stand in every event from now on."""
        self._always.update(values)

    def _event(self) -> Plan:
        yield Msg("create", None, name=STREAM)
        yield Msg("read", self._notes)
        yield Msg("save")
