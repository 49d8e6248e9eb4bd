"""Write the reference pages: ``python -m docs.reference_pages``."""

import sys

from .pages import FOLDER, PAGES, made


def main() -> int:
    """Write all pages; return 0, or 2 if one cannot be written."""
    for page in PAGES:
        path = FOLDER / page
        try:
            before = path.read_text("utf-8")
            after = made(page, before)
            if after != before:
                path.write_text(after, "utf-8")
                print(f"written: {path.resolve().relative_to(FOLDER.parents[1])}")
        except (OSError, ValueError) as error:
            print(f"reference_pages: {path}: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
