"""The STM probe: three axes, each with coarse steps and a fine offset."""

import logging
from typing import Any

from ophyd import Component, Device

from stmtem_control.clock import StationClock
from stmtem_control.errors import StmTemError
from stmtem_control.permit import Permit, always
from stmtem_control.timeline import Timeline

from .anc300 import Anc300
from .live_state import LiveState
from .piezo_axis import PiezoAxis
from .signals import problem_of, setting
from .step_sizes import StepSizes

log = logging.getLogger(__name__)

STOP_S = 1.5  # wall seconds that a stop may take, with a new connection, before it gives up


class PiezoProbe(LiveState, Device):
    """The probe on its three-axis piezo drive.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    controller : Anc300
        The driver.
    clock, timeline : StationClock, Timeline
        The station's clock: steps take station time; and where offsets and the steps of z are
        noted for the frames.
    axes : tuple of int
        Axis numbers of the controller for x, y, z.
    frequency_Hz, amplitude_V : int, float
        Of the steps, for all axes at the start.
    max_fine_V : float
        Largest fine offset in V.
    max_steps : int
        Largest magnitude of the net coarse steps.
    """

    x = Component(PiezoAxis, "")
    y = Component(PiezoAxis, "")
    z = Component(PiezoAxis, "")
    contact = setting("What the contact was when it was last judged.", value="open")
    step_size = Component(StepSizes, "", kind="config", doc="Coarse steps of z, as learned.")

    def __init__(
        self,
        *,
        name: str = "probe",
        controller: Anc300,
        clock: StationClock,
        timeline: Timeline,
        axes: tuple[int, int, int] = (1, 2, 3),
        frequency_Hz: int = 1000,
        amplitude_V: float = 30.0,
        max_fine_V: float = 150.0,
        max_steps: int = 200,
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.controller = controller
        self.clock = clock
        self.unsafe: str | None = None
        self.permit: Permit = always  # the interlocks put theirs in place
        for axis, number in zip(self._axes, axes, strict=True):
            axis.attach(
                controller,
                clock,
                timeline,
                number,
                max_fine_V=max_fine_V,
                max_steps=max_steps,
                frequency_Hz=frequency_Hz,
                amplitude_V=amplitude_V,
                permit=lambda action: self.permit(action),
                stop_axes=lambda these, success: self.stop_axes(these, success=success),
            )

    @property
    def _axes(self) -> tuple[PiezoAxis, PiezoAxis, PiezoAxis]:
        return self.x, self.y, self.z

    def connect(self, timeout: float = 10.0) -> None:
        """Open the link, make sure who is there, and bring every axis to a known state.

        Raises
        ------
        TransportError
            Nothing answers.
        IdentityError
            Another instrument answers, or a module is missing.
        InstrumentError
            It refuses a setting.
        """
        self.controller.link.open(timeout, restore=False)
        self.controller.open().result(timeout)
        for axis in self._axes:
            axis.connect(timeout)

    def disconnect(self) -> None:
        """Stop and ground all axes, on a new connection if need be, and close the link."""
        link = self.controller.link
        if link.alive or (self.controller.controller is not None and not link.closed):
            try:
                self.ground()
            except StmTemError as error:
                log.error("%s: not grounded: %s", self.name, error)
        self.controller.link.close()

    @property
    def moving(self) -> bool:
        """Whether an axis is stepping."""
        return any(axis.moving for axis in self._axes)

    def stop(self, *, success: bool = True) -> None:
        """Stop all axes before all that waits; fine offsets are kept.  Never raises."""
        self.stop_axes(list(self._axes), success=success)

    def stop_axes(self, axes: list[PiezoAxis], *, success: bool) -> None:
        """Stop some axes; see :meth:`stop`."""
        numbers = [axis.number for axis in axes]
        problem = problem_of(self.controller.stop(numbers), STOP_S)
        if problem is not None:
            log.error("%s: stop NOT confirmed: %s", self.name, problem)
            problem = f"stop not confirmed: {problem}"
        self.unsafe = problem
        for axis in axes:
            axis.stopped(success)

    def pause(self) -> None:
        """Stop all axes."""
        self.stop()

    def resume(self) -> None:
        """Do nothing: what is missing of a coarse set is sent when it is set again."""

    def live_state(self) -> str:
        """Return where z is, and what the contact was when it was last judged."""
        state = f"z {self.z.live_state()}, contact {self.contact.get()}"
        return state if self.unsafe is None else f"{state}, NOT SAFE: {self.unsafe}"

    def ground(self) -> None:
        """Stop all axes and take their outputs to ground.

        Raises
        ------
        StmTemError
            The controller did not do it.
        """
        try:
            self.controller.ground().result(STOP_S)
        finally:
            for axis in self._axes:
                axis.stopped(True)
        for axis in self._axes:
            axis.grounded()
