# Targets for people; `.ci/run` calls test and check. All of them need nothing but Debian's git,
# make, python3 (3.11 or newer) and python3-venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench

.PHONY: demo up test check bench soak format lock dictionary pictures clean

demo: $(STAMP)
	$(BIN)/energy-etl demo $(ARGS)

up: $(STAMP)
	$(BIN)/energy-etl up $(ARGS)

# Three workers on two cores: journeys wait for Dagster's daemon more than they compute.
test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q energy_etl_tests/test_layers.py energy_etl_tests/test_dictionary.py

bench: $(STAMP) $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m energy_etl_tests.benchmarks $(ARGS)

# Delivery's proofs at full size: forty kills, and 365 days x 50 streams interrupted twice.
soak: $(STAMP)
	$(BIN)/python -m energy_etl_tests.soak $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every page that is written from the code.
dictionary: $(STAMP)
	$(BIN)/energy-etl dictionary > data/README.md
	$(BIN)/energy-etl dictionary settings > docs/settings.md
	$(BIN)/energy-etl dictionary commands > docs/commands.md
	$(BIN)/python -m energy_etl_tests.messages

# Of the UI, from a demo; needs Chromium. Look at them before they are committed.
pictures: $(STAMP)
	$(BIN)/python -m energy_etl_tests.journeys.pictures

# `uv` is needed here only: it writes the lock with hashes and without a registry's address.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --quiet --extra dev --constraint requirements.constraints pyproject.toml \
	    -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --quiet --extra dev --extra bench --constraint requirements.constraints \
	    pyproject.toml -o requirements-bench.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV)

# pip 23 with hashes trips over extras, so: the lock without dependencies, a check that nothing is
# missing, then the project itself without dependencies.
$(STAMP): requirements.lock pyproject.toml
	@command -v git >/dev/null || { echo "git is missing: apt-get install git" >&2; exit 1; }
	@command -v $(PYTHON) >/dev/null || \
	    { echo "python3 is missing: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than 3.11: install a newer one, or make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    -r requirements.lock
	$(BIN)/python -m pip check --disable-pip-version-check
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --no-build-isolation --editable .
	$(BIN)/python -m compileall -q energy_etl
	touch $(STAMP)

# The peers of `make bench` and what they need stay out of the venv that runs the project.
$(BENCH_VENV)/.installed: requirements-bench.lock pyproject.toml
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    --no-deps -r requirements-bench.lock
	$(BENCH_VENV)/bin/python -m pip check --disable-pip-version-check
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --no-build-isolation --editable .
	touch $(BENCH_VENV)/.installed
