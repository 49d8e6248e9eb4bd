"""What a recovery found, mended and could not save, in words for a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Report:
    """What was found in a run folder, mended and lost, in words.

    Attributes
    ----------
    folder : Path
    frames, readings : int
        On disk now.
    mended : list of str
        What was changed, or would be.
    cut : int
        Frames that were being written, and are cut off.
    lost : list of str
        What is lost beyond those.
    """

    folder: Path
    frames: int = 0
    readings: int = 0
    mended: list[str] = field(default_factory=list)
    cut: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 mended, or nothing to do; 1 something is lost beyond the frame being written."""
        return 1 if self.lost else 0

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """Yield what a person wants to know."""
        if not self.mended and not self.lost:
            yield f"{self.folder}: nothing to do, {self.frames} frames"
            return
        yield f"{self.folder}:"
        yield f"  found   {self.frames} frames, {self.readings} readings of the source"
        for what in self.mended:
            yield f"  {'to mend' if dry_run else 'mended '} {what}"
        for what in self.lost:
            yield f"  lost    {what}"
        if not self.lost:
            lost = "1 frame, which was being written" if self.cut else "no frame that was on disk"
            yield f"  lost    {lost}"
        if self.mended:
            yield (
                "  unknown frames that the camera took after the last one here; "
                "nothing on disk can count them"
            )


def counted(number: int, what: str) -> str:
    """Return a number of things, in words."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def numbered(frames: Sequence[int]) -> str:
    """Return which frames are meant, in words."""
    if len(frames) == 1:
        return f"that of frame {frames[0]}"
    return f"{len(frames)} of them, frames {frames[0]} to {frames[-1]}"
