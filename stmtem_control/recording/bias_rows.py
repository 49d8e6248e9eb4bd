"""The rows of ``bias.csv``: readings of the source, as the documents of a run tell them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

DIGITS = 6  # decimals of times: those of Bluesky's documents have no more

#: Which data key fills which column, for readings that a plan has triggered ...
READINGS = {
    "bias_set_V": "bias_setpoint",
    "voltage_V": "bias_voltage",
    "current_A": "bias_current",
    "in_compliance": "bias_in_compliance",
    "phase": "camera_phase",
    "cycle": "camera_cycle",
    "instrument_time_s": "bias_instrument_time",
    "time_uncertainty_s": "bias_time_uncertainty",
}
#: ... and for those that the source took by itself, in a sequence.
SEQUENCE = {
    "bias_set_V": "bias_sequence_level_V",
    "voltage_V": "bias_sequence_voltage",
    "current_A": "bias_sequence_current",
    "in_compliance": "bias_sequence_in_compliance",
    "instrument_time_s": "bias_sequence_instrument_time",
    "time_uncertainty_s": "bias_sequence_time_uncertainty",
}


class BiasRows:
    """Makes rows of the documents of one run, in their order.

    Parameters
    ----------
    run_time : callable
        Turns a Unix time (s) into run time (s).
    marks : callable, optional
        Returns phase and cycle at a Unix time (s), for readings that do not carry them.
    """

    def __init__(
        self,
        run_time: Callable[[float], float],
        marks: Callable[[float], tuple[str, int]] | None = None,
    ) -> None:
        self._run_time = run_time
        self._marks = marks
        self._stream_of: dict[str, str] = {}

    def rows(self, name: str, doc: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a document: one a reading, none if it tells of no reading."""
        if name == "descriptor":
            self._stream_of[doc["uid"]] = doc.get("name", "")
        if name not in ("event", "event_page"):
            return []
        keys = next((k for k in (READINGS, SEQUENCE) if k["voltage_V"] in doc["data"]), None)
        if keys is None:
            return []
        stream = self._stream_of.get(doc["descriptor"], "")
        return [self._row(event, keys, stream) for event in _events(name, doc)]

    def _row(
        self, event: Mapping[str, Any], keys: Mapping[str, str], stream: str
    ) -> dict[str, Any]:
        moment = event["timestamps"].get(keys["voltage_V"], event["time"])
        row: dict[str, Any] = {
            "run_time_s": round(self._run_time(moment), DIGITS),
            "time_s": round(moment, DIGITS),
        }
        data = event["data"]
        row.update((column, data[key]) for column, key in keys.items() if key in data)
        if "phase" not in keys and self._marks is not None:
            row["phase"], row["cycle"] = self._marks(moment)
        if not row.get("phase"):
            row["phase"] = "" if stream == "readings" else stream
        row.setdefault("cycle", 0)  # outside of cycles, as in the approach
        return row


def _events(name: str, doc: Any) -> Iterator[Mapping[str, Any]]:
    if name == "event":
        yield doc
        return
    from event_model import unpack_event_page

    for event in unpack_event_page(doc):
        yield dict(event)
