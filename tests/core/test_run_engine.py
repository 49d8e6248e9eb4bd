"""The RunEngine composes pages of thousands of rows quickly, and refuses what is none."""

from typing import Any

import pytest
from event_model import DocumentNames, EventModelError, compose_run, schema_validators
from jsonschema import ValidationError

from stmtem_control.run_engine import PageComposer

KEYS = {
    "camera_image": {"source": "x", "dtype": "array", "shape": [8, 6], "external": "STREAM:"},
    "camera_frame": {"source": "x", "dtype": "integer", "shape": []},
    "camera_phase": {"source": "x", "dtype": "string", "shape": []},
}


@pytest.fixture
def compose() -> PageComposer:
    """A composer of the stream "frames"."""
    run = compose_run()
    return PageComposer(
        run.compose_descriptor(name="frames", data_keys=KEYS).compose_event_page  # type: ignore[arg-type]
    )


def columns(rows: int, **more: Any) -> dict[str, Any]:
    """Return the data of a page."""
    return {"camera_frame": list(range(rows)), "camera_phase": ["set"] * rows, **more}


def stamps(rows: int) -> dict[str, list[Any]]:
    """Return its time stamps."""
    return {"camera_frame": [1.0] * rows, "camera_phase": [1.0] * rows}


def test_pages_are_valid_and_numbered_on(compose: PageComposer) -> None:
    pages = [compose(columns(rows), stamps(rows)) for rows in (3, 1, 4)]
    for page in pages:
        schema_validators[DocumentNames.event_page].validate(page)
    assert [n for page in pages for n in page["seq_num"]] == list(range(1, 9))
    assert len({uid for page in pages for uid in page["uid"]}) == 8


@pytest.mark.parametrize("first", [True, False])
def test_what_is_no_page_of_the_stream_is_refused(compose: PageComposer, first: bool) -> None:
    if not first:
        compose(columns(2), stamps(2))
    with pytest.raises(EventModelError, match=r"columns \['camera_frame', 'camera_phase', 'x'\]"):
        compose(columns(2, x=[1, 2]), stamps(2))
    with pytest.raises(EventModelError, match="camera_phase'] are no lists"):
        compose(columns(2, camera_phase="ab"), stamps(2))
    with pytest.raises(EventModelError, match="different lengths"):
        compose(columns(2, camera_phase=["a"]), stamps(2))
    with pytest.raises(EventModelError):
        compose(columns(2), {"camera_frame": [1.0, 1.0]})


def test_the_first_row_is_validated_by_the_schema(compose: PageComposer) -> None:
    with pytest.raises(ValidationError, match="'number'"):
        compose(columns(2), stamps(2), time=["now", "then"])
