"""Talk to the simulated source with nothing but a socket: the wire is the interface."""

import socket

from stmtem_control.simulators import Bench

with Bench(size=256) as bench:
    host, port = bench.addresses.bias_source["resource"].split("::")[1:3]
    with socket.create_connection((host, int(port))) as wire, wire.makefile("rb") as answers:
        wire.sendall(b"*IDN?\n")
        print(answers.readline().decode().strip())
        wire.sendall(b":SOUR:VOLT:LEV 1.5;:SOUR:VOLT?\n")
        print(answers.readline().decode().strip(), "V programmed")
    print("output on:", bench.source.output_on)
