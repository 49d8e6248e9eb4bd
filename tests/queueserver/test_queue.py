"""A real RE Manager with a real redis server: a queue at the bench, and the bench is asked."""

import os
import signal

import pytest

from stmtem_control.pytest_plugin import assert_safe

from .conftest import Lab, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROTOCOL = """\
protocol: a burst from a queue
camera: {rate: 5 Hz, exposure: 100 ms}
pre_roll: 0.2 s
steps:
  - deposit: {bias: -5 V, duration: 30 s}
  - strip: {bias: 5 V, duration: 2 s}
"""
ASKING = """\
protocol: a question from a queue
camera: {rate: 5 Hz, exposure: 100 ms}
steps:
  - prompt: Is the fibre in view?
  - deposit: {bias: -5 V, duration: 1 s}
"""


def biased(lab: Lab) -> bool:
    return bool(lab.bench.source.output_on and lab.bench.source.level)


def test_a_protocol_is_queued_paused_and_resumed(lab: Lab) -> None:
    lab.open()
    lab.start("follow_protocol", PROTOCOL)
    wait_for(lambda: biased(lab))
    lab.client.re_pause("immediate")
    lab.until("paused")
    assert_safe(lab.bench)
    lab.client.re_resume()
    wait_for(lambda: biased(lab))
    lab.idle()
    assert lab.last()["exit_status"] == "completed", lab.last()["msg"]
    assert lab.outcome()["status"] == "success"
    assert lab.outcome()["frames"] >= 150
    assert_safe(lab.bench)


def test_all_off_ends_the_running_plan_and_holds(lab: Lab) -> None:
    lab.open()
    lab.add("deposit", duration_s=60.0, frame_rate_Hz=5.0)
    lab.start("deposit", duration_s=1.0, frame_rate_Hz=5.0)
    wait_for(lambda: biased(lab))
    assert lab.call("all_off", "a test")["ok"]
    assert_safe(lab.bench)
    lab.idle()
    assert lab.last()["exit_status"] == "failed"
    assert "a test" in lab.last()["msg"]
    assert "a test" in lab.outcome()["reason"]
    # What has failed waits in front again, as the manager does it; none begins by itself, and
    # none gets a bias when it is started.
    assert lab.client.status()["items_in_queue"] == 2
    lab.client.queue_start()
    lab.idle()
    assert lab.last()["exit_status"] == "failed"
    assert "a test" in lab.last()["msg"]
    assert_safe(lab.bench)
    assert "a test" in lab.call("clear_interlocks")[0]
    lab.client.queue_clear()
    lab.start("deposit", duration_s=1.0, frame_rate_Hz=5.0)
    lab.idle()
    assert lab.last()["exit_status"] == "completed", lab.last()["msg"]


def test_all_off_ends_a_paused_plan(lab: Lab) -> None:
    lab.open()
    lab.start("deposit", duration_s=60.0, frame_rate_Hz=5.0)
    wait_for(lambda: biased(lab))
    lab.client.re_pause("immediate")
    lab.until("paused")
    assert lab.call("all_off", "while paused")["ok"]
    assert_safe(lab.bench)
    # The manager learns of it when it is asked to go on.
    lab.client.re_resume()
    lab.idle()
    assert lab.last()["exit_status"] == "failed"
    assert "while paused" in lab.outcome()["reason"]
    assert_safe(lab.bench)
    lab.call("clear_interlocks")
    lab.client.queue_clear()


def test_a_prompt_is_answered_through_the_queue(lab: Lab) -> None:
    lab.open()
    assert not lab.call("answer", "yes")  # nothing is asked
    lab.start("follow_protocol", ASKING)
    assert wait_for(lambda: lab.call("question")) == "Is the fibre in view?"
    assert_safe(lab.bench)
    assert lab.call("answer", "yes")
    lab.idle()
    assert lab.last()["exit_status"] == "completed", lab.last()["msg"]
    lab.start("follow_protocol", ASKING)
    wait_for(lambda: lab.call("question"))
    assert lab.call("answer", "no")
    lab.idle()
    assert lab.last()["exit_status"] == "failed"
    assert "answered 'no'" in lab.last()["msg"]
    lab.client.queue_clear()


def test_closing_the_environment_leaves_all_safe_and_it_opens_again(lab: Lab) -> None:
    lab.open()
    worker = lab.worker()
    lab.client.environment_close()
    lab.idle()
    assert_safe(lab.bench)
    lab.open()  # while the one before may still let the instruments go
    assert lab.worker() != worker
    assert lab.call("station_state")["safe"]


def test_a_killed_worker_leaves_all_safe(lab: Lab) -> None:
    """The environment is destroyed, as a client may do with one that hangs: a kill."""
    lab.open()
    lab.start("deposit", duration_s=60.0, frame_rate_Hz=5.0)
    wait_for(lambda: biased(lab))
    lab.client.environment_destroy()
    lab.idle()
    wait_for(lambda: all(lab.bench.safe().values()))
    lab.client.queue_clear()
    lab.open()
    lab.start("deposit", duration_s=1.0, frame_rate_Hz=5.0)
    lab.idle()
    assert lab.last()["exit_status"] == "completed", lab.last()["msg"]


def test_the_end_of_the_manager_leaves_all_safe(lab: Lab) -> None:
    lab.open()
    lab.start("deposit", duration_s=60.0, frame_rate_Hz=5.0)
    wait_for(lambda: biased(lab))
    os.kill(lab.process.pid, signal.SIGTERM)
    wait_for(lambda: all(lab.bench.safe().values()))
    lab.process.wait(60.0)
