"""The streams of a run and their data keys, asked of the devices of a session on the bench."""

import tempfile
from typing import Any

from stmtem_control.config import load_station
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

from .docstrings import table


def rows(*described: Any) -> str:
    """Return a table of the data keys of all that is described."""
    keys: dict[str, Any] = {name: key for one in described for name, key in one.items()}
    return table(
        ("data key", "type", "unit", "shape"),
        [
            (
                f"`{name}`",
                f"{key['dtype']} `{key['dtype_numpy']}`" if "dtype_numpy" in key else key["dtype"],
                key.get("units") or "",
                "rows × columns" if key["shape"] else "",
            )
            for name, key in keys.items()
        ],
    )


def documents_page() -> str:
    """Return a section for each stream, and one for what stands in each run's start document."""
    station = load_station("sim").with_bench(speed=20.0, size=256).with_safe(guard=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        Bench(speed=20.0, size=256) as bench,
        Session(station.with_data(folder), addresses=bench.addresses.as_dict()) as session,
    ):
        bias, probe, camera = session.bias, session.probe, session.camera
        parts = [
            "## Stream `frames`",
            "Pages of events, and a resource for the images. One row a frame.",
            rows(camera.describe_collect()),
            "## Stream `readings`",
            "One event a reading of the source.",
            rows(bias.describe(), camera.phase.describe(), camera.cycle.describe()),
            "With a probe, also:",
            rows(probe.describe()),
            "## Stream `bias_sequence`",
            "One page when a sequence that the source runs by itself has ended.",
            rows(bias.sequence.describe_collect()),
            "## Configuration",
            "In the descriptor of each stream that the device takes part in.",
            rows(*(device.describe_configuration() for device in (bias, camera, probe))),
        ]
    return "\n\n".join(parts)
