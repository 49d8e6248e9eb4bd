"""The steps of a protocol, one model each; the key of a step is its ``kind``."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from .conditions import Until
from .fields import (
    Count,
    Duration,
    Flag,
    NegativeVolts,
    Number,
    Part,
    Pause,
    PositiveAmperes,
    PositiveGigaohms,
    PositiveMetres,
    PositiveVolts,
    Text,
    Volts,
    VoltsPerSecond,
)


class StepPart(Part):
    """A step, or a part of one, that knows where it stands in its file."""

    where: str = Field(default="", exclude=True, repr=False)
    """File and line, for messages; it makes no difference between steps."""

    def __eq__(self, other: object) -> bool:
        """Compare what is to be done, not where it is written."""
        return isinstance(other, type(self)) and self._content() == other._content()

    def __hash__(self) -> int:
        """Return a hash of what is to be done."""
        return hash(self._content())

    def _content(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in type(self).model_fields if name != "where")


class Biased(StepPart):
    """A time under bias: at one value, up a ramp, or down a staircase of levels."""

    bias_V: Volts | None = None
    """Bias at the fibre."""
    levels_V: Annotated[tuple[Volts, ...], Field(min_length=1, max_length=1000)] | None = None
    """Instead of `bias`: one bias after the other."""
    ramp_V_per_s: VoltsPerSecond | None = None
    """Speed (V/s) at which the bias goes from what it was to `bias`; without it, at once."""
    each_s: Duration | None = None
    """With `levels`: time at each of them."""
    duration_s: Duration | None = None
    """How long, from the first change of the bias on: a ramp is part of it."""
    until: Until = ()
    """Ends the step when the first of these is so; needs a `timeout`."""
    timeout_s: Duration | None = None
    """Longest time to wait for `until`; reached, the run goes on and says so."""

    @property
    def biases_V(self) -> tuple[float, ...]:
        """The bias, or the levels one after the other, in V."""
        return self.levels_V or (() if self.bias_V is None else (self.bias_V,))

    @property
    def longest_s(self) -> float:
        """How long it lasts, in s; with `until`: at most."""
        if self.each_s is not None:
            return self.each_s * len(self.biases_V)
        return self.duration_s or self.timeout_s or 0.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        levels = self.levels_V is not None
        if levels == (self.bias_V is not None):
            raise _refused("bias", "give either 'bias' or 'levels'")
        if levels:
            for key in ("ramp_V_per_s", "duration_s", "timeout_s"):
                if getattr(self, key) is not None:
                    raise _refused(key, "'levels' take 'each' alone, the time at each level")
            if self.each_s is None or self.until:
                raise _refused("levels", "'levels' take 'each' alone, the time at each level")
            return self
        if self.each_s is not None:
            raise _refused("each_s", "'each' is the time at each of 'levels'; give 'duration'")
        if self.until:
            if self.timeout_s is None:
                raise _refused("until", "'until' needs a 'timeout', for example '20 s'")
            if self.duration_s is not None:
                raise _refused("duration_s", "give either 'duration', or 'until' and 'timeout'")
            self._check_waits()
        elif self.timeout_s is not None:
            raise _refused("timeout_s", "a 'timeout' belongs to 'until'; give 'duration'")
        elif self.duration_s is None:
            raise _refused("", "give 'duration', or 'until' and 'timeout'")
        return self

    def _check_waits(self) -> None:
        for condition in self.until:
            late = condition.kind == "elapsed" and (condition.value or 0.0) > (self.timeout_s or 0)
            if late:
                raise _refused("timeout_s", "the 'timeout' comes before 'elapsed' is reached")


def _refused(field: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError("together", "{allowed}", {"field": field, "allowed": allowed})


class Approach(StepPart):
    """Bring the probe to contact, beam blanked; what is not given is as in `approach_contact`."""

    example: ClassVar[str] = "{}"
    kind: Literal["approach"] = "approach"
    approach_V: Volts | None = Field(default=None, validation_alias="bias", examples=["0.5 V"])
    """Bias while approaching."""
    threshold_A: PositiveAmperes | None = Field(default=None, examples=["2 pA"])
    """Least current over the leak that can be a contact."""
    short_A: PositiveAmperes | None = Field(default=None, examples=["5 nA"])
    """Current that is a short."""
    sigmas: Number | None = None
    """A current is seen when it exceeds the leak by so many standard deviations."""
    readings: Count | None = None
    """Readings that confirm each decision."""
    oxide_GOhm: PositiveGigaohms | None = None
    """A contact of less than so much is ohmic, one of more is through the oxide."""
    fine_step_V: PositiveVolts | None = Field(default=None, examples=["0.5 V"])
    """Step of the fine offset while nothing is seen, in V of the piezo."""
    least_step_V: PositiveVolts | None = Field(default=None, examples=["20 mV"])
    """Step of the fine offset close to contact, in V of the piezo."""
    fine_range_V: PositiveVolts | None = Field(default=None, examples=["20 V"])
    """How far the fine offset goes before coarse steps are taken, in V of the piezo."""
    coarse_step: Count | None = None
    """Coarse steps between two fine sweeps, while their size is not known."""
    max_coarse_steps: Annotated[int, Field(strict=True, ge=0, le=100_000)] | None = None
    """Give up after so many."""
    learn_steps: Flag | None = None
    """Measure the size of coarse steps at the contact while it is not well known."""

    def settings(self) -> dict[str, Any]:
        """Return what is given, by the names that the plan `approach_contact` has for it."""
        return self.model_dump(exclude_none=True, exclude={"kind"})


class LeakageBaseline(StepPart):
    """Measure what flows without a contact, before the approach."""

    example: ClassVar[str] = "{}"
    kind: Literal["leakage_baseline"] = "leakage_baseline"
    max_V: PositiveVolts | None = Field(default=None, validation_alias="bias")
    """Highest level; levels of both signs are measured."""
    levels: Annotated[int, Field(strict=True, ge=1, le=50)] | None = None
    """How many of each sign, evenly from 0 V."""
    readings: Annotated[int, Field(strict=True, ge=4, le=10_000)] | None = None
    """At each level."""
    longest_s: Duration | None = None
    """Longest time to wait at a level until the current has come to rest."""

    def settings(self) -> dict[str, Any]:
        """Return what is given, by the names that the plan `leakage_baseline` has for it."""
        return self.model_dump(exclude_none=True, exclude={"kind"})


class Deposit(Biased):
    """Deposit lithium: a negative bias at the fibre, with frames throughout."""

    example: ClassVar[str] = "{bias: -5 V, duration: 34 s}"
    kind: Literal["deposit"] = "deposit"
    bias_V: NegativeVolts | None = None
    """Bias at the fibre, below zero."""
    levels_V: Annotated[tuple[NegativeVolts, ...], Field(min_length=1, max_length=1000)] | None = (
        None
    )
    """Instead of `bias`: one bias after the other."""


class Strip(Biased):
    """Strip lithium: a positive bias at the fibre, with frames throughout."""

    example: ClassVar[str] = "{bias: 5 V, until: {charge: 0 C}, timeout: 20 s}"
    kind: Literal["strip"] = "strip"
    bias_V: PositiveVolts | None = None
    """Bias at the fibre, above zero."""
    levels_V: Annotated[tuple[PositiveVolts, ...], Field(min_length=1, max_length=1000)] | None = (
        None
    )
    """Instead of `bias`: one bias after the other."""


class Hold(Biased):
    """Hold any bias, with frames throughout."""

    example: ClassVar[str] = "{bias: 1 V, duration: 2 s}"
    kind: Literal["hold"] = "hold"


class Cycles(StepPart):
    """Deposit and strip, again and again, with frames throughout."""

    example: ClassVar[str] = (
        "{repeat: 3, deposit: {bias: -5 V, duration: 1 s}, "
        "strip: {bias: 5 V, duration: 1 s}, rest: 0.25 s}"
    )
    kind: Literal["cycles"] = "cycles"
    repeat: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    """How many cycles."""
    deposit: Deposit
    """As the step of this name."""
    strip: Strip
    """As the step of this name."""
    between_s: Pause = 0.0
    """Time at 0 V between deposition and stripping."""
    rest_s: Pause = 0.0
    """Time at 0 V after each stripping."""


class Rest(StepPart):
    """Wait at 0 V, with frames throughout."""

    example: ClassVar[str] = "{duration: 1 s}"
    kind: Literal["rest"] = "rest"
    duration_s: Duration
    """How long."""


class Snapshots(StepPart):
    """Short looks while the beam is blanked otherwise."""

    every_s: Duration
    """Time from one to the next; the first one comes after this time."""
    frames: Count = 2
    """Frames of each."""


class Blank(StepPart):
    """Keep the beam blanked; with a bias, let lithium grow or dissolve unseen."""

    example: ClassVar[str] = "{duration: 10 s, snapshots: {every: 5 s, frames: 2}}"
    kind: Literal["blank"] = "blank"
    duration_s: Duration
    """How long."""
    bias_V: Volts = 0.0
    """Bias at the fibre meanwhile."""
    snapshots: Snapshots | None = None
    """Short looks meanwhile."""

    @model_validator(mode="after")
    def _looks_within(self) -> Self:
        if self.snapshots is not None and self.snapshots.every_s > self.duration_s:
            raise _refused("snapshots", "'every' is longer than 'duration': there would be none")
        return self


class Survey(StepPart):
    """Take a few frames at 0 V, to see where one is."""

    example: ClassVar[str] = "{frames: 4}"
    kind: Literal["survey"] = "survey"
    frames: Count = 4
    """How many."""


class Diffraction(StepPart):
    """Take diffraction patterns at 0 V, and go back to the image."""

    example: ClassVar[str] = "{frames: 10, camera_length: 0.5 m}"
    kind: Literal["diffraction"] = "diffraction"
    frames: Count = 10
    """How many patterns."""
    camera_length_m: PositiveMetres | None = None
    """Camera length; without it, the station's."""


