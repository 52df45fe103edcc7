"""The documents for other tools as files."""

import json
from collections.abc import Sequence
from pathlib import Path

from streamgauge.harness.errors import OutputError
from streamgauge.harness.monitor.exposition import dashboard, rules, yaml
from streamgauge.harness.monitor.levels import Level

_ABOUT = "Made by `streamgauge monitor --write-rules` from [[slo]]: change those, and write this again."


def write(folder: str, levels: Sequence[Level]) -> list[Path]:
    """Write all of them, and return their paths. OutputError if a file cannot be written."""
    try:
        Path(folder).mkdir(exist_ok=True)
        return [_written(Path(folder) / name, text) for name, text in documents(levels).items()]
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be written: {fault.strerror}; give a folder that you may write to"
        ) from None


def documents(levels: Sequence[Level]) -> dict[str, str]:
    """By file name."""
    openslo = [yaml.document(rules.openslo(*each), _ABOUT) for each in rules.of_targets(levels)]
    return {
        "prometheus-rules.yaml": yaml.document(rules.prometheus(levels), _ABOUT),
        "sloth.yaml": yaml.document(rules.sloth(levels), _ABOUT),
        "openslo.yaml": "---\n".join(openslo),
        "grafana-dashboard.json": json.dumps(dashboard.dashboard(), indent=2, ensure_ascii=False) + "\n",
    }


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
