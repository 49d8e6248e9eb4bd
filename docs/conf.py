"""Sphinx's settings: ``make docs`` builds the site into build/docs.

The pages are plain Markdown that reads as well where the repository is hosted.  The table of
contents is not in them: it is made here from the folders, so that a new page is in it at once.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

from stmtem_control import __version__

HERE = Path(__file__).parent
FOLDERS = {
    "tutorials": "Learn",
    "how-to": "Do",
    "reference": "Look up",
    "explanation": "Understand",
    "explanation/decisions": "Decisions",
}

project = "stmtem-control"
version = release = __version__
copyright = "the authors of stmtem-control"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "README"
exclude_patterns = ["reference_pages"]
nitpicky = True
smartquotes = False  # two hyphens are an option, not a dash
highlight_language = "text"  # of blocks that do not say
myst_heading_anchors = 4  # links to headings, as on a git host
myst_enable_extensions = ["tasklist"]
suppress_warnings = ["myst.strikethrough"]

html_theme = "furo"
html_title = f"stmtem-control {release}"
html_static_path = ["style"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False


def title(path: Path) -> str:
    """Return the first heading of a page."""
    return path.read_text("utf-8").partition("# ")[2].partition("\n")[0]


def contents() -> str:
    """Return a table of contents for the side of each page: all pages of all folders."""
    parts = []
    for folder, caption in FOLDERS.items():
        # What introduces a folder first, then by heading: decisions have numbers there.
        pages = sorted(
            (HERE / folder).glob("*.md"), key=lambda page: (page.stem != "README", title(page))
        )
        names = [f"{folder}/{page.stem}" for page in pages]
        parts += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```", ""]
    return "\n".join(parts)


def prepare(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the table of contents under the first page; let links to folders find their README."""
    folder = (HERE / page).parent

    def linked(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if not target.is_dir():
            return found[0]
        inside = target.is_relative_to(HERE) and (target / "README.md").exists()
        return f"[{found[1]}]({found[2].rstrip('/')}/README.md)" if inside else found[1]

    source[0] = re.sub(r"\[([^\]]+)\]\(([\w./-]+)\)", linked, source[0])
    if page == root_doc:
        source[0] += f"\n\n{contents()}\n"


def setup(app: Sphinx) -> None:
    """Let Sphinx call what is above."""
    app.connect("source-read", prepare)
