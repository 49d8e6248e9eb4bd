"""A RunEngine that can take a table row for each of thousands of frames a second.

Bluesky validates every cell of an event page against the documents' schema, which takes 0.2 ms and
more for the row of a frame.  Here the first row of a stream is validated, and of all pages that
they have its columns, as lists: what a device puts into lists of columns differs in no more.
"""

from collections.abc import Mapping
from typing import Any

from bluesky import RunEngine
from bluesky.bundlers import RunBundler
from event_model import DocumentNames, EventModelValidationError, schema_validators


class PageComposer:
    """Composes event pages, in place of event-model's ``ComposeEventPage``.

    Parameters
    ----------
    compose : callable
        That of the stream's descriptor.
    """

    def __init__(self, compose: Any) -> None:
        self._compose = compose
        self._validated = False
        keys: Mapping[str, Mapping[str, Any]] = compose.descriptor["data_keys"]
        self._keys = {
            key for key, about in keys.items() if not about.get("external", "").startswith("STREAM")
        }

    def __call__(
        self, data: dict[str, list[Any]], timestamps: dict[str, list[Any]], **more: Any
    ) -> Any:
        """Return an event page; raises EventModelError where it would not be a valid one."""
        if not self._keys == set(data) == set(timestamps):
            raise EventModelValidationError(
                f"a page with the columns {sorted(data)} and time stamps of {sorted(timestamps)} "
                f"came for a stream of {sorted(self._keys)}"
            )
        strange = [k for d in (data, timestamps) for k, v in d.items() if not isinstance(v, list)]
        if strange:
            raise EventModelValidationError(f"a page whose columns {strange} are no lists came")
        page = self._compose(data=data, timestamps=timestamps, validate=False, **more)
        if not self._validated:
            first: dict[str, Any] = dict(page)
            for name in ("data", "timestamps", "filled"):
                first[name] = {key: column[:1] for key, column in page[name].items()}
            for name in ("uid", "time", "seq_num"):
                first[name] = page[name][:1]
            schema_validators[DocumentNames.event_page].validate(first)
            self._validated = True
        return page


class PageBundler(RunBundler):
    """Bluesky's composer of documents, with a :class:`PageComposer` in each collected stream."""

    async def _collect_event_pages(
        self,
        collect_obj: Any,
        local_descriptors: Any,
        return_payload: bool,
        message_stream_name: str | None,
    ) -> Any:
        if message_stream_name:
            stream = self._descriptors[message_stream_name]
            if not isinstance(stream.compose_event_page, PageComposer):
                stream.compose_event_page = PageComposer(stream.compose_event_page)
        return await super()._collect_event_pages(
            collect_obj, local_descriptors, return_payload, message_stream_name
        )


class FrameRunEngine(RunEngine):
    """A RunEngine as Bluesky makes it, but for the pages of flyers."""

    RunBundler = PageBundler
