"""Between plans: connections that broke are opened again, and a source that forgot is set up."""

import sys
from typing import TYPE_CHECKING, Any

from .errors import StmTemError

if TYPE_CHECKING:
    from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera, PiezoProbe

ANSWER_S = 10.0  # wall seconds that a connection with identification may take


def mend_links(
    bias: "BiasSource", beam: "BeamBlanker", probe: "PiezoProbe", camera: "FrameCamera"
) -> None:
    """Open the connections that broke in an earlier run; the drivers see who is there.

    All are tried, whether or not one fails.  A source that was switched off and on is set up
    again, for it is safe: its output is off, and setting it up leaves it off and the beam blanked.
    A probe that lost its offset is not, for it has moved: a person has to see where it is.

    Raises
    ------
    TransportError
        One cannot be opened, or leads to another instrument.
    """
    first: StmTemError | None = None
    for link in (bias.source.link, probe.controller.link, camera.merlin.link):
        if link.alive:
            continue
        try:
            link.open(ANSWER_S)
        except StmTemError as error:
            try:
                if link is not bias.source.link or not bias.source.has_forgotten:
                    raise
                _set_up_again(bias, beam, str(error))
            except StmTemError as failure:
                first = first or failure
    if first is not None:
        raise first


def _set_up_again(bias: Any, beam: Any, why: str) -> None:
    """Set the source up, with the compliance that was set last; tell the person."""
    bias.set_up_again(ANSWER_S)
    beam.connect(ANSWER_S)
    what = f"{why.partition(';')[0]}; it has been set up again"
    print(
        f"stmtem: {what}: output off, compliance {bias.compliance.get():g} A",
        file=sys.stderr,
        flush=True,
    )
