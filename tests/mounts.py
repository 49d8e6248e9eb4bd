"""Disks that are mounted for a test, and unmounted whatever becomes of it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Ends when its input does: when the test is over, and when who runs the test is killed.
WATCH = 'read -r _; exec umount -l "$1"'


@contextlib.contextmanager
def unmounted_in_the_end(folder: Path) -> Iterator[None]:
    """Unmount a folder at the end of the block, also if the process is killed in it."""
    watcher = subprocess.Popen(
        ["sh", "-c", WATCH, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with watcher:  # which closes its input and waits for it
        yield
