"""What answers take: the times that an estimate counts beside those that a plan asks for.

All are seconds on the wall, of host and wire; what an instrument needs in its own time (a reading,
coarse steps, an exposure) comes from the station file and is counted by the station's clock.  They
are means over messages of one kind in runs on the simulated bench, which had the computer's two
cores before all other programs; ``python -m benchmarks estimate`` shows what comes of them beside
a run.  On GPIB or a serial line an exchange takes some milliseconds more.
"""

from dataclasses import dataclass

from stmtem_control.config import Station

BITS_A_CHARACTER = 10  # on a serial line: start, eight bits, stop
SOURCE_CHARACTERS = 60  # of a level with its read-back and the look at the error queue
GPIB_S = 4e-3  # of the same three exchanges on GPIB, an assumption


@dataclass(frozen=True)
class Latencies:
    """Wall seconds of messages, by what they make instruments and host do.

    Attributes
    ----------
    message : float
        Any message, in the RunEngine.
    set_up, trigger, read, save, sleep : float
        Beside that one that sets something, starts a reading, reads a device, or waits for a time;
        an event, with its documents on disk.
    bias, line, fine, look : float
        Until the instrument has answered to a level, a digital line or a fine offset; the look
        whether coarse steps have ended.
    reading : float
        What a reading takes beside its conversions: two exchanges, and what the host waits more
        so that it is complete.
    source_off : float
        0 V and output off.
    configure, kickoff, collect, camera_stop : float
        Of the camera.
    first_frames : float
        The first acquisition of a session begins later by so much: its recorder wakes up.
    settle : float
        From the end of the last exposure until its row is final and on disk, beside half of a
        reading.
    prepare_level, prepare : float
        Each level of a sequence, and the rest of what sets it up.
    align : float
        The fit of a clapperboard, with the frames that it waits for.
    open_run, close_run, declare, begin, end : float
        Documents and folders; before the first message and after the last, in the safe state.
    """

    message: float = 3e-5
    set_up: float = 5e-4
    trigger: float = 4.5e-4
    read: float = 1.2e-4
    save: float = 5.6e-4
    sleep: float = 4e-4
    bias: float = 8e-4
    line: float = 1.7e-3
    fine: float = 1.9e-3
    look: float = 1.2e-3
    reading: float = 2.4e-3
    source_off: float = 1e-3
    configure: float = 5e-3
    kickoff: float = 5e-2
    first_frames: float = 0.1
    collect: float = 1.2e-3
    camera_stop: float = 1e-3
    settle: float = 0.26
    prepare_level: float = 2e-4
    prepare: float = 0.1
    align: float = 0.2
    open_run: float = 3e-3
    close_run: float = 4e-3
    declare: float = 8e-3
    begin: float = 2e-3
    end: float = 1e-2


def latencies_of(station: Station) -> tuple[Latencies, str]:
    """Return what answers take at a station, and where the numbers come from."""
    resource = station.bias_source.resource.upper()
    how = "answers take as long as on the simulated bench"
    measured = Latencies()
    if resource.startswith("GPIB"):
        extra, wire = GPIB_S, "GPIB"
    elif resource.startswith("ASRL"):
        baud = station.bias_source.baud_rate
        extra, wire = SOURCE_CHARACTERS * BITS_A_CHARACTER / baud, f"{baud} baud"
    else:
        return measured, how
    slower = Latencies(
        bias=measured.bias + extra,
        line=measured.line + extra,
        reading=measured.reading + extra,
        source_off=measured.source_off + extra,
        prepare_level=measured.prepare_level + extra / 5.0,
    )
    return slower, f"{how}, and those of the source {1e3 * extra:.3g} ms more, for {wire}"
