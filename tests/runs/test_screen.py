"""A run in a terminal, as a person sees it while it goes on."""

import subprocess
from pathlib import Path

from tests.support.busy import again_if_busy, only_busy
from tests.support.command import BIN, HASTY, RULES
from tests.support.reference import ReferenceServer
from tests.support.terminal import Program, Terminal

HELLO = "the scenario says hello"
PRINTS = f"""{HASTY}
        if not Hasty.told:
            Hasty.told = True
            print("{HELLO}")

    told = False
"""


def test_a_run_in_a_terminal_shows_itself_and_leaves_only_its_result(server: ReferenceServer, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "hasty.py").write_text(PRINTS)
    words = [
        BIN / "streamgauge", "run", "hasty.py", "--host", server.url, "--users", "3", "--spawn-rate", "9",
        "--run-time", "15s", "--config", "rules.toml", "--db", "run.db", "--processes", "1",
    ]  # fmt: skip
    parts = (
        "hasty · " + server.url,
        " of 0:15  ━",
        "3 users, ",
        "TTFT    ",
        "ITL    ",
        "generator: ",
        "✓ max(ttft) < 20s:",
    )
    written = []

    def attempt() -> "subprocess.CompletedProcess[str]":
        program = Program(words, tmp_path, {"TERM": "xterm", "NO_COLOR": "1", "CI": ""})
        program.until(lambda shown: all(part in shown for part in (HELLO, *parts)))
        shown = program.terminal.text
        assert all(shown.count(part) == 1 for part in parts), shown
        assert shown.startswith(f"{HELLO}\n"), "what a worker prints stays above the screen"
        program.resize(60, 12)
        program.press(b"\x13")  # Ctrl-S: the terminal takes nothing; the run goes on
        program.press(b"\x11")
        code = program.end()
        written.append(program.written)
        return subprocess.CompletedProcess(list(map(str, words)), code, program.terminal.text, "")

    left = again_if_busy(attempt)
    assert left.returncode == 0 or only_busy(left), left.stdout
    assert left.stdout.startswith(f"{HELLO}\n{'! INVALID' if left.returncode else '✓ MET'}: ")
    assert "generator: " not in left.stdout
    assert "\x1b[3" not in "".join(written), "NO_COLOR"
    assert "\x1b[?" not in "".join(written), "nothing that a kill would leave behind"


def test_the_terminal_of_the_tests_does_what_a_terminal_does() -> None:
    terminal = Terminal()
    terminal.write("one\r\ntwo three\r\n\x1b[1A\x1b[1mTWO\x1b[0m\x1b[K\r\nfour\x1b[K\r\nfive")
    assert terminal.text == "one\nTWO\nfour\nfive"
    terminal.write("\r\x1b[2A\x1b[J")
    assert terminal.text == "one\n"
