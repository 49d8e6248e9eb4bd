"""LiberTEM-live's Merlin control client and libertem_qd_mpx's receiver, unchanged."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators.camera import MerlinCamera
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.server import TcpEndpoint

control = pytest.importorskip(
    "libertem_live.detectors.merlin.control", reason="libertem-live not installed"
)
receiver = pytest.importorskip("libertem_qd_mpx", reason="libertem-qd-mpx not installed")

W = 10.0  # wall seconds that a test waits at most
FRAMES, PERIOD_S = 32, 4e-3


class _Chart:
    """Every exposure shows its number, and another one in the top row."""

    def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        pass

    def image(
        self, start: float, stop: float, shape: tuple[int, int], index: int
    ) -> NDArray[np.uint16]:
        picture = np.full(shape, index % 50, np.uint16)
        picture[0] = 60
        return picture


class _Rig:
    """The clients at work on the simulator."""

    def __init__(self, size: int) -> None:
        self.clock = HandClock()  # by the wall's time, a busy computer would lose frames
        self.camera = MerlinCamera(self.clock, _Chart(), size=size)
        self.control_port = TcpEndpoint(self.camera.control)
        self.data_port = TcpEndpoint(self.camera.data)
        self.merlin: Any = control.MerlinControl(port=self.control_port.port)
        self.merlin.connect()

    def close(self) -> None:
        self.merlin.close()
        self.control_port.close()
        self.data_port.close()
        self.camera.close()
        self.clock.close()


@pytest.fixture(params=[256, 512])
def rig(request: pytest.FixtureRequest) -> Iterator[_Rig]:
    made = _Rig(request.param)
    yield made
    made.close()


def test_control_client(rig: _Rig) -> None:
    merlin = rig.merlin
    merlin.set("ACQUISITIONTIME", 2.5)
    assert float(merlin.get("ACQUISITIONTIME")) == pytest.approx(2.5)
    merlin.set("NUMFRAMESTOACQUIRE", 128)
    assert merlin.get("NUMFRAMESTOACQUIRE") == b"128"
    assert merlin.get("DETECTORSTATUS") == b"0"
    assert int(merlin.get("IMAGEX")) == int(merlin.get("IMAGEY"))
    with pytest.raises(Exception, match="out of range"):
        merlin.set("ACQUISITIONTIME", -1)
    with pytest.raises(Exception, match="Unrecognised"):
        merlin.get("NOSUCH")
    with pytest.raises(Exception, match="Busy"):
        merlin.cmd("SOFTTRIGGER")


@pytest.mark.parametrize("trigger", ["internal", "soft"])
@pytest.mark.parametrize(("depth", "dtype"), [(6, np.uint8), (12, np.uint16), (24, np.uint32)])
def test_receiver_gets_every_frame(
    rig: _Rig, tmp_path: Path, trigger: str, depth: int, dtype: type[Any]
) -> None:
    merlin = rig.merlin
    merlin.set("COUNTERDEPTH", depth)
    merlin.set("ACQUISITIONTIME", 0.5)
    merlin.set("ACQUISITIONPERIOD", 1e3 * PERIOD_S)
    merlin.set("NUMFRAMESTOACQUIRE", FRAMES)
    if trigger == "soft":
        merlin.set("TRIGGERSTART", 5)
        merlin.set("NUMFRAMESPERTRIGGER", FRAMES)
    connection = receiver.QdConnection(
        "127.0.0.1", rig.data_port.port, 8, str(tmp_path / "handle"), drain=False
    )
    connection.start_passive()
    merlin.cmd("STARTACQUISITION")
    if trigger == "soft":
        merlin.cmd("SOFTTRIGGER")
    arm = None
    deadline = time.monotonic() + W
    while arm is None and time.monotonic() < deadline:  # it begins when the receiver has joined
        rig.clock.advance(PERIOD_S)
        arm = connection.wait_for_arm(0.02)
    assert arm is not None
    assert arm.frames_in_acquisition() == FRAMES
    rig.clock.advance((FRAMES + 1) * PERIOD_S)
    client = receiver.CamClient(connection.get_socket_path())
    count = 0
    while (stack := connection.get_next_stack(8)) is not None:
        shape = tuple(stack.get_shape())
        assert stack.get_dtype_string() == np.dtype(dtype).name
        pictures: NDArray[Any] = np.zeros((len(stack), *shape), dtype)
        client.decode_range_into_buffer(stack, pictures, 0, len(stack))
        client.done(stack)
        for picture in pictures:
            # Sent bottom row first: the receiver keeps that order or turns it; one edge is 60.
            assert {int(picture[0, 0]), int(picture[-1, 0])} == {count, 60}
            assert (picture[1:-1] == count).all()
            count += 1
    assert count == FRAMES
    assert merlin.get("DETECTORSTATUS") == b"0"
    client.close()
    connection.close()
