"""The steps of the tour, in their order: each is a line for `sh`, run in one working directory.

`$TARGET` is a reference server, `$SLOWER` one with three times its TTFT, `$REPOSITORY` the checkout, `$PORT` a free
port. `streamgauge`, `locust` and `pytest` are those of the fresh clone, once it is installed, and else of the checkout.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    name: str
    command: str
    first: str  # a pattern at the beginning of the first line of standard output; of standard error if that is empty
    code: int = 0
    python: str | None = None  # a Python that this machine may lack, such as 3.13
    downloads: bool = False  # packages, from the index that pip is configured for


LOAD = "--host $TARGET --users 6 --spawn-rate 6 --run-time 6s"
SHORT = LOAD.replace("6s", "3s")
MINE = f"streamgauge run mine.py {LOAD}"
LOCUST = "--headless -u 6 -r 6 -t 6s -H $TARGET"
DEMO = "demo --users 8 --run-time 5s"
JUDGED = "code=$?; test $code = 0 -o $code = 3"  # 3: so short a run may have too few samples


def _of_python(version: str) -> list[Step]:
    """The wheel on another Python, in an empty folder."""
    environment = f"py{version}"
    return [
        Step(
            f"wheel on Python {version}: install",
            f"$PYTHON -m venv {environment} && {environment}/bin/pip install --quiet dist/*.whl "
            f"-c $REPOSITORY/constraints.txt && {environment}/bin/streamgauge --version",
            "streamgauge, version ",
            python=version,
            downloads=True,
        ),
        Step(
            f"wheel on Python {version}: demo in an empty folder",
            f"mkdir -p empty-{version} && cd empty-{version} && ../{environment}/bin/streamgauge {DEMO}; {JUDGED}",
            "demo: 8 users of the scenario `mixed`",
            python=version,
        ),
    ]


STEPS = [
    # From the clone to the first run
    Step("clone", "git clone --quiet $REPOSITORY clone && ls clone/Makefile", "clone/Makefile"),
    Step("install", "make -s -C clone install && ls -d clone/.venv", "making .venv", downloads=True),
    Step("help", "streamgauge", "Usage: streamgauge"),
    Step("demo of the clone", f"cd clone && streamgauge {DEMO} --out ../demo; {JUDGED}", "demo: 8 users"),
    Step(
        "init",
        "mkdir new && cd new && streamgauge init --host $TARGET --preset chat",
        "http://.* answered one question",
    ),
    Step("try", "streamgauge try --host $TARGET", "POST http://"),
    Step("own config", f"streamgauge run chat {LOAD} --users 30 --spawn-rate 30 --run-time 10s --db chat.db", "✓ MET"),
    Step("own format: try", "streamgauge try --host $TARGET --config own-format.toml", "POST http://"),
    Step("own format: run", f"{MINE} --config own-format.toml --db format.db", "✓ MET"),
    Step("own scenario with two classes", f"{MINE} --db gauge.db --report mine.html --json mine.json", "✓ MET"),
    Step("plain Locust", f"locust -f mine.py {LOCUST} --gauge-db plain.db", "✓ MET"),
    # Processes
    Step("two processes", f"{MINE} --processes 2 --db two.db", "✓ MET"),
    Step(
        "master and worker",
        "export STREAMGAUGE_TOKEN=0123456789abcdef0123456789abcdef; "
        "locust -f mine.py --worker --master-port $PORT >worker.log 2>&1 & "
        f"locust -f mine.py --master --master-bind-port $PORT --expect-workers 1 {LOCUST} --gauge-db master.db; "
        "code=$?; wait; exit $code",
        "✓ MET",
    ),
    Step(
        "Ctrl-C",
        f"timeout --preserve-status -s INT 8 {MINE.replace('6s', '60s')} --db stopped.db",
        "! INVALID: the run was interrupted",
        3,
    ),
    Step("kill", f"timeout --foreground -s KILL 8 {MINE.replace('6s', '60s')} --db killed.db", "", 137),
    Step("what a killed run leaves", "streamgauge runs killed.db", "host: http://"),
    Step("a killed run is no success", "streamgauge judge killed.db", "! INVALID", 3),
    # Verdicts and mistakes
    Step("a missed rule", f"{MINE} --config strict.toml --db strict.db", "✗ MISSED", 1),
    Step(
        "no server",
        "streamgauge run chat --host http://127.0.0.1:9 --users 1 --run-time 2s --db none.db",
        "\\? INCONCLUSIVE",
        3,
    ),
    Step("a typo in a rule", f"{MINE} --config typo.toml", ".*no metric called 'ttfb'", 2),
    Step("a broken scenario", f"streamgauge run broken.py {LOAD}", ".*broken.py:3: SyntaxError", 2),
    Step("an unknown command", "streamgauge jugde gauge.db", "Usage: ", 2),
    Step("no samples", f"{MINE.replace('6s', '1s')} --db few.db --users 1", "\\? INCONCLUSIVE", 3),
    # The regression gate
    Step("noise, and a baseline", f"streamgauge noise mine.py {SHORT} --db gate.db --runs 14", "1 of 14: "),
    Step("baseline accept", "streamgauge baseline accept gate.db --name main", "main: 1[0-4] runs added"),
    Step("baseline list", "streamgauge baseline list gate.db", "baseline "),
    Step(
        "baseline export", "streamgauge baseline export gate.db --name main -o main.json && ls main.json", "main.json"
    ),
    Step("gate: equal", f"streamgauge run mine.py {SHORT} --db gate.db --gate main", "1 of 2: "),
    Step(
        "gate: a slower build",
        f"streamgauge run mine.py {SHORT.replace('$TARGET', '$SLOWER')} --db gate.db --gate main "
        "--output junit=gate.xml --output markdown=gate.md",
        "1 of 2: ",
        1,
    ),
    Step("gate: Markdown", "cat gate.md", "## ✗ REGRESSED"),
    Step("gate: JUnit", "grep -c '<failure' gate.xml", "[1-9]"),
    Step("compare with a baseline", "streamgauge compare gate.db --baseline main.json", "✗ REGRESSED", 1),
    Step("compare two databases", "streamgauge compare gauge.db two.db", "not a gate: "),
    Step(
        "ab",
        "streamgauge ab mine.py --a $TARGET --b $SLOWER --users 8 --spawn-rate 8 --run-time 3s --db ab.db",
        "a, pair 1 of 6: ✓ MET",
        1,
    ),
    Step("runs", "streamgauge runs gate.db", "host 1: http://"),
    Step("history", "streamgauge history gate.db -o history.html", "started .UTC."),
    # What CI reads
    Step("judge again", "streamgauge judge gauge.db", "✓ MET"),
    Step("JUnit", "streamgauge judge gauge.db --output junit=- ", "<\\?xml"),
    Step("Markdown", "streamgauge judge gauge.db --output markdown=-", "## ✓ MET"),
    Step(
        "GitHub's step summary",
        "touch summary.md; GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=summary.md streamgauge judge gauge.db >/dev/null "
        "&& cat summary.md",
        "## ✓ MET",
    ),
    Step("JSON", "streamgauge judge gauge.db --json -", "\\{"),
    Step("report", "streamgauge report gauge.db -o again.html && ls again.html", "again.html"),
    Step("pytest", "pytest -q -p no:cacheprovider test_sla.py", "\\. +\\[100%\\]"),
    # What people install
    Step(
        "build the wheel",
        "cd clone && python -m hatchling build -t wheel -d ../dist >../build.log && cd .. && ls dist/*.whl",
        "dist/streamgauge-",
    ),
    *[step for version in ("3.11", "3.12", "3.13") for step in _of_python(version)],
    Step(
        "wheel beside packages of our names",
        "cd namesakes && ../py3.11/bin/locust -f mine.py " + LOCUST + " --gauge-db mine.db",
        "✓ MET",
        python="3.11",
    ),
    Step(
        "no compiler",
        "CC=/no/such/compiler py3.11/bin/pip install --quiet --force-reinstall --no-deps ./clone && cd namesakes && "
        "../py3.11/bin/streamgauge run mine.py " + LOAD + " --db slow.db 2>&1",
        "streamgauge: the slower reader is in use",
        python="3.11",
    ),
]
