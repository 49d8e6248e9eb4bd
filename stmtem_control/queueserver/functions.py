"""What a client of the queue may call beside plans: the software all-off, and questions."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmtem_control.session import Session

    from .asked import Asked

WAIT_S = 10.0  # wall seconds that an all-off may take to be confirmed


def functions(session: "Session", asked: "Asked") -> dict[str, Callable[..., Any]]:
    """Return the functions of a session's queue by name; what they return is JSON.

    They may be called while a plan runs or is paused, with ``run_in_background=True``.
    """

    def all_off(reason: str = "asked for through the queue") -> dict[str, Any]:
        """Bias to 0 V and the output off, beam blanked, probe stopped; the running plan ends.

        It latches: until :func:`clear_interlocks`, a bias, an open beam and an approach are
        refused, whatever else is in the queue.

        Returns
        -------
        dict
            What became of each part; ``ok`` tells whether all is safe.
        """
        session.interlocks.trip_now("all off", str(reason))
        report = session.safe_state.make_safe(f"all off: {reason}")
        session.interlocks.wait(WAIT_S)
        return report.as_dict()

    def interlock_state() -> list[str]:
        """Return what has tripped, a line each; empty while all is well."""
        return [trip.text for trip in session.interlocks.trips]

    def clear_interlocks() -> list[str]:
        """Say that a person has seen to the cause; return what held."""
        held = interlock_state()
        session.interlocks.clear()
        return held

    def set_site(site: str, specimen: str | None = None) -> str:
        """Say what is in the beam now, between two plans; return its dose in one line.

        Raises
        ------
        InterlockError
            A plan runs, or is paused.
        """
        if specimen is not None:
            session.specimen = specimen
        session.site = site
        return session.dose.one_line()

    def station_state() -> dict[str, Any]:
        """Return what the devices last published, in SI units; no instrument is asked."""
        z = session.probe.z
        return {
            "process": os.getpid(),
            "run_engine": str(session.RE.state),
            "run": str(session.run_folder.folder or ""),
            "safe": bool(session.safe_state.at_rest),
            "bias_set_V": float(session.bias.setpoint.get()),
            "output": bool(session.bias.output.get()),
            "voltage_V": float(session.bias.voltage.get()),
            "current_A": float(session.bias.current.get()),
            "beam_blanked": bool(session.beam.blanked.get()),
            "frames": int(session.camera.frames_written.get()),
            "frames_dropped": int(session.camera.dropped.get()),
            "phase": str(session.camera.phase.get()),
            "cycle": int(session.camera.cycle.get()),
            "fine_V": float(z.fine.get()),
            "coarse_steps": int(z.coarse.get()),
            "contact": str(session.probe.contact.get()),
            "dose": session.dose.one_line(),
            "interlocks": interlock_state(),
        }

    def question() -> str:
        """Return what the running plan asks; empty while it asks nothing."""
        return asked.question

    def answer(text: str) -> bool:
        """Answer the running plan's question; "no" ends the plan.  False if nothing is asked."""
        return asked.answer(str(text))

    made = (
        all_off, interlock_state, clear_interlocks, set_site, station_state, question, answer,
    )  # fmt: skip
    return {function.__name__: function for function in made}
