# Two commands on a fresh machine: `make demo` and `make test`. Needs Python >= 3.12, pip and make.

VENV := .venv
DEMO ?= freight-demo
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes of pytest; each has servers of its own.
WORKERS ?= 3
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal
# The quick run writes tens of thousands of small files, in memory where there are 2 GB for them.
MEMORY := $(shell test "$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print $$4}')" -gt 2000000 \
	2>/dev/null && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo      make a small Icechunk repository and export it, end to end"
	@echo "make test      lint, types, tests"
	@echo "make test-all  the same, and the long matrices"
	@echo "make test-lakefs  what holds of any lakeFS, with the one at LAKEFS_ENDPOINT"
	@echo "make picture   draw docs/images/house.svg anew, from the code's imports"
	@echo "make lock      write requirements.lock anew, with the newest versions"

.PHONY: setup
setup: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "No Python >= 3.12 found: install one, or say make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing into $(VENV): some minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.PHONY: demo
demo: $(INSTALLED)
	$(BIN)/freight demo $(DEMO)

.PHONY: lint
lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: test
test: lint
	$(MEMORY) $(PYTEST) -m "not slow"

.PHONY: test-all
test-all: lint
	$(PYTEST)

# Wants LAKEFS_ACCESS_KEY_ID, LAKEFS_SECRET_ACCESS_KEY and LAKEFS_NAMESPACE (s3://bucket/tests) too:
# repositories are made there, and removed.
.PHONY: test-lakefs
test-lakefs: $(INSTALLED)
	@test -n "$(LAKEFS_ENDPOINT)" || { echo "Say LAKEFS_ENDPOINT=http://127.0.0.1:8000"; exit 1; }
	$(BIN)/pytest tests/sources/test_lakefs_any.py tests/system/test_lakefs_any.py
	$(BIN)/pytest tests/system/test_differences.py tests/system/test_unfinished.py \
		tests/system/test_sections.py tests/system/test_selecting.py -k "lake and plain"

.PHONY: picture
picture: $(INSTALLED)
	$(BIN)/python docs/design/draw_house.py

.PHONY: lock
lock:
	uv pip compile --universal --upgrade --no-header --no-annotate --no-emit-index-url --extra dev \
		--python-version 3.12 --output-file requirements.lock pyproject.toml

.PHONY: clean
clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache freight-demo
