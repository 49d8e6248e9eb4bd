"""The benchmark of the guard's reaction measures what it says; nothing is timed here."""

from benchmarks import guard_thread


def test_a_short_on_the_bench_is_followed_by_its_output_going_off() -> None:
    seen, between = guard_thread.reactions("nobody reads but the guard", 2)
    assert len(seen) == 2
    assert all(0.0 < seconds < 10.0 for seconds in seen)
    assert between
