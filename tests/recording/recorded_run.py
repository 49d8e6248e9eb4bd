"""A run on disk as the session and its recorder leave it, made without any instrument."""

from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run

from stmtem_control.clock import StationClock
from stmtem_control.devices import data_keys, stream_resource
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.recording.frame_table import FrameTable
from stmtem_control.recording.journal import Journal
from stmtem_control.recording.page_writer import PageWriter
from stmtem_control.recording.rows import build_rows, row_json
from stmtem_control.run_folder import RunFolder
from stmtem_control.timeline import Timeline

SHAPE = (6, 8)
PERIOD_S, EXPOSURE_S = 0.1, 0.08
START_S = 3.0  # station time of the run's start
CAMERA_ZERO = 1_700_000_000.0  # of the camera's clock, at station time 0
DOSE_RATE = 0.8


def facts(number: int) -> FrameFacts:
    """Return what is known at once of frame `number`, exposed every tenth of a second."""
    start = START_S + 0.05 + PERIOD_S * number
    return FrameFacts(
        number=number,
        sequence=number + 1,
        dropped_before=0,
        camera_time_s=CAMERA_ZERO + start,
        host_monotonic_s=1000.0 + start,
        start_s=start,
        uncertainty_s=1e-3,
        time_source="start",
        exposure_s=EXPOSURE_S,
        period_s=PERIOD_S,
        mean_counts=float(number),
    )


def image(number: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return a frame that cannot be taken for another."""
    return np.full(SHAPE, number, np.uint16) + np.arange(48, dtype=np.uint16).reshape(SHAPE) * 100


def first_row(one: FrameFacts, timeline: Timeline) -> dict[str, Any]:
    """Return what the recorder writes with a page at first."""
    return {
        "frame": one.number,
        "sequence": one.sequence,
        "dropped_before": one.dropped_before,
        "camera_time_s": one.camera_time_s,
        "host_monotonic_s": one.host_monotonic_s,
        "host_time_s": CAMERA_ZERO + one.start_s,
        "run_time_s": timeline.run_time(one.start_s),
        "time_uncertainty_s": one.uncertainty_s,
        "time_source": one.time_source,
        "exposure_s": one.exposure_s,
        "bias_set_V": None,
        "dose_rate_e_per_A2_s": DOSE_RATE,
        "mean_counts": one.mean_counts,
        "period_s": one.period_s,
    }


def history() -> Timeline:
    """Return what was true when: bias, readings, phases and blanking of two seconds."""
    timeline = Timeline()
    timeline.record("bias_set_V", 1.0, 0.0)
    timeline.record("blanked", 1.0, True)
    timeline.start_run(START_S)
    timeline.record("blanked", START_S + 0.2, False, 1e-4)
    for cycle, t in enumerate((0.3, 0.8), 1):
        timeline.record("phase", START_S + t, "deposit")
        timeline.record("cycle", START_S + t, cycle)
        timeline.record("bias_set_V", START_S + t + 0.01, -5.0 * cycle, 1e-4)
    for number in range(40):
        t = START_S + 0.05 * number + 0.013
        timeline.record("voltage_V", t, -4.9)
        timeline.record("current_A", t, -1e-10 * number)
        timeline.record("compliance", t, number == 9)
    return timeline


def record(
    root: Path,
    *,
    frames: int = 12,
    settled: int | None = None,
    declared: int | None = None,
    stopped: bool = True,
    frames_per_file: int = 5,
    compression: str | None = None,
) -> Path:
    """Record a run as the session does.

    Parameters
    ----------
    root : Path
        Where the run folder goes.
    frames, settled, declared : int
        Pages, final rows, and frames in the documents; all by default.
    stopped : bool
        Whether the run was closed.
    """
    settled = frames if settled is None else settled
    declared = settled if declared is None else declared
    clock, timeline = StationClock(), history()
    keeper = RunFolder(
        root,
        station_toml="[station]\n",
        run_time=lambda moment: moment,
    )
    bundle = compose_run(time=CAMERA_ZERO, metadata={"plan_name": "deposit"})
    keeper("start", dict(bundle.start_doc))
    folder = keeper.folder
    assert folder is not None
    journal = Journal(folder, clock, run_start_s=START_S, about={"dose_rate_e_per_A2_s": DOSE_RATE})
    timeline.listen(journal.add, since=START_S)
    journal.close()
    known = [facts(number) for number in range(frames)]
    pages = PageWriter(
        folder,
        shape=SHAPE,
        dtype=np.uint16,
        pixel_size_nm=0.5,
        frame_interval_s=PERIOD_S,
        frames_per_file=frames_per_file,
        compression=compression,  # type: ignore[arg-type]
    )
    for one in known:
        pages.write([(image(one.number), row_json(first_row(one, timeline), False))])
    rows = build_rows(timeline, known[:settled], dose_rate_e_per_A2_s=DOSE_RATE, clock=clock)
    table = FrameTable(folder)
    for row in rows:
        pages.amend(row["frame"], row_json(row, True))
    table.append(rows)
    table.close()
    readings = bundle.compose_descriptor(
        name="readings",
        data_keys={
            key: {"source": "sim", "dtype": "number", "shape": []}
            for key in ("bias_setpoint", "bias_voltage")
        },
    )
    keeper("descriptor", dict(readings.descriptor_doc))
    stream = bundle.compose_descriptor(
        name="frames", data_keys=data_keys("camera", SHAPE, np.dtype(np.uint16))
    )
    keeper("descriptor", dict(stream.descriptor_doc))
    resource = stream_resource("camera", folder, SHAPE, frames_per_file)
    if declared:
        keeper(
            "stream_resource",
            {**resource.stream_resource_doc, "run_start": bundle.start_doc["uid"]},
        )
    for first in range(0, declared, 4):
        last = min(first + 4, declared)
        ranges = {"start": first, "stop": last}, {"start": first + 1, "stop": last + 1}
        datum = resource.compose_stream_datum(*ranges, stream.descriptor_doc)
        keeper("stream_datum", dict(datum))
        stamps = [clock.wall_time(row["run_time_s"] + START_S) for row in rows[first:last]]
        values = {f"camera_{name}": [row[name] for row in rows[first:last]] for name in rows[0]}
        page = stream.compose_event_page(
            data=values,
            timestamps=dict.fromkeys(values, stamps),
            time=stamps,
            seq_num=list(range(first + 1, last + 1)),
            validate=not any(v != v for column in values.values() for v in column),
        )
        keeper("event_page", dict(page))
        event = readings.compose_event(
            data={"bias_setpoint": -5.0, "bias_voltage": -4.9},
            timestamps={"bias_setpoint": stamps[0], "bias_voltage": stamps[0]},
            time=stamps[0],
        )
        keeper("event", dict(event))
    if stopped:
        pages.close()
        keeper("stop", dict(bundle.compose_stop()))
    else:
        keeper.close()
        for file in pages._files.values():
            file._let_go()  # as a kill does: viewers are told nothing
    return folder


def read_back(folder: Path) -> dict[str, bytes]:
    """Return every byte of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
