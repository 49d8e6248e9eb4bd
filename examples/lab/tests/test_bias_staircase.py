"""The staircase on a simulated bench, within the limits of our station."""

import pytest
from our_plans import bias_staircase

from stmtem_control.pytest_plugin import (
    assert_bias_within,
    assert_safe,
    assert_struck,
    assert_untouched,
    at_message,
)


def test_each_step_is_read_once(session, bench):
    documents = []
    session.RE.subscribe(lambda name, doc: documents.append((name, doc)))
    outcome = session.run(bias_staircase(session.bias, session.beam, top_V=2.0, steps=4))
    assert outcome.status == "success", outcome.reason
    read = [doc["data"]["bias_voltage"] for name, doc in documents if name == "event"]
    assert read == pytest.approx([0.5, 1.0, 1.5, 2.0], abs=0.01)
    assert_bias_within(bench, 0.0, 2.0)
    assert_safe(bench)


def test_a_bias_beyond_our_limit_is_refused(session, bench):
    outcome = session.run(bias_staircase(session.bias, session.beam, top_V=3.5))
    assert "outside -3 to 3 V" in outcome.reason
    assert_untouched(bench)


def test_a_short_ends_it_with_the_reason(session, bench):
    plan = bias_staircase(session.bias, session.beam, top_V=3.0, steps=30)
    plan = at_message(plan, "trigger", 15, lambda: bench.inject("specimen:short"))
    outcome = session.run(plan)
    assert_struck(bench, "specimen:short")
    assert "interlock" in outcome.reason
    assert_bias_within(bench, 0.0, 2.0)
    assert_safe(bench)


@pytest.mark.bench(seed=7, faults=["bias_source:spike@exchange=60"])
def test_a_wrong_reading_at_some_time_does_no_harm(run_engine, session, bench):
    run_engine(bias_staircase(session.bias, session.beam, steps=20))
    assert_safe(bench)


def test_the_source_alone_in_time_that_we_move(bench, hand_clock):
    bench.inject("bias_source:overheat@time=60")
    hand_clock.advance(59.0)
    assert not bench.fault_log
    hand_clock.advance(2.0)
    assert_struck(bench, "bias_source:overheat")
    assert_safe(bench)
