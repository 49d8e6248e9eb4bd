"""The check of event pages at the cost of their columns, not of their cells.

Bluesky checks every page of events against its JSON schema, cell by cell: about 5 µs for each,
which is 0.3 ms for a row of the frames' table, in the thread that runs the plan.  But all that the
schema says of the members of an array is of which type they are.  So a page whose arrays hold the
same types under the same keys as one that has passed would pass too, and need not be looked at cell
by cell.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

Shape = tuple[Any, ...]

#: What the schema of an array's members may say for this to hold: nothing but types.
_TYPES = {"type", "anyOf", "title", "description"}


class PageValidator:
    """Checks a page thoroughly if none of its shape has passed before.

    Parameters
    ----------
    thorough : validator
        What checks every cell; it has a ``schema`` and a ``validate``.
    """

    def __init__(self, thorough: Any) -> None:
        self.thorough = thorough
        self._passed: set[Shape] = set()
        self._only_types = all(map(_only_types, _members(thorough.schema)))

    def validate(self, page: Mapping[str, Any]) -> None:
        """Raise what the thorough check raises, if it would raise.

        Parameters
        ----------
        page : mapping
            An event page.
        """
        try:
            shape = _shape(page) if self._only_types else None
        except TypeError:
            shape = None
        if shape is None or shape not in self._passed:
            self.thorough.validate(page)
            if shape is not None:
                self._passed.add(shape)


def _shape(value: Any) -> Shape:
    """Return keys and types of a document, with arrays as the set of types that they hold.

    Raises
    ------
    TypeError
        There is something in it whose type does not say what it holds, such as a NumPy array.
    """
    if isinstance(value, dict):
        return ("{", *((key, _shape(member)) for key, member in value.items()))
    if isinstance(value, list | tuple):
        return (type(value), frozenset(map(type, value)))
    if hasattr(value, "__array__") or (hasattr(value, "__iter__") and not isinstance(value, str)):
        raise TypeError(type(value).__name__)
    return (type(value),)


def _members(schema: Any) -> Iterator[Any]:
    """Yield what a schema says of the members of arrays, wherever in it."""
    if isinstance(schema, Mapping):
        if "items" in schema:
            yield schema["items"]
        for part in schema.values():
            yield from _members(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _members(part)


def _only_types(schema: Any) -> bool:
    return (
        isinstance(schema, Mapping)
        and set(schema) <= _TYPES
        and all(_only_types(choice) for choice in schema.get("anyOf", ()))
    )


@contextlib.contextmanager
def pages_checked_by_columns() -> Iterator[None]:
    """Let Bluesky check event pages by :class:`PageValidator` within the block.

    Notes
    -----
    Of this process, whoever makes the pages: event-model keeps its validators in one place.
    """
    from event_model import DocumentNames, schema_validators

    validators: Any = schema_validators
    before = validators[DocumentNames.event_page]
    validators[DocumentNames.event_page] = PageValidator(getattr(before, "thorough", before))
    try:
        yield
    finally:
        validators[DocumentNames.event_page] = before
