"""Compiles harness/native when the package is built. Without a C compiler Python does its work, at a higher cost."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE, LIBRARY = "harness/native", "_compiled.so"
FOLDERS = ("harness", "scenarios", "reference_server", "reports")


class CustomBuildHook(BuildHookInterface):
    """A wheel gets a library of its own; an editable install gets it in the checkout; an sdist gets none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        if version == "editable":
            self._link_folders()
        self._scratch = tempfile.TemporaryDirectory()
        compiled = self._compile(Path(self._scratch.name))
        if version == "editable":
            library = Path(self.root, NATIVE, LIBRARY)
            library.unlink(missing_ok=True)  # not overwritten: a process that has it loaded keeps the old file
            if compiled is not None:
                library.write_bytes(compiled.read_bytes())
        elif compiled is not None:
            build_data["force_include"][str(compiled)] = f"streamgauge/{NATIVE}/{LIBRARY}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's signature
        if self.target_name == "wheel":
            self._scratch.cleanup()

    def _compile(self, scratch: Path) -> Path | None:
        """The compiled library, or None where it cannot be had: elsewhere than on Linux, or without a compiler."""
        if sys.platform != "linux":
            return None
        library = scratch / LIBRARY
        sources = [path.relative_to(self.root) for path in sorted(Path(self.root, NATIVE).glob("*.c"))]
        flags = ["-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra"]
        command = [os.environ.get("CC", "cc"), *flags, "-o", library, *sources]
        try:
            subprocess.run(command, check=True, cwd=self.root)
        except (OSError, subprocess.CalledProcessError) as fault:
            self.app.display_warning(f"the slower reader is installed, for want of a C compiler: {fault}")
            return None
        return library

    def _link_folders(self) -> None:
        """An sdist holds no links to folders, and an editable install finds the sub-packages by them."""
        for folder in FOLDERS:
            link = Path(self.root, "src", "streamgauge", folder)
            if not link.exists():
                link.symlink_to(Path("..", "..", folder), target_is_directory=True)
