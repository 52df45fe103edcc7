"""`make report-picture`: photographs the sample report as on a laptop, a phone and a wide screen."""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.validity import Validity

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = {
    "report.png": ViewportSize(width=1280, height=1470),
    "report-phone.png": ViewportSize(width=390, height=844),
    "report-wide.png": ViewportSize(width=2560, height=1300),
}


def main() -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise SystemExit("make report-picture needs Chromium (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path)
        for name, size in PICTURES.items():
            page = browser.new_page(viewport=size, color_scheme="light", reduced_motion="reduce")
            page.goto((DOCS / "sample-report.html").as_uri())
            page.wait_for_load_state("networkidle")
            page.screenshot(path=DOCS / name)
            page.close()
        browser.close()
    print(f"{', '.join(PICTURES)} in {DOCS}: look at them before you commit them")


def demo(folder: Path) -> Path:
    """The report of a demo in which all goes well, and whose figures are to be believed."""
    words = [str(Path(sys.executable).parent / "streamgauge"), "demo", "--out", str(folder)]
    if subprocess.run(words, check=False).returncode != 0:
        raise SystemExit("the demo's rules were not met: what we publish shows a run in which all goes well")
    with Store.open(folder / "demo.db") as store:
        validity = judge(store).validity
    if validity is not Validity.VALID:
        raise SystemExit(f"the run is {validity.value}, so this machine is too busy: try again later")
    return folder / "demo.html"


if __name__ == "__main__":
    main()
