"""How a Tiled server reads the frames of a run: only the pages that are asked for.

A server of one's own finds it by the media type::

    adapters_by_mimetype:
      "multipart/related;type=image/tiff;pages=multi":
        "stmtem_control.catalog.adapter:FramesAdapter"
"""

# pyright: reportMissingImports=false
# Tiled comes with the extra "catalog"; nothing imports this module without it.

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiled.adapters.core import Adapter
from tiled.adapters.resource_cache import with_resource_cache
from tiled.adapters.utils import IncompatibleShapeError, init_adapter_from_catalog
from tiled.ndslice import NDBlock, NDSlice
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

from stmtem_control.errors import RecordingError
from stmtem_control.recording.compressed_pages import decode
from stmtem_control.recording.page_chain import Chain, extend_chain
from stmtem_control.recording.page_layout import NO_COMPRESSION


class FramePages:
    """The pages of one frame file, which may still grow.

    Parameters
    ----------
    path : Path
        Of the file.

    Attributes
    ----------
    bytes_read : int
        Of pixels as they are stored, so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._chain = Chain(0)
        self._lock = threading.Lock()  # a server reads from several threads

    def read(self, number: int) -> NDArray[Any]:
        """Return an image, of shape (rows, columns) and in the camera's own type.

        Raises
        ------
        RecordingError
            There is no such page, or it cannot be read.
        """
        try:
            return self._read(number)
        except OSError as error:
            raise RecordingError(
                f"{self.path.name} cannot be read: {error.strerror or error}"
            ) from None

    def _read(self, number: int) -> NDArray[Any]:
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            with self._lock:
                if number >= len(self._chain.pages):
                    extend_chain(self._chain, descriptor)
                if number >= len(self._chain.pages):
                    raise RecordingError(
                        f"{self.path.name} has {len(self._chain.pages)} whole pages, not "
                        f"{number + 1}; 'stmtem recover' makes the documents fit what is on disk"
                    )
                page = self._chain.pages[number]
                self.bytes_read += page.data_bytes
            data = os.pread(descriptor, page.data_bytes, page.data)
        finally:
            os.close(descriptor)
        if page.compression == NO_COMPRESSION:
            return np.frombuffer(data, page.dtype).reshape(page.shape)
        image = np.frombuffer(decode(data, page.compression), page.dtype).reshape(page.shape)
        return image.astype(page.camera_dtype, copy=False)


class FramesAdapter(Adapter[ArrayStructure]):  # type: ignore[misc,unused-ignore]
    """The frames of a run as one array of three dimensions, over files of equal page counts.

    Parameters
    ----------
    data_uris : sequence of str
        The files, in order.
    structure : ArrayStructure
        Type, shape (frames, rows, columns) and chunks, as the run's documents declare them.
    frames_per_file : int
        Pages of every file but the last.
    metadata : dict, optional
        Of the node in the catalog.
    specs : list, optional
        Of the node in the catalog.
    """

    structure_family = StructureFamily.array

    def __init__(
        self,
        data_uris: Sequence[str],
        structure: ArrayStructure,
        *,
        frames_per_file: int,
        metadata: Any = None,
        specs: Any = None,
    ) -> None:
        super().__init__(structure, metadata=metadata, specs=specs)
        self._uris = list(data_uris)
        self._frames_per_file = frames_per_file

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /, **parameters: Any) -> "FramesAdapter":
        """Make one from what the catalog knows."""
        made: FramesAdapter = init_adapter_from_catalog(cls, data_source, node, **parameters)
        return made

    def pages(self, file: int) -> FramePages:
        """Return the pages of a file; what is known of them is kept for the next request."""
        path = path_from_uri(self._uris[file])
        pages: FramePages = with_resource_cache((FramePages, path), FramePages, path)
        return pages

    def read(self, slice: Any = ...) -> NDArray[Any]:
        """Return part of the array.

        Raises
        ------
        IncompatibleShapeError
            A frame that was declared is not there; a client is told why, and does not try again.
        """
        shape = tuple(self.structure().shape)
        chosen = tuple(NDSlice(slice).expand_for_shape(shape)) if slice is not ... else ()
        which, inside = (chosen[0], chosen[1:]) if chosen else (np.s_[:], ())
        if isinstance(which, int):
            return np.asarray(self._frame(which % shape[0])[inside])
        numbers = range(*which.indices(shape[0]))
        dtype = self.structure().data_type.to_numpy_dtype()
        empty = np.empty(shape[1:], np.bool_)[inside].shape
        made = np.empty((len(numbers), *empty), dtype)
        for place, number in enumerate(numbers):
            made[place] = self._frame(number)[inside]
        return made

    def read_block(self, block: Any, slice: Any = ...) -> NDArray[Any]:
        """Return one chunk, or part of it; raises as :meth:`read`."""
        whole = self.read(NDBlock(block).slice_from_chunks(self.structure().chunks))
        return whole[slice] if slice is not ... and slice is not None else whole

    def _frame(self, number: int) -> NDArray[Any]:
        file, page = divmod(number, self._frames_per_file)
        try:
            image = self.pages(file).read(page)
        except RecordingError as error:
            raise IncompatibleShapeError(f"frame {number}: {error}") from None
        expected = tuple(self.structure().shape[1:])
        if image.shape != expected:
            raise IncompatibleShapeError(
                f"frame {number}: {image.shape} pixels, but {expected} were declared"
            )
        return image
