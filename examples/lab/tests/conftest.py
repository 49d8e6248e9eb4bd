"""What all tests have in common."""

import pytest


@pytest.fixture
def station(station):
    """Give our station a patient source: a busy CI machine is slow beside a fast bench."""
    patient = station.bias_source.model_copy(update={"dead_man_s": 60.0})
    return station.model_copy(update={"bias_source": patient})
