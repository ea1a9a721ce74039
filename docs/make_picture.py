"""Make the picture that README.md opens with, docs/demo.png: `python docs/make_picture.py`, after `bash run.sh demo`.

It shows two pages as Chromium draws them: the answers of predict.py for three held-out clips, and the page of eval.py.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from utils.cli import run
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "data" / "demo" / "results" / name / "report.html" for name in ("predict", "eval")]
WIDTHS, HEIGHT = (440, 1040), 1000
TOPS = (".of-cards", "body")  # the element at the top of each picture


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if missing := [page for page in PAGES if not page.exists()]:
        raise InputError(f"{missing[0]}: no such page; make it with: bash run.sh demo")
    if chromium is None:
        raise InputError("no chromium on the PATH; install it")
    pictures = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for path, width, top in zip(PAGES, WIDTHS, TOPS):
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme="light")
            page.goto(path.as_uri())
            page.locator(top).evaluate("part => part.scrollIntoView()")
            pictures.append(Image.open(io.BytesIO(page.screenshot())))
        browser.close()
    whole = Image.new("RGB", (sum(WIDTHS), HEIGHT))
    for picture, left in zip(pictures, (0, WIDTHS[0])):
        whole.paste(picture, (left, 0))
    whole.save(ROOT / "docs" / "demo.png", optimize=True)
    print("written: docs/demo.png")


if __name__ == "__main__":
    run(main)
