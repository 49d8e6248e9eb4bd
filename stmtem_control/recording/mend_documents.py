"""Close the documents of a run that was killed: declare what is on disk, and say how it ended.

Bluesky's documents are appended as they are emitted; a kill can cut them off anywhere.  Here the
frames that are on disk but in no document are declared, those that are declared but lost are taken
out again, and a stop document says what happened.  Numbers go on where they were: frame i of the
run has index i and sequence number i + 1.
"""

import math
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from .run_documents import Documents, FramesOnDisk

PAGE_ROWS = 1000  # rows in one event page
NAME = re.compile(r"(\d{8}T\d{6})Z_(.*)_([0-9a-f]{8})$")  # of a run folder
EMPTY = {"string": "", "boolean": False, "integer": 0}  # where a row has no value; else NaN
EXTERNAL = "STREAM:"
STOP = "a stop document"  # what is noted when there was none


def mend_documents(
    found: Documents,
    folder: Path,
    frames: FramesOnDisk | None,
    *,
    reason: Callable[[], str],
    ended: float,
) -> None:
    """Change `found` so that it fits the frames on disk, and ends.

    Parameters
    ----------
    found : Documents
        As read.
    folder : Path
        Of the run; its name stands in for a start document that was lost.
    frames : FramesOnDisk, optional
        None where the run has none.
    reason : callable
        Returns what the stop document shall say; asked only if one is made or changed.
    ended : float
        Unix time (s) of the last sign of life.
    """
    if found.first("start") is None:
        found.lines.insert(0, ("start", _start(found, folder)))
        found.note("a start document, as far as its fields are known")
    descriptor, key = _frames_descriptor(found)
    n = 0 if frames is None else len(frames.rows)
    if descriptor is not None:
        _take_back(found, descriptor["uid"], n)
    if frames is not None and n:
        _declare(found, frames, descriptor, key)
    _close(found, reason, ended)


