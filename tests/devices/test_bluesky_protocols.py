"""What each device promises to Bluesky, by Bluesky's own runtime checks."""

import inspect
from typing import Any

import pytest
from bluesky import protocols
from bluesky.protocols import (
    Checkable,
    Collectable,
    Configurable,
    EventPageCollectable,
    Flyable,
    HasHints,
    Locatable,
    Movable,
    Pausable,
    Preparable,
    Readable,
    Stageable,
    Stoppable,
    Subscribable,
    Triggerable,
    WritesExternalAssets,
    WritesStreamAssets,
    check_supports,
)

from stmtem_control.session import Session

EVERY = {
    Checkable, Configurable, HasHints, Pausable, Readable, Stageable, Stoppable, Subscribable,
    Triggerable,
}  # fmt: skip
SIGNAL = {Checkable, HasHints, Readable, Subscribable, Triggerable}
PROMISED: dict[str, set[Any]] = {
    "bias": {*EVERY, Movable, Locatable},
    "beam": {*EVERY, Movable, Locatable},
    "probe": {*EVERY},
    "probe.z": {*EVERY},
    "camera": {
        *EVERY, Preparable, Flyable, Collectable, EventPageCollectable,
        WritesExternalAssets,
    },
    "alignment": {*EVERY},
    "bias.sequence": {*EVERY, Preparable, Flyable, Collectable, EventPageCollectable},
    "bias.current": SIGNAL,
    "bias.compliance": {*SIGNAL, Movable},
    "probe.z.fine": {*SIGNAL, Movable},
    "probe.z.coarse": {*SIGNAL, Movable, Stoppable},
    "camera.exposure_s": {*SIGNAL, Movable},
}  # fmt: skip
# A device with get_index would lose its rows without a word; a probe is moved by its axes.
NOT = {
    "camera": {WritesStreamAssets, Movable},
    "bias.sequence": {WritesStreamAssets},
    "probe": {Movable},
    "bias.current": {Flyable},
}


def device(session: Session, dotted: str) -> Any:
    found: Any = session
    for name in dotted.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("dotted", PROMISED)
def test_devices_support_what_they_promise(session: Session, dotted: str) -> None:
    found = device(session, dotted)
    for protocol in PROMISED[dotted]:
        assert check_supports(found, protocol) is found
    for protocol in NOT.get(dotted, set()):
        assert not isinstance(found, protocol), protocol.__name__
        with pytest.raises(AssertionError, match=protocol.__name__):
            check_supports(found, protocol)


def test_no_promise_is_forgotten(session: Session) -> None:
    """A device that came to support a protocol by accident is looked at here."""
    every = {
        kind
        for kind in vars(protocols).values()
        if inspect.isclass(kind) and getattr(kind, "_is_runtime_protocol", False)
    }
    unsaid = {protocols.HasName, protocols.HasParent, protocols.NamedMovable}
    for dotted in ("bias", "beam", "probe", "camera", "alignment", "bias.sequence"):
        found = device(session, dotted)
        supported = {kind for kind in every if isinstance(found, kind)} - unsaid
        assert supported == PROMISED[dotted], dotted
