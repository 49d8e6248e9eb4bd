"""Pieces of scripts for the source: what is sent, and what it answers."""

NONE = b'0,"No error"\n'
ASK = (b":SYST:ERR?\n", NONE)


def taken(*commands: bytes) -> list[tuple[bytes, bytes]]:
    """Return the script of commands that are read back in the same exchange."""
    steps = []
    for command in commands:
        header, _, value = command.partition(b" ")
        steps += [(command + b"\n", b"")]
        steps += [(b":SYST:ERR?;" + header + b"?\n", NONE[:-1] + b";" + value + b"\n")]
    return steps
