"""Find pages that are whole, but that the chain of their file does not lead to yet.

Through the page cache the link to a batch of pages is written after them, and the first pages of a
file get its name after they are written; a kill in between leaves pages that no reader finds.
"""

import os
from pathlib import Path

from stmtem_control.errors import RecordingError

from .page_chain import UNFINISHED, Chain, StoredPage, end_of_pages, read_chain, read_page
from .page_layout import ALIGNMENT, HEADER_BYTES, NO_COMPRESSION, place_page


def unfinished_files(folder: Path) -> list[tuple[Path, Path | None]]:
    """Return the files that have no name yet, each with that which it deserves.

    That is None where no page of it is whole.

    Raises
    ------
    RecordingError
        One cannot be read.
    """
    found: list[tuple[Path, Path | None]] = []
    for path in sorted(folder.glob(f"frames_*.tif{UNFINISHED}")):
        named = path.with_name(path.name.removesuffix(UNFINISHED))
        whole = not named.exists() and bool(read_chain(path).pages)
        found.append((path, named if whole else None))
    return found


def unlinked_page(path: Path) -> StoredPage | None:
    """Return the page behind the last that the chain leads to, if there is one and it is whole.

    Raises
    ------
    RecordingError
        The file cannot be read.
    """
    chain = read_chain(path)
    if not chain.pages or not chain.ended or chain.size <= end_of_pages(chain):
        return None
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return _behind(chain, file)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from None


def _behind(chain: Chain, file: int) -> StoredPage | None:
    last, place = chain.pages[-1], end_of_pages(chain)
    number = len(chain.pages)
    if place % ALIGNMENT or place < HEADER_BYTES:
        return None
    if last.compression == NO_COMPRESSION or number == 1:
        # With the number of bytes of the page before, which is that of all.
        places = [place_page(number, place, last.data_bytes, 0).directory]
    else:
        places = list(range(place + ALIGNMENT, chain.size - ALIGNMENT + 1, ALIGNMENT))
    for directory in places:
        page = read_page(chain, file, directory)
        if page is None or page.data != place or not page.row:
            continue
        if directory == place_page(number, place, page.data_bytes, 0).directory:
            return page
    return None


def link_page(path: Path, page: StoredPage) -> None:
    """Let the chain lead on to a page that :func:`unlinked_page` has found, and to those behind.

    Raises
    ------
    RecordingError
        The file cannot be written.
    """
    chain = read_chain(path)
    size = 8 if chain.bigtiff else 4
    try:
        file = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(file, page.directory.to_bytes(size, "little"), chain.pages[-1].link)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordingError(f"{path} cannot be mended: {error.strerror or error}") from None
