"""`make report-picture`: runs the demo and photographs the top of its report for the README."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

PICTURE = Path(__file__).parents[2] / "docs/report.png"
SIZE = ViewportSize(width=1280, height=1470)


def main() -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise SystemExit("make report-picture needs Chromium (Debian: chromium)")
    with tempfile.TemporaryDirectory() as folder:
        demo = [str(Path(sys.executable).parent / "streamgauge"), "demo", "--out", folder]
        if subprocess.run(demo, check=False).returncode != 0:
            raise SystemExit("the demo's rules were not met: the picture shows a run in which all goes well")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path)
            page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
            page.goto(Path(folder, "demo.html").as_uri())
            page.wait_for_load_state("networkidle")
            page.screenshot(path=PICTURE)
            browser.close()
    print(f"{PICTURE}: look at it before you commit it")


if __name__ == "__main__":
    main()
