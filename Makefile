# Every target sets itself up in a virtual environment of this checkout: Python >= 3.11 and make are enough.
#
#   make demo       three candidates on this machine, the leader killed, and what happened
#   make test       the tests                   (make test ARGS='tests/unit -k backoff' for some)
#   make lint       ruff, mypy, pyright, the direction of imports
#   make docs       the documentation site, into site/; needs Graphviz
#   make pictures   renews the diagrams and tables in README.md and docs/
#   make bench      the benchmarks
#   make coverage   which lines of the package the unit and model tests reach
#   make clean      removes all that the others made, the environment included
#
# PYTHON=/path/to/python chooses the interpreter of a new environment (`make clean` first), VENV=folder its place.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
TRIED := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The build backend, too, comes in the version of the constraints.
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help demo test lint docs graphviz pictures bench coverage clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:
	@sed -n '3,12s/^# *//p' Makefile

demo: $(VENV)/.installed-run
	@$(BIN)/leadership demo $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: graphviz $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# Asked before anything is installed.
graphviz:
	@if ! command -v dot >/dev/null; then \
		echo "make docs draws with Graphviz, whose program 'dot' was not found: apt install graphviz, brew install graphviz" >&2; \
		exit 1; \
	fi

pictures: $(VENV)/.installed-run
	$(BIN)/python tools/generated.py

bench: $(VENV)/.installed-run
	$(BIN)/python benchmarks/run.py $(ARGS)

coverage: $(VENV)/.installed-test
	$(BIN)/coverage run -m pytest tests/unit tests/model $(ARGS)
	$(BIN)/coverage report

clean:
	rm -rf $(VENV) build dist site .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests tools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# What is installed: the package itself, editable, and the group of pyproject.toml that the target needs.
GROUP_run :=
GROUP_test := --group test
GROUP_lint := --group lint
GROUP_docs := --group docs

$(VENV)/.installed-%: pyproject.toml constraints.txt
	@$(ENVIRONMENT)
	@echo "installing into $(VENV) ($*)"
	@$(PIP) --upgrade pip
	@$(PIP) -e '.[cli]' $(GROUP_$*)
	@touch $@

# A usable environment is kept; anything else in its place is made anew.
define ENVIRONMENT
if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	python=; \
	for each in $(TRIED); do \
		if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$each; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 or later is needed, and none of these is it: $(TRIED)." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	echo "making $(VENV) with $$($$python -V) ($$python)"; \
	if ! $$python -m venv --clear $(VENV); then \
		echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	fi; \
fi
endef
