"""A program for a test: it pulls the cable of a network of its own, and waits.

Prints after how many seconds each of an idle connection and one that owes an answer was given up,
and as what.  Ends with exit code 77 where it may not have a network of its own.
"""

import ctypes
import os
import socket
import struct
import sys
import time

from stmtem_control import socket_wire
from stmtem_control.errors import TransportError
from stmtem_control.tcp import TcpTransport

NEW_NETWORK = 0x40000000  # CLONE_NEWNET, sched.h
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP


def loopback(*, up: bool) -> None:
    """Switch the loopback interface on or off."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(any_socket, GET_FLAGS, request))
        flags = flags | UP if up else flags & ~UP
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", flags))


def main() -> int:
    """Pull the cable, and return the exit code."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK) != 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        return 77
    loopback(up=True)
    socket_wire.QUIET_S, socket_wire.OWED_S = 1, 2
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        idle, asking = TcpTransport("127.0.0.1", port), TcpTransport("127.0.0.1", port)
        ends = [server.accept()[0] for _ in range(2)]
        loopback(up=False)
        begun = time.monotonic()
        asking.write(b"*IDN?\n")
        for transport in (asking, idle):
            try:
                transport.read_until(b"\n", begun + 10.0)
            except TransportError as error:
                print(f"{time.monotonic() - begun:.2f} {type(error).__name__} {error}")
            transport.close()
        for end in ends:
            end.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
