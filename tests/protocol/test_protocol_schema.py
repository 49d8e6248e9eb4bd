"""The schema and the reference page are made from the models, and agree with the reader."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stmtem_control.protocol import STEPS, read_protocol
from stmtem_control.protocol.quantities import KINDS, known_units, quantity_pattern
from stmtem_control.protocol.schema import protocol_schema
from stmtem_control.protocol.steps import kind_of
from tests.protocol.protocol_texts import EVERYTHING, with_key, with_step

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "protocols").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = protocol_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def complaints(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_what_the_reader_takes_the_schema_takes(validator: Any) -> None:
    assert complaints(validator, EVERYTHING) == []
    assert complaints(validator, read_protocol(EVERYTHING).to_yaml()) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.stem))
def test_what_is_shipped_is_as_the_schema_wants_it(validator: Any, path: Path) -> None:
    text = path.read_text("utf-8")
    assert complaints(validator, text) == []
    protocol = read_protocol(path)
    assert protocol.shows
    assert read_protocol(protocol.to_yaml()) == protocol


@pytest.mark.parametrize(
    "text",
    [
        with_step("depsit: {}"),
        with_step("deposit: {bais: -5 V}"),
        with_step("hold: {bias: -5, duration: 1 s}"),
        with_step("hold: {bias: 1 A, duration: 1 s}"),
        with_step("hold: {bias: 1 V, until: {chrge: 0 C}, timeout: 1 s}"),
        with_step("retract: {kind: retract}"),
        with_step("survey: {frames: 0}"),
        with_step("deposit"),
        with_step("cycles: {repeat: 2}"),
        with_step("retract: {}\n    survey: {}"),
        with_key("where: x"),
        with_key("text: x"),
        "protocol: x\n",
    ],
)
def test_an_editor_sees_what_is_wrong(validator: Any, text: str) -> None:
    assert complaints(validator, text)


def test_an_editor_knows_every_step_key_and_unit(validator: Any) -> None:
    one, alone = validator.schema["definitions"]["Step"]["anyOf"]
    assert set(one["properties"]) == {kind_of(model) for model in STEPS}
    assert "retract" in alone["enum"]
    assert "deposit" not in alone["enum"]
    for name, schema in validator.schema["definitions"].items():
        assert schema.get("description") or name == "Step", name
        for key, value in schema.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{name} {key}"
    for kind in KINDS:
        number = jsonschema.Draft7Validator({"pattern": quantity_pattern(kind)})
        assert all(number.is_valid(f"1.5e-3 {unit}") for unit in known_units(kind))
        assert not number.is_valid("5")


def test_the_examples_of_the_steps_are_steps() -> None:
    for model in STEPS:
        text = with_step(f"{kind_of(model)}: {model.example}")
        assert read_protocol(text).steps[0].kind == kind_of(model)
