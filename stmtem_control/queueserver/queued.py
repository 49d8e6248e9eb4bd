"""The plans as a queue takes them: with limits, with words to choose from, devices by name."""

import functools
import inspect
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from bluesky_queueserver import (  # pyright: ignore[reportMissingImports]
    parameter_annotation_decorator,
)

from stmtem_control.config import Station
from stmtem_control.plans import PARAMETER_WORDS, make_safe, parameter_limits
from stmtem_control.public_plans import PlanFunction, public_plans

Span = tuple[float | None, float | None]  # least and most

#: Parameters of plans that a queue does not see: objects, not JSON.
BOUND = ("ask", "detectors")
#: Bluesky's own, for devices beside those of the station.
FOREIGN = ("count", "scan", "rel_scan", "list_scan")


def queued_plans(
    station: Station, devices: Mapping[str, Any], bound: Mapping[str, Any]
) -> dict[str, PlanFunction]:
    """Return all plans of a station's queue, by name.

    A device is the station's own where none is given, so that a queue need not name it; a probe
    that a plan can do without is left out.

    Parameters
    ----------
    station : Station
        It sets the limits.
    devices : mapping
        The station's, by name.
    bound : mapping
        What plans are given that no queue can: ``ask`` and ``detectors``.
    """
    import bluesky.plans as bp

    limits = parameter_limits(
        max_bias_V=station.bias_source.max_bias_V,
        max_fine_V=station.probe.max_fine_V,
        max_steps=station.probe.max_steps,
        hard_e_per_A2=station.dose.budget().hard.hard_e_per_A2,
    )
    found = {
        name: queued(plan, devices, bound, {**limits[""], **limits.get(name, {})})
        for name, plan in {**public_plans(), "make_safe": make_safe}.items()
    }
    return {**{name: getattr(bp, name) for name in FOREIGN}, **found}


def queued(
    plan: PlanFunction,
    devices: Mapping[str, Any],
    bound: Mapping[str, Any],
    limits: Mapping[str, Span],
) -> PlanFunction:
    """Return a plan for a queue: the same plan, with what a queue must know of its parameters.

    Parameters
    ----------
    plan : generator function
    devices : mapping
        A parameter that has the name of one of these takes that device only.
    bound : mapping
        Parameters that a queue does not see, and their values.
    limits : mapping
        Least and most, by parameter; others than the plan's are passed over.
    """
    signature = inspect.signature(plan)
    annotations: dict[str, dict[str, Any]] = {}
    parameters = []
    own: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name in bound:
            own[name] = bound[name]
            continue
        about = _numbers(limits.get(name, (None, None)))
        if name in devices:
            about = _device(name, optional=parameter.default is None)
            if parameter.default is not None:
                own[name] = devices[name]
                parameter = parameter.replace(default=devices[name])
                about["default"] = name
        elif name in PARAMETER_WORDS:
            one = parameter.annotation is str
            about = _words(name, "{}" if one else "typing.List[{}]", PARAMETER_WORDS[name])
        if about:
            annotations[name] = about
        parameters.append(parameter)

    # What must be given comes first, as Python wants it: follow_protocol("bursts.yaml").
    parameters.sort(key=_place)
    seen = signature.replace(parameters=parameters)

    @functools.wraps(plan)
    def with_devices(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from plan(**{**own, **seen.bind(*args, **kwargs).arguments}))

    with_devices.__signature__ = seen  # type: ignore[attr-defined]
    decorated: PlanFunction = parameter_annotation_decorator({"parameters": annotations})(
        with_devices
    )
    return decorated


def _place(parameter: inspect.Parameter) -> tuple[int, bool]:
    return parameter.kind, parameter.default is not parameter.empty


def _numbers(span: Span) -> dict[str, Any]:
    least, most = span
    return {key: value for key, value in (("min", least), ("max", most)) if value is not None}


def _words(name: str, annotation: str, words: Sequence[str]) -> dict[str, Any]:
    kind = name.capitalize()
    return {"annotation": annotation.format(kind), "enums": {kind: list(words)}}


def _device(name: str, *, optional: bool) -> dict[str, Any]:
    kind = name.capitalize()
    return {
        "annotation": f"typing.Optional[{kind}]" if optional else kind,
        "devices": {kind: [name]},
    }
