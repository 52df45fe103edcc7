"""Compiles the harness's C when the package is built. Without a compiler all works, at a higher cost a stream."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "harness/native"
SOURCES, LIBRARY = (f"{FOLDER}/drain.c", f"{FOLDER}/record.c"), f"{FOLDER}/_compiled.so"


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        library = Path(self.root, LIBRARY)
        library.unlink(missing_ok=True)
        if sys.platform != "linux":
            return
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-O2", "-shared", "-fPIC", "-pthread", "-Wall", "-o", library]
        command += [Path(self.root, source) for source in SOURCES]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as fault:
            self.app.display_warning(f"not compiled, Python will do it: {fault}")
            return
        build_data["artifacts"].append(LIBRARY)
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
