"""Walks through the messages of a plan, as a RunEngine would carry them out, without instruments.

The very generator that a run uses is driven, and answered by what stands in for its devices.  Time
passes only by what each message takes.
"""

from collections.abc import Callable, Generator
from typing import Any

from stmtem_control.plans import LEG, LEG_DONE

from .latencies import Latencies
from .stand_in import DeviceStandIn, SignalStandIn
from .stand_ins import StandIns
from .walked_legs import LegRecorder, ReadingPace, WalkedLegs

MOST_MESSAGES = 5_000_000
PERSON = "questions to a person are answered at once"

READINGS = "readings"  # a leg of nothing else, see plans/current.py
LONG_S = 0.25  # wall seconds: whoever waits so long with the output on would read meanwhile
STAND_INS = (SignalStandIn, DeviceStandIn)

Answer = Callable[[Any], Any]


class Walk:
    """One walk through one plan.

    Parameters
    ----------
    stand_ins : StandIns
        The devices that the plan was made with.
    latencies : Latencies
    memory : WalkedLegs, optional
        Of legs that were walked before.

    Attributes
    ----------
    messages : int
        How many there were.
    """

    def __init__(
        self, stand_ins: StandIns, latencies: Latencies, memory: WalkedLegs | None = None
    ) -> None:
        self.messages = 0
        self._legs = LegRecorder(stand_ins, WalkedLegs() if memory is None else memory)
        self._clock = stand_ins.clock
        self._tally = stand_ins.tally
        self._camera = stand_ins.camera
        self._bias = stand_ins.bias
        self._speed = stand_ins.clock.speed
        self._message_s = latencies.message * self._speed
        self._set_s = latencies.set_up * self._speed
        self._trigger_s = latencies.trigger * self._speed
        self._read_s = latencies.read * self._speed
        self._sleep_s = latencies.sleep * self._speed
        self._save_s = latencies.save * self._speed
        self._collect_s = latencies.collect * self._speed
        self._open_s = latencies.open_run * self._speed
        self._close_s = latencies.close_run * self._speed
        self._declare_s = latencies.declare * self._speed
        self._readings = ReadingPace(stand_ins)
        self._ends: dict[Any, float] = {}  # of groups, station s
        self._answers: dict[str, Answer] = {
            "set": self._set,
            "trigger": self._trigger,
            "wait": self._wait,
            "sleep": self._sleep,
            "read": self._read,
            "save": self._save,
            "collect": self._collect,
            "stop": self._now,
            "unstage": self._unstage,
            "stage": self._stage,
            "kickoff": self._kickoff,
            "complete": self._complete,
            "prepare": self._prepare,
            "configure": self._configure,
            "locate": self._locate,
            "open_run": self._open_run,
            "close_run": self._close_run,
            "declare_stream": self._declare,
            "input": self._input,
            "pause": self._input,
            "null": self._null,
            "rewindable": lambda msg: True,
        }

    def go(self, plan: Generator[Any, Any, Any]) -> None:
        """Walk to the end of a plan.

        Raises
        ------
        Exception
            Whatever the plan raises.
        """
        answers, clock, message_s = self._answers, self._clock, self._message_s
        send, answer, count = plan.send, None, 0
        try:
            while True:
                msg = send(answer)
                count += 1
                clock.t += message_s
                carry_out = answers.get(msg.command)
                answer = None if carry_out is None else carry_out(msg)
                if count == MOST_MESSAGES:
                    raise RuntimeError(f"the plan has more than {MOST_MESSAGES} messages")
        except StopIteration:
            pass
        finally:
            self.messages += count
            plan.close()

    # One for each command that does something; the answer is what the RunEngine would give.

    def _later(self, msg: Any, seconds: float) -> None:
        group = msg.kwargs.get("group")
        end = self._clock.t + seconds
        self._ends[group] = max(end, self._ends.get(group, 0.0))

    def _set(self, msg: Any) -> None:
        if _is_known(msg.obj):
            self._clock.let_pass(self._set_s)
            self._later(msg, msg.obj.set(*msg.args))
        elif hasattr(msg.obj, "answer"):
            self._tally.assume(PERSON)
        else:
            self._foreign(msg.obj)

    def _foreign(self, obj: Any) -> None:
        """Leave another device as it is: nothing is sent, and it takes no time."""
        name = getattr(obj, "name", type(obj).__name__)
        self._tally.assume(f"{name}: nothing is known of it; it takes no time")

    def _trigger(self, msg: Any) -> None:
        if not _is_known(msg.obj):
            return self._foreign(msg.obj)
        self._clock.let_pass(self._trigger_s)
        return self._later(msg, msg.obj.trigger())

    def _prepare(self, msg: Any) -> None:
        self._later(msg, msg.obj.prepare(*msg.args))

    def _kickoff(self, msg: Any) -> None:
        kwargs = {key: value for key, value in msg.kwargs.items() if key != "group"}
        self._later(msg, msg.obj.kickoff(*msg.args, **kwargs))

    def _complete(self, msg: Any) -> None:
        self._later(msg, msg.obj.complete())

    def _wait(self, msg: Any) -> bool:
        group = msg.args[0] if msg.args else msg.kwargs.get("group")
        end = self._ends.pop(group, None)
        if end is None:
            return True
        left = end - self._clock.t
        timeout = msg.kwargs.get("timeout")
        if timeout is not None and left > timeout * self._speed:
            self._clock.let_pass(timeout * self._speed)
            self._ends[group] = end
            return False
        if left > 0.0:
            self._clock.let_pass(left)
        return True

    def _sleep(self, msg: Any) -> None:
        wall_s = msg.args[0]
        if wall_s > 0.0:
            self._clock.let_pass(wall_s * self._speed + self._sleep_s)
        if wall_s > LONG_S:
            self._bias.skipped(wall_s)

    def _read(self, msg: Any) -> Any:
        obj = msg.obj
        if isinstance(obj, DeviceStandIn):
            self._clock.let_pass(self._read_s)
        return obj.read()

    def _save(self, msg: Any) -> None:
        self._clock.let_pass(self._save_s)

    def _collect(self, msg: Any) -> list[Any]:
        self._clock.let_pass(self._collect_s)
        return []

    def _now(self, msg: Any) -> None:
        if _is_known(msg.obj):
            self._clock.let_pass(msg.obj.stop())

    def _unstage(self, msg: Any) -> list[Any]:
        if _is_known(msg.obj):
            self._clock.let_pass(msg.obj.unstage())
        return []

    def _stage(self, msg: Any) -> list[Any]:
        if _is_known(msg.obj):
            self._clock.let_pass(msg.obj.stage())
        return []

    def _configure(self, msg: Any) -> tuple[Any, Any]:
        old = msg.obj.read_configuration()
        self._clock.let_pass(msg.obj.prepare({**(msg.args[0] if msg.args else {})}))
        return old, msg.obj.read_configuration()

    def _locate(self, msg: Any) -> Any:
        return msg.obj.locate()

    def _open_run(self, msg: Any) -> str:
        self._clock.let_pass(self._open_s)
        self._tally.begin_run(msg.kwargs)
        self._camera.begin_run()
        return f"estimate-{self._tally.runs}"

    def _close_run(self, msg: Any) -> str:
        self._clock.let_pass(self._close_s)
        self._tally.end_run()
        return f"estimate-{self._tally.runs}"

    def _declare(self, msg: Any) -> tuple[Any, Any]:
        self._clock.let_pass(self._declare_s)
        return {}, None

    def _null(self, msg: Any) -> Any:
        kwargs = msg.kwargs
        if LEG in kwargs:
            if kwargs[LEG] == READINGS:
                return self._readings.begin(kwargs["settings"])
            return self._legs.begin(kwargs[LEG], kwargs["settings"])
        if LEG_DONE in kwargs:
            if kwargs[LEG_DONE] == READINGS:
                self._readings.end()
            else:
                self._legs.end(kwargs["found"])
        return None

    def _input(self, msg: Any) -> str:
        self._tally.assume(PERSON)
        return ""


def _is_known(obj: Any) -> bool:
    """Tell whether something stands in for a device of the station."""
    return isinstance(obj, STAND_INS)
