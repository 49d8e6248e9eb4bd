"""Pages are checked by columns, and nothing passes that would not pass cell by cell."""

import copy
from typing import Any

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError

from stmtem_control.page_validation import PageValidator, pages_checked_by_columns
from stmtem_control.session import Session

THOROUGH = schema_validators[DocumentNames.event_page]


def page(rows: int = 3) -> dict[str, Any]:
    return {
        "descriptor": "d",
        "uid": [f"u{row}" for row in range(rows)],
        "seq_num": list(range(1, rows + 1)),
        "time": [1.5 * row for row in range(rows)],
        "data": {"current": [1e-9 * row for row in range(rows)], "phase": ["deposit"] * rows},
        "timestamps": {"current": [1.0] * rows, "phase": [1.0] * rows},
        "filled": {},
    }


def test_arrays_of_numpy_are_looked_at() -> None:
    validator = PageValidator(THOROUGH)
    for cells, good in ((np.arange(3), True), (np.array(["a", "b", "c"]), False)):
        assert passes(validator, {**page(), "time": cells}) == good


class Counting:
    """A thorough validator that counts how often it is asked."""

    def __init__(self) -> None:
        self.schema = THOROUGH.schema
        self.asked = 0

    def validate(self, doc: Any) -> None:
        self.asked += 1
        THOROUGH.validate(doc)


def passes(validator: Any, doc: Any) -> bool:
    try:
        validator.validate(doc)
    except ValidationError:
        return False
    return True


def test_a_page_of_a_shape_that_passed_is_not_looked_at_again() -> None:
    thorough = Counting()
    validator = PageValidator(thorough)
    for rows in (3, 100, 1, 2000):
        validator.validate(page(rows))
    assert thorough.asked == 1


CELLS = st.one_of(
    st.integers(), st.floats(), st.text(max_size=2), st.booleans(), st.none(), st.just([])
)


@given(
    place=st.sampled_from(["uid", "seq_num", "time"]),
    row=st.integers(0, 2),
    cell=CELLS,
    first=st.booleans(),
)
def test_it_agrees_with_the_thorough_check(place: str, row: int, cell: Any, first: bool) -> None:
    validator = PageValidator(THOROUGH)
    if first:
        validator.validate(page())
    changed = copy.deepcopy(page())
    changed[place][row] = cell
    for _ in range(2):  # what was refused once is refused again
        assert passes(validator, changed) == passes(THOROUGH, changed)


@given(
    place=st.sampled_from([*page(), "more"]),
    value=st.one_of(CELLS, st.dictionaries(st.text(max_size=1), CELLS, max_size=2)),
)
def test_it_agrees_on_pages_of_another_build(place: str, value: Any) -> None:
    validator = PageValidator(THOROUGH)
    validator.validate(page())
    for changed in ({**page(), place: value}, {k: v for k, v in page().items() if k != place}):
        assert passes(validator, changed) == passes(THOROUGH, changed)


def test_a_schema_that_says_more_than_types_is_taken_at_its_word() -> None:
    class Strict(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.schema = {"properties": {"time": {"items": {"type": "number", "minimum": 0}}}}

    thorough = Strict()
    validator = PageValidator(thorough)
    validator.validate(page())
    validator.validate(page())
    assert thorough.asked == 2


def test_the_check_of_before_comes_back() -> None:
    with pages_checked_by_columns():
        outer = schema_validators[DocumentNames.event_page]
        with pages_checked_by_columns():
            assert schema_validators[DocumentNames.event_page].thorough is THOROUGH
        assert schema_validators[DocumentNames.event_page] is outer
    assert schema_validators[DocumentNames.event_page] is THOROUGH


def test_a_session_checks_that_way(session: Session) -> None:
    assert isinstance(schema_validators[DocumentNames.event_page], PageValidator)
    with pytest.raises(ValidationError):
        schema_validators[DocumentNames.event_page].validate({**page(), "time": ["late"]})