def _start(found: Documents, folder: Path) -> dict[str, Any]:
    """Return a start document from what is left of the run's own, and from its folder's name."""
    from event_model import compose_run

    name = NAME.match(folder.name)
    moment, plan, short = name.groups() if name else ("19700101T000000", "run", "0" * 8)
    text = b"".join([*found.broken, found.torn]).decode("utf-8", "replace")
    if not text.startswith('["start"'):
        text = ""
    known = next((doc["run_start"] for _, doc in found.lines if "run_start" in doc), None)
    uid = re.search(r'"uid": "([0-9a-f-]{36})"', text)
    # The same folder always gets the same one.
    made_up = short + str(uuid.uuid5(uuid.NAMESPACE_URL, folder.name))[8:]
    began = re.search(r'"time": ([0-9.]+),', text)
    unix = datetime.strptime(moment, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    return dict(
        compose_run(
            uid=known or (uid[1] if uid else made_up),
            time=float(began[1]) if began else unix,
            metadata={"plan_name": plan, "recovered": True},
        ).start_doc
    )


def _frames_descriptor(found: Documents) -> tuple[dict[str, Any] | None, str]:
    """Return the descriptor of the stream with the images, and their data key."""
    for name, doc in found.lines:
        if name == "descriptor":
            for key, what in doc.get("data_keys", {}).items():
                if what.get("external") == EXTERNAL:
                    return doc, key
    return None, ""


def _take_back(found: Documents, descriptor: str, n: int) -> None:
    """Take out of the documents what they tell of frames from number `n` on."""
    kept: list[tuple[str, dict[str, Any]]] = []
    for name, doc in found.lines:
        if doc.get("descriptor") != descriptor or name not in ("stream_datum", "event_page"):
            kept.append((name, doc))
            continue
        inside = _cut_datum(doc, n) if name == "stream_datum" else _cut_page(doc, n)
        if inside is not doc:
            found.changed = True
            found.lost.append([name, doc])
        if inside is not None:
            kept.append((name, inside))
    found.lines = kept


def _cut_datum(doc: dict[str, Any], n: int) -> dict[str, Any] | None:
    indices, numbers = doc["indices"], doc["seq_nums"]
    over = indices["stop"] - max(n, indices["start"])
    if over <= 0:
        return doc
    if indices["start"] >= n:
        return None
    return {
        **doc,
        "indices": {**indices, "stop": indices["stop"] - over},
        "seq_nums": {**numbers, "stop": numbers["stop"] - over},
    }


def _cut_page(doc: dict[str, Any], n: int) -> dict[str, Any] | None:
    keep = [place for place, number in enumerate(doc["seq_num"]) if number <= n]
    if len(keep) == len(doc["seq_num"]):
        return doc
    if not keep:
        return None

    def cut(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {key: [values[place] for place in keep] for key, values in columns.items()}

    return {
        **doc,
        **{k: [doc[k][i] for i in keep] for k in ("uid", "time", "seq_num") if k in doc},
        **{k: cut(doc[k]) for k in ("data", "timestamps", "filled") if k in doc},
    }


def _declare(
    found: Documents, frames: FramesOnDisk, descriptor: dict[str, Any] | None, key: str
) -> None:
    """Add what is missing so that every frame on disk is declared, with its row."""
    import event_model

    n = len(frames.rows)
    start: Any = found.first("start")
    place = next((i for i, (name, _) in enumerate(found.lines) if name == "stop"), len(found.lines))
    new: list[tuple[str, Any]] = []
    if descriptor is None:
        keys, _ = frames.declare()
        key = next(name for name, what in keys.items() if "external" in what)
        bundle = event_model.compose_descriptor(
            start=start, streams={}, event_counters={}, name="frames", data_keys=keys
        )
        descriptor = dict(bundle.descriptor_doc)
        new.append(("descriptor", descriptor))
        found.note("the descriptor of the frames")
    resource = next(
        (
            doc
            for name, doc in found.lines
            if name == "stream_resource" and doc.get("data_key") == key
        ),
        None,
    )
    if resource is None:
        resource = {**frames.declare()[1], "data_key": key, "run_start": start["uid"]}
        new.append(("stream_resource", resource))
        found.note("the stream resource of the frames")
    found.lines[place:place] = new
    told, uids = _numbered(found, resource["uid"])
    rows_told: set[int] = set()
    for name, doc in found.lines:
        if name == "event_page" and doc["descriptor"] == descriptor["uid"]:
            rows_told.update(number - 1 for number in doc["seq_num"])
    free = (uid for i in count() if (uid := f"{resource['uid']}/{i}") not in uids)
    for first, last in _gaps(told, n):
        datum = {
            "stream_resource": resource["uid"],
            "uid": next(free),
            "seq_nums": {"start": first + 1, "stop": last + 1},
            "indices": {"start": first, "stop": last},
            "descriptor": descriptor["uid"],
        }
        _insert(found, "stream_datum", datum, first)
        found.note(f"the declaration of {_frames(first, last)}")
    for first, last in _gaps(rows_told, n):
        for begin in range(first, last, PAGE_ROWS):
            page = _page(frames, descriptor, begin, min(begin + PAGE_ROWS, last))
            _insert(found, "event_page", page, begin)
        found.note(f"the rows of {_frames(first, last)}")


def _numbered(found: Documents, resource: str) -> tuple[set[int], set[str]]:
    """Give each stream datum the numbers of its frames; return these frames, and the data's uids.

    Bluesky's counter stands still when a subscriber fails between a datum and its rows.
    """
    told: set[int] = set()
    uids: set[str] = set()
    for name, doc in found.lines:
        if name == "stream_datum" and doc["stream_resource"] == resource:
            first, last = doc["indices"]["start"], doc["indices"]["stop"]
            told.update(range(first, last))
            uids.add(doc["uid"])
            right = {"start": first + 1, "stop": last + 1}
            if doc["seq_nums"] != right:
                doc["seq_nums"] = right
                found.note(f"the numbers of {_frames(first, last)}")
    return told, uids


def _insert(found: Documents, name: str, doc: dict[str, Any], first: int) -> None:
    """Put in a document that begins with frame `first`, before those of its kind that come later.

    Documents of a stream are read in the order of their frames.
    """

    def is_later(kind: str, other: dict[str, Any]) -> bool:
        if kind != name or other["descriptor"] != doc["descriptor"]:
            return kind == "stop"
        begins = (
            other["indices"]["start"]
            if "indices" in other
            else min(other["seq_num"], default=1) - 1
        )
        return int(begins) > first

    places = (i for i, (kind, other) in enumerate(found.lines) if is_later(kind, other))
    found.lines.insert(next(places, len(found.lines)), (name, doc))


def _gaps(told: set[int], n: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges (first, behind the last) of the frames 0 to n - 1 that are not in `told`."""
    first: int | None = None
    for number in range(n + 1):
        missing = number < n and number not in told
        if missing and first is None:
            first = number
        elif not missing and first is not None:
            yield first, number
            first = None


def _page(
    frames: FramesOnDisk, descriptor: dict[str, Any], first: int, last: int
) -> dict[str, Any]:
    """Return the event page of the frames from `first` to before `last`."""
    image = next(k for k, what in descriptor["data_keys"].items() if what.get("external"))
    device = image.removesuffix("image")
    data: dict[str, list[Any]] = {}
    for key, what in descriptor["data_keys"].items():
        if "external" not in what:
            empty = EMPTY.get(what["dtype"], math.nan)
            values = [row.get(key.removeprefix(device)) for row in frames.rows[first:last]]
            data[key] = [empty if value is None else value for value in values]
    stamps = list(frames.stamps[first:last])
    return {
        "uid": [str(uuid.uuid4()) for _ in stamps],
        "time": stamps,
        "data": data,
        "timestamps": {key: list(stamps) for key in data},
        "seq_num": list(range(first + 1, last + 1)),
        "filled": {},
        "descriptor": descriptor["uid"],
    }


def _close(found: Documents, reason: Callable[[], str], ended: float) -> None:
    """Add a stop document, or make the one that is there count right."""
    import event_model

    start: Any = found.first("start")
    stop = found.first("stop")
    counts = _counts(found)
    if stop is None:
        counters = {stream: count + 1 for stream, count in counts.items()}
        made = event_model.compose_stop(
            start=start,
            event_counters=counters,
            poison_pill=[],
            exit_status="fail",
            reason=reason(),
            time=ended,
        )
        found.lines.append(("stop", dict(made)))
        found.note(STOP)
    elif found.changed or any(
        stop.get("num_events", {}).get(stream, 0) != count for stream, count in counts.items()
    ):
        stop["num_events"] = counts
        said, told = str(stop.get("reason", "")), reason()
        # What the session said may be in it already.
        stop["reason"] = told if not said or said in told else f"{said}; {told}"
        found.note("what was found, in the stop document")


def _counts(found: Documents) -> dict[str, int]:
    """Return how many events each stream has."""
    streams = {doc["uid"]: doc.get("name", "") for kind, doc in found.lines if kind == "descriptor"}
    counts = dict.fromkeys(streams.values(), 0)
    external = dict.fromkeys(streams.values(), 0)
    for kind, doc in found.lines:
        if doc.get("descriptor") not in streams:
            continue
        stream = streams[doc["descriptor"]]
        if kind == "stream_datum":
            external[stream] = max(external[stream], doc["seq_nums"]["stop"] - 1)
        else:
            counts[stream] += len(doc["seq_num"]) if kind == "event_page" else 1
    return {stream: max(count, external[stream]) for stream, count in counts.items()}


def _frames(first: int, last: int) -> str:
    return f"frame {first}" if last == first + 1 else f"frames {first} to {last - 1}"
