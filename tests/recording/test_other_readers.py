"""Programs of others open the files, closed or still growing, with pixels in nm and frames in s."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageSequence

from .pictures import frames, make_writer, picture

COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 11])
CLOSED = pytest.mark.parametrize("closed", [False, True], ids=["growing", "closed"])
KINDS = pytest.mark.parametrize("method", ["direct", "buffered", "tifffile"])


def written(folder: Path, count: int, *, closed: bool = True, **options: Any) -> Path:
    """Write one file and return its path."""
    writer = make_writer(folder, frames_per_file=count if closed else count + 1, **options)
    writer.write(frames(0, count))
    return folder / "frames_0000.tif"


def stack(count: int) -> Any:
    return np.array([picture(i) for i in range(count)])


@COUNTS
@CLOSED
@KINDS
def test_hyperspys_reader_finds_nm_and_s(
    tmp_path: Path, count: int, closed: bool, method: str
) -> None:
    reader = pytest.importorskip("rsciio.tiff")
    path = written(tmp_path, count, closed=closed, method=method)
    (signal,) = reader.file_reader(str(path))
    axes = [(a["name"], a["size"], a["scale"], a["units"]) for a in signal["axes"]]
    assert axes[-2:] == [("height", 20, 2.5, "nm"), ("width", 30, 2.5, "nm")]
    if count > 1:
        assert axes[0] == ("time" if closed else "image series", count, 0.04, "s")
    np.testing.assert_array_equal(signal["data"].reshape(count, 20, 30), stack(count))


@COUNTS
@CLOSED
@KINDS
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tifffile_sees_one_series(
    tmp_path: Path, count: int, closed: bool, method: str, bigtiff: bool
) -> None:
    options: dict[str, Any] = {} if method == "tifffile" else {"bigtiff": bigtiff}
    path = written(tmp_path, count, closed=closed, method=method, **options)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series) == 1
        assert len(tiff.pages) == count
        np.testing.assert_array_equal(tiff.asarray().reshape(count, 20, 30), stack(count))
        header = tiff.imagej_metadata
        assert header is not None
        assert (header["unit"], header["finterval"]) == ("nm", 0.04)
        assert header.get("frames") == (count if closed else None)
        if closed and count > 1:
            assert tiff.series[0].axes == "TYX"


@CLOSED
def test_pillow_reads_all_pages(tmp_path: Path, closed: bool) -> None:
    path = written(tmp_path, 11, closed=closed)
    with Image.open(path) as image:
        got = [np.asarray(page) for page in ImageSequence.Iterator(image)]
    np.testing.assert_array_equal(got, stack(11))


@pytest.mark.parametrize("bigtiff", [False, True])
def test_libtiff_has_nothing_to_say(tmp_path: Path, bigtiff: bool) -> None:
    program = shutil.which("tiffinfo")
    if program is None:
        pytest.skip("libtiff's tiffinfo is not installed")
    path = written(tmp_path, 11, closed=False, bigtiff=bigtiff)
    done = subprocess.run(
        [program, "-d", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("=== TIFF directory") == 11
    told = [line for line in done.stderr.splitlines() if "Unknown field with tag" not in line]
    assert told == []


IMAGEJ = """
import ij.io.Opener;
import ij.ImagePlus;
public class Look {
  public static void main(String[] paths) {
    for (String path : paths) {
      ImagePlus p = new Opener().openImage(path);
      StringBuilder pixels = new StringBuilder();
      for (int i = 1; i <= p.getStackSize(); i++)
        pixels.append(' ').append(p.getStack().getProcessor(i).get(0, 0))
              .append(' ').append(p.getStack().getProcessor(i).get(29, 19));
      System.out.println("found " + p.getWidth() + " " + p.getHeight() + " " + p.getStackSize()
        + " " + p.getNFrames() + " " + p.getCalibration().pixelWidth + " "
        + p.getCalibration().getUnit() + " " + p.getCalibration().frameInterval + pixels);
    }
    System.exit(0);
  }
}
"""

BIO_FORMATS = """
import loci.common.services.ServiceFactory;
import loci.formats.ImageReader;
import loci.formats.meta.IMetadata;
import loci.formats.services.OMEXMLService;
public class Look {
  public static void main(String[] paths) throws Exception {
    for (String path : paths) {
      ImageReader r = new ImageReader();
      IMetadata m = new ServiceFactory().getInstance(OMEXMLService.class).createOMEXMLMetadata();
      r.setMetadataStore(m);
      r.setId(path);
      StringBuilder pixels = new StringBuilder();
      for (int i = 0; i < r.getImageCount(); i++) {
        byte[] b = r.openBytes(i);
        int end = b.length - b.length / 600;
        pixels.append(' ').append(b[0] & 255).append(' ').append(b[end] & 255);
      }
      System.out.println("found " + r.getSizeX() + " " + r.getSizeY() + " " + r.getImageCount()
        + " " + r.getSizeT() + " " + m.getPixelsPhysicalSizeX(0).value() + " "
        + m.getPixelsPhysicalSizeX(0).unit().getSymbol() + " "
        + m.getPixelsTimeIncrement(0).value() + pixels);
    }
    System.exit(0);
  }
}
"""


def look(folder: Path, program: str, jar: str, paths: list[Path]) -> list[list[str]]:
    """Run a Java program on files; return the words of what it found in each."""
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("Java is not installed")
    if not Path(jar).is_file():
        pytest.skip(f"no jar at {jar!r}; IMAGEJ_JAR and BIOFORMATS_JAR name others")
    (folder / "Look.java").write_text(program, "utf-8")
    subprocess.run(["javac", "-cp", jar, "Look.java"], cwd=folder, check=True, capture_output=True)
    done = subprocess.run(
        [java, "-Djava.awt.headless=true", "-cp", f"{jar}{os.pathsep}{folder}", "Look"]
        + [str(path) for path in paths],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("found ")]


def several(folder: Path, kinds: list[dict[str, Any]]) -> list[Path]:
    paths = []
    for i, options in enumerate(kinds):
        (folder / str(i)).mkdir()
        paths.append(written(folder / str(i), 3, **options))
    return paths


def pixels_of_three() -> list[str]:
    return [str(v) for i in range(3) for v in (picture(i)[0, 0], picture(i)[19, 29])]


@pytest.mark.slow
def test_imagej_opens_classic_files(tmp_path: Path) -> None:
    jar = os.environ.get("IMAGEJ_JAR", "/usr/share/java/ij.jar")
    kinds: list[dict[str, Any]] = [
        {},
        {"closed": False},
        {"compression": "deflate"},
        {"method": "tifffile"},
    ]
    found = look(tmp_path, IMAGEJ, jar, several(tmp_path, kinds))
    told = [words[:3] + words[4:] for words in found]
    assert told == [["30", "20", "3", "2.5", "nm", "0.04", *pixels_of_three()]] * 4
    assert [words[3] for words in found] == ["3", "1", "3", "3"]  # frames, told when closed


@pytest.mark.slow
def test_bio_formats_opens_all(tmp_path: Path) -> None:
    jar = os.environ.get("BIOFORMATS_JAR", "")
    kinds: list[dict[str, Any]] = [
        {"bigtiff": big, "closed": closed, "compression": compression}
        for big in (False, True)
        for closed in (False, True)
        for compression in (None, "deflate", "zstd")
    ]
    found = look(tmp_path, BIO_FORMATS, jar, several(tmp_path, kinds))
    assert found == [["30", "20", "3", "3", "2.5", "nm", "0.04", *pixels_of_three()]] * len(kinds)
