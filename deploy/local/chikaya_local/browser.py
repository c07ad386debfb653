"""The browser that tests drive: Chromium, from Debian's packages or Playwright's own.

`python -m chikaya_local.browser` installs one where there is none and it can be had.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The program of a Chromium on this machine, for Playwright's `executable_path`; None where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(own.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), None)


def install() -> str | None:
    """Chromium's program, installed if need be: as root from Debian's packages, else Playwright's own."""
    if found := find():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-noto-core"]
        print("Installing Chromium from Debian's packages (once) …", flush=True)
        for step in (["apt-get", "update", "-q"], packages):
            subprocess.run(step, env=quiet, stdout=subprocess.DEVNULL, check=False)
    if not find():
        print("Installing Playwright's Chromium (once) …", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return find()


if __name__ == "__main__":
    browser = install()
    print(f"Browser for tests: {browser}" if browser else "No Chromium could be had: tests that need one are skipped.")