class Retract(StepPart):
    """Take the probe away from the fibre, bias off and beam blanked."""

    example: ClassVar[str] = "{steps: 5}"
    kind: Literal["retract"] = "retract"
    steps: Count = 5
    """Coarse steps to go back, after the fine offset has gone to zero."""


class Prompt(StepPart):
    """Ask the person at the microscope to do something, and wait for the answer."""

    example: ClassVar[str] = "Bring the fibre into view and focus; then blank the beam."
    kind: Literal["prompt"] = "prompt"
    text: Text
    """What to do."""


class Comment(StepPart):
    """Say something in the documents and the log."""

    example: ClassVar[str] = "Free text."
    kind: Literal["comment"] = "comment"
    text: Text
    """What to say."""


class Site(StepPart):
    """Go to another place on the specimen, which the person does; its dose is booked from then on.

    The person is asked, and the answer waited for; bias off and beam blanked meanwhile.
    """

    example: ClassVar[str] = "fibre 2"
    kind: Literal["site"] = "site"
    text: Text
    """Name of the place, under which its dose is booked."""


#: Steps that are written as text alone.
WRITTEN_AS_TEXT = (Prompt, Comment, Site)

STEPS: tuple[type[StepPart], ...] = (
    Prompt,
    Comment,
    Site,
    LeakageBaseline,
    Approach,
    Survey,
    Cycles,
    Deposit,
    Strip,
    Hold,
    Rest,
    Blank,
    Diffraction,
    Retract,
)
Step = Annotated[
    Prompt
    | Comment
    | Site
    | LeakageBaseline
    | Approach
    | Survey
    | Cycles
    | Deposit
    | Strip
    | Hold
    | Rest
    | Blank
    | Diffraction
    | Retract,
    Field(discriminator="kind"),
]


def kind_of(model: type[StepPart]) -> str:
    """Return the key of a step's model."""
    return str(model.model_fields["kind"].default)
