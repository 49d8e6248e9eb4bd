"""Where a client attaches: TCP ports on the loopback address, and pseudo-terminals.

An endpoint carries bytes and knows no instrument; a :class:`Talker` knows its dialect and no
socket.  Every endpoint is ready when its constructor returns and gone when `close` returns.
"""

import contextlib
import os
import select
import socket
import threading
import tty
from typing import Protocol

LOOPBACK = "127.0.0.1"


class Channel:
    """One attached client; `send` may be called from any thread."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """Send all of `data`; a client that is gone is not an error of the instrument."""
        with self._sending, contextlib.suppress(OSError):
            self._write(data)

    def _write(self, data: bytes) -> None:
        raise NotImplementedError

    def hang_up(self) -> None:
        """Close the connection from the instrument's side."""
        raise NotImplementedError


class Talker(Protocol):
    """An instrument's side of a conversation."""

    def opened(self, channel: Channel) -> None:
        """Take a new client; for a pseudo-terminal, once at the start."""
        ...

    def received(self, channel: Channel, data: bytes) -> None:
        """Take bytes as they come, cut anywhere."""
        ...

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone."""
        ...


class _TcpChannel(Channel):
    def __init__(self, connection: socket.socket) -> None:
        super().__init__("tcp")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection

    def _write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _bound(port: int) -> socket.socket:
    """Return a socket bound to a port of the loopback address."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, port))
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"port {port} on {LOOPBACK}: {error.strerror}") from None
    return made


class TcpEndpoint:
    """A TCP port on the loopback address; a thread for each client.

    Parameters
    ----------
    talker : Talker
        Whom the clients talk to.
    port : int
        0 takes a free one.

    Raises
    ------
    OSError
        The port is taken; the message names it.
    """

    def __init__(self, talker: Talker, port: int = 0) -> None:
        self._talker = talker
        self._lock = threading.Lock()
        self._channels: dict[_TcpChannel, threading.Thread] = {}
        self._listener = _bound(port)
        self.host = LOOPBACK
        self.port: int = self._listener.getsockname()[1]
        self._open = True
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self.accept()

    def accept(self) -> None:
        """Take clients, as from the start; harmless while it does."""
        with self._changing:
            if self._thread is not None or not self._open:
                return
            self._listener.listen()
            self._thread = threading.Thread(
                target=self._accept,
                args=(self._listener,),
                name=f"sim-accept-{self.port}",
                daemon=True,
            )
            self._thread.start()

    def refuse(self) -> None:
        """Refuse new clients; the port is kept, and clients that are attached stay."""
        with self._changing:
            if self._thread is None or not self._open:
                return
            self._end_listening()
            # Bound, but not listening: nobody else can take the port meanwhile.
            self._listener = _bound(self.port)

    def _end_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            channel = _TcpChannel(connection)
            thread = threading.Thread(
                target=self._serve, args=(channel,), name=f"sim-tcp-{self.port}", daemon=True
            )
            with self._lock:
                if not self._open:
                    connection.close()
                    return
                self._channels[channel] = thread
            thread.start()

    def _serve(self, channel: _TcpChannel) -> None:
        try:
            self._talker.opened(channel)
            while True:
                try:
                    data = channel.connection.recv(65536)
                except OSError:
                    break
                if not data:
                    break
                self._talker.received(channel, data)
        finally:
            self._talker.closed(channel)
            channel.connection.close()
            with self._lock:
                self._channels.pop(channel, None)

    def drop_clients(self) -> None:
        """Close every connection; the port goes on listening."""
        with self._lock:
            channels = list(self._channels)
        for channel in channels:
            channel.hang_up()

    def close(self) -> None:
        """Stop listening, close every connection and end every thread."""
        with self._lock:
            self._open = False
            threads = list(self._channels.values())
        with self._changing:
            self._end_listening()
        self.drop_clients()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()


class _PtyChannel(Channel):
    def __init__(self, master: int) -> None:
        super().__init__("pty")
        self.master = master

    def _write(self, data: bytes) -> None:
        # A terminal nobody reads fills up after 16 KiB; an instrument does not stop for that.
        view = memoryview(data)
        while view and select.select([], [self.master], [], 1.0)[1]:
            try:
                view = view[os.write(self.master, view) :]
            except BlockingIOError:
                return

    def hang_up(self) -> None:
        """Do nothing: a serial cable has no connection to close."""


class PtyEndpoint:
    """A pseudo-terminal: the instrument's serial port, under the path :attr:`path`."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._master, self._slave = os.openpty()
        # Raw, or the terminal echoes the instrument's own bytes back to it.  The slave stays
        # open here, or reading the master fails whenever no client is attached.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        self._channel = _PtyChannel(self._master)
        self._thread = threading.Thread(target=self._serve, name=f"sim-{self.path}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._talker.opened(self._channel)
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                break
            try:
                data = os.read(self._master, 65536)
            except BlockingIOError:
                continue
            except OSError:
                break
            self._talker.received(self._channel, data)
        self._talker.closed(self._channel)

    def close(self) -> None:
        """End the thread and remove the terminal."""
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(descriptor)
