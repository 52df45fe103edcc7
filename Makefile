# make demo · quick · test · wild · sanitize · lint · bench · soak · kills · tour · calibrate · report-picture · sample-report · dist · install: each sets up .venv first.
# The system's Python, if it can make .venv: builds of one's own, such as pyenv's, mostly lack the optimization by profiles,
# and everything takes a quarter longer.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/)python3
BIN := .venv/bin
# pytest's processes: more than cores, since runs mostly wait
JOBS ?= 8
READY := .venv/.installed

# Some containers set it. Without .pyc files, each process of the tests compiles every module again: 4 s of each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test quick wild sanitize lint bench soak kills tour calibrate report-picture sample-report dist clean

install: $(READY)

$(READY): pyproject.toml constraints.txt hatch_build.py $(wildcard harness/native/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "streamgauge needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing pinned dependencies into .venv"
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install
	@$(BIN)/streamgauge demo

# With nobody else on the machine: `timing` holds times to bounds that a busy machine breaks. All other tests have to pass
# beside other work, too: one that fails now and then has a race, or the code that it tests.
test: install
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder -m "not timing"
	$(BIN)/pytest -m timing

# These tests never wait. Three processes on two cores take turns when one of them has the last long test.
# 25 examples of each property in place of 100 (`test` tries those): they would cost a quarter more.
quick: JOBS = 3
quick: install
	$(BIN)/pytest -q -n $(JOBS) --hypothesis-profile=quick tests/pure

# Other people's servers and proxies, not part of `make test`: the first time it installs them below out/wild (ten minutes
# of CPU), later it takes five minutes. The last lines say what was asked, and what was not and why.
wild: install
	$(BIN)/pytest tests/wild

# The tests of the C with AddressSanitizer and UBSan; `test` has enough of them to reach every function.
sanitize: install
	$(BIN)/python -m tests.fuzz.sanitized

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m tests.benchmarks

# Half an hour with a slow disk. MINUTES=5 is shorter; `chrt -f 20 make soak` runs it before other work of a busy machine.
MINUTES ?= 30
soak: install
	$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES)

# Thirty SIGKILLs; `make test` tries ten.
kills: install
	STREAMGAUGE_KILLS=30 $(BIN)/pytest -q -s tests/runs/test_kills.py tests/runs/test_monitor.py tests/runs/test_alert_kills.py

# Before a release: what the documentation has a user do, from a clone of the last commit to the wheel, in ten minutes.
tour: install
	$(BIN)/python -m tests.tour

calibrate: install
	$(BIN)/streamgauge calibrate

report-picture: install
	$(BIN)/python -m tests.browser.report_picture

sample-report: install
	$(BIN)/python -m tests.browser.sample_report

dist: install
	rm -rf dist
	$(BIN)/python -m hatchling build -t sdist -d dist
	mkdir dist/unpacked && tar -xzf dist/*.tar.gz -C dist/unpacked --strip-components 1
	cd dist/unpacked && ../../$(BIN)/python -m hatchling build -t wheel -d ..
	rm -rf dist/unpacked

clean:
	rm -rf .venv out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
