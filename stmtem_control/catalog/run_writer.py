"""Writes the documents of one run into a Tiled catalog, also while there are more to come."""

# pyright: reportMissingImports=false
# bluesky-tiled-plugins comes with the extra "catalog"; nothing imports this module without it.

import math
from pathlib import Path
from typing import Any

from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer, _RunWriter

from .consolidator import MIMETYPE, register_consolidator

BATCH_ROWS = 10_000  # rows of a table in one request


class _Batches(_RunWriter):  # type: ignore[misc,unused-ignore]
    """Bluesky's own writer, which can be asked to write what it has gathered so far.

    TiledWriter writes at a run's end or when a batch is full: with large batches, a run that goes
    on is not seen; with small ones each row costs a tenth of a second.
    """

    def flush(self) -> None:
        for stream, rows in self._internal_data_cache.items():
            if rows:
                self._write_internal_data(rows, desc_node=self._desc_nodes[stream])
                rows.clear()
        gathered = list(self._external_data_cache.values())
        self._external_data_cache.clear()
        for datum in gathered:
            self._write_external_data(datum)


class RunWriter:
    """Takes the documents of one run in order.

    Parameters
    ----------
    client : tiled.client.container.Container
        Where the run goes.
    folder : Path
        Of the run.  Its frames are served from there, wherever they were recorded.
    batch_rows : int
        Rows of a table that are sent in one request, at most.
    """

    def __init__(self, client: Any, folder: Path, batch_rows: int = BATCH_ROWS) -> None:
        register_consolidator()
        self._folder = folder.resolve()
        self._writer = _Batches(client.include_data_sources(), batch_size=batch_rows)
        self._normalizer = RunNormalizer()
        self._normalizer.subscribe(self._writer)
        self._numbers: dict[str, set[str]] = {}  # by descriptor

    def write(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document; what Tiled raises passes through."""
        if name == "stream_resource" and doc.get("mimetype") == MIMETYPE:
            doc = {**doc, "uri": self._folder.as_uri() + "/"}
        elif name == "descriptor":
            self._numbers[doc["uid"]] = {
                key
                for key, what in doc["data_keys"].items()
                if what.get("dtype") == "number" and not what.get("shape")
            }
        elif name in ("event", "event_page"):
            doc = {**doc, "data": self._as_numbers(doc, name == "event_page")}
        self._normalizer(name, doc)
        if name == "start":
            node: Any = self._writer.root_node
            node.update_metadata(metadata={"folder": str(self._folder)}, drop_revision=True)

    def flush(self) -> None:
        """Make what came so far visible; what Tiled raises passes through."""
        self._writer.flush()

    def _as_numbers(self, doc: dict[str, Any], page: bool) -> dict[str, Any]:
        """Make numbers floats: a column's type in the catalog is that of its first values."""

        def number(value: Any) -> float:
            return math.nan if value is None else float(value)

        keys = self._numbers.get(doc["descriptor"], set())
        return {
            key: value
            if key not in keys
            else [number(item) for item in value]
            if page
            else number(value)
            for key, value in doc["data"].items()
        }
