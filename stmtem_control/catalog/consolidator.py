"""How the frames of a run are told to Tiled: the documents' stream resource, as files and a shape.

Bluesky's own consolidators know TIFF files of one page.
"""

# pyright: reportMissingImports=false
# bluesky-tiled-plugins comes with the extra "catalog"; nothing imports this module without it.

import math
from typing import Any

from bluesky_tiled_plugins.writing.consolidators import (
    CONSOLIDATOR_REGISTRY,
    ConsolidatorBase,
)
from tiled.structures.data_source import Asset

from stmtem_control.errors import RecordingError

MIMETYPE = "multipart/related;type=image/tiff;pages=multi"
#: A chunk is what clients with dask ask for at once, and what the catalog keeps a number for.
CHUNK_BYTES = 16 * 2**20


class RollingTIFFConsolidator(ConsolidatorBase):  # type: ignore[misc,unused-ignore]
    """Frames in multi-page TIFF files of equal page counts; the last may be shorter.

    Parameters
    ----------
    stream_resource : dict
        With the parameters ``template`` and ``frames_per_file``.
    descriptor : dict
        Of the stream.

    Raises
    ------
    RecordingError
        A parameter is missing, or names files outside the run's folder.
    """

    supported_mimetypes = {MIMETYPE}  # noqa: RUF012 - as the base class has it
    default_asset_role = "data_uris"

    def __init__(self, stream_resource: Any, descriptor: Any) -> None:
        super().__init__(stream_resource, descriptor)
        parameters = stream_resource["parameters"]
        try:
            self._template: str = parameters["template"]
            self._frames_per_file = int(parameters["frames_per_file"])
        except KeyError as error:
            raise RecordingError(
                f"the stream resource of {self.data_key} has no parameter {error}"
            ) from None
        # Whoever writes documents could else make the server read files outside the data folder.
        if {"/", "\\"} & set(self._template):
            raise RecordingError(f"the template {self._template!r} is not the name of a file")
        self.assets: list[Any] = []
        # One page would be a chunk of its own after the documents; a list of so many is slow.
        pixel_bytes = self.data_type.to_numpy_dtype().itemsize
        most = CHUNK_BYTES // max(1, math.prod(self.datum_shape) * pixel_bytes)
        frames = max(1, min(self._frames_per_file, most))
        self.chunk_shape = (frames,)

    def adapter_parameters(self) -> dict[str, Any]:
        """Return what the adapter is told, next to the files."""
        return {"frames_per_file": self._frames_per_file}

    def consume_stream_datum(self, doc: Any) -> Any:
        """Count more frames, and add the files that they are in."""
        patch = super().consume_stream_datum(doc)
        for number in range(len(self.assets), -(-self.shape[0] // self._frames_per_file)):
            self.assets.append(
                Asset(
                    data_uri=self.uri + self._template.format(number),
                    is_directory=False,
                    parameter=self.default_asset_role,
                    num=number,
                )
            )
        return patch


def register_consolidator() -> None:
    """Let Bluesky's Tiled writer know the consolidator; harmless when called again."""
    CONSOLIDATOR_REGISTRY[MIMETYPE] = RollingTIFFConsolidator
