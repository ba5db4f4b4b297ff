# make run   makes the environment, installs, serves on http://127.0.0.1:8080/v2
# make test  does the same and runs the whole test suite
#
# ARGS is passed on: make run ARGS="--port 0", make test ARGS="-k patch".
# PYTHON chooses the interpreter: make test PYTHON=python3.12.

PYTHON ?= python3
ARGS ?=
FUZZ_SECONDS ?= 60

BIN := .venv/bin
# The environment is made anew when another interpreter is chosen.
MADE := .venv/made-by-$(subst /,-,$(PYTHON))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test check bench fuzz deviations format clean

run: .venv/run
	@exec $(BIN)/python scim2_server.py $(ARGS)

test: .venv/test
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

check: .venv/test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)

bench: .venv/run
	$(BIN)/python tests/bench.py $(ARGS)

# FUZZ_SECONDS is the time for each of the fuzz tests.
fuzz: .venv/test
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest --numprocesses auto \
	  tests/test_fuzz.py tests/test_properties.py $(ARGS)

# Write the table of deviations into README.md.
deviations: .venv/run
	$(BIN)/python tests/deviations.py README.md

format: .venv/test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv build dist *.egg-info .*_cache __pycache__ tests/__pycache__

.venv/run: $(MADE) pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/test: $(MADE) pyproject.toml
	$(PIP) --editable '.[test]'
	@touch $@ .venv/run

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo '$(PYTHON) is not Python 3.11 or newer:' \
	  'name one, as in "make $(MAKECMDGOALS) PYTHON=python3.12"' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo '$(PYTHON) cannot make environments: install its venv module' \
	  '(on Debian and Ubuntu the package python3-venv)' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@
