"""What the tests ask of the bench itself, never of our devices."""

from stmtem_control.simulators import Bench


def assert_safe(bench: Bench) -> None:
    """Check that bias, output, beam and probe are safe."""
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
