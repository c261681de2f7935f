"""Makes the documentation's pictures of reports, out of a run on this machine.

make demo && .venv/bin/python scripts/pictures.py runs/shapes

It takes chromium. Pictures come with a palette of 256 colours, which keeps them small.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
STAGE_PICTURES = ROOT / "docs" / "ui"
_PAGES = {"docs/run.png": ("index.html", 860), "docs/evaluation.png": ("reports/merge.html", 1700)}
_WIDTH = 1185
_STAGE_HEIGHT = 900
# A window may keep some of its height for what is not the page.
_SPARE = 150
_READERS_FOLDER = "/home/ada/kfdet"
_COLOURS = 256
_FEWEST_COLOURS = 16
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def picture(page: Path, target: Path, *, height: int) -> None:
    """Writes a picture of the top of a page.

    Args:
        page: The page.
        target: The PNG to write.
        height: Its height in pixels.
    """
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("there is no chromium. On Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="kfdet-pictures-") as folder:
        shot = Path(folder, "shot.png")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--hide-scrollbars", "--virtual-time-budget=20000", f"--user-data-dir={folder}/profile", f"--screenshot={shot}",
            f"--window-size={_WIDTH},{height + _SPARE}", page.absolute().as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if not shot.exists():
            raise SystemExit(f"{browser} made no picture of {page}:\n{done.stderr[-2000:]}")
        top = Image.open(shot).convert("RGB").crop((0, 0, _WIDTH, height))
        if len(top.getcolors(1 << 24) or ()) < _FEWEST_COLOURS:
            raise SystemExit(f"the picture of {page} is blank; the machine may be busy. Try again.")
        small = top.quantize(_COLOURS, dither=Image.Dither.NONE)
        target.parent.mkdir(parents=True, exist_ok=True)
        small.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size:,} bytes")


def neutral(page: Path, run: Path, folder: Path) -> Path:
    """Returns a copy of a page that names the run's folder as a reader might have it."""
    copy = folder / page.name
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace(str(run.absolute().parents[1]), _READERS_FOLDER), encoding="utf-8")
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run that has ended: runs/shapes")
    parser.add_argument("--out", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    reports = sorted((arguments.run / "reports").glob("*.html"))
    if not reports:
        raise SystemExit(f"{arguments.run} holds no reports. Run make demo first.")
    with tempfile.TemporaryDirectory(prefix="kfdet-pages-") as folder:
        for name, (page, height) in _PAGES.items():
            shown = neutral(arguments.run / page, arguments.run, Path(folder))
            picture(shown, arguments.out / name, height=height)
        for report in reports:
            target = arguments.out / STAGE_PICTURES.relative_to(ROOT) / f"{report.stem}.png"
            shown = neutral(report, arguments.run, Path(folder))
            picture(shown, target, height=_STAGE_HEIGHT)


if __name__ == "__main__":
    main()
