# Every target sets itself up in a virtual environment of this checkout: Python >= 3.11 and make are enough.
#
#   make demo           three candidates on this machine, the leader killed, and what happened
#   make test           the tests                   (make test ARGS='tests/unit -k backoff' for some)
#   make test-embedded  those that need no etcd, Consul or ZooKeeper
#   make servers        etcd, Consul and ZooKeeper until Ctrl-C; ARGS=--cluster for three members of each
#   make servers-fetch  only fetches them, from Debian's packages into .servers/
#   make lint           ruff, mypy, pyright, the direction of imports
#   make docs           the documentation site, into site/; needs Graphviz
#   make pictures       renews the diagrams and tables in README.md and docs/
#   make bench          the benchmarks
#   make bench-peers    beside the peers, on real servers; what is measured is docs/benchmarks.md
#   make faults         faults against elections on real servers, judged; the evidence is in results/
#   make mutants        faults planted in the library's own code, each of which the tests have to find
#   make seeds          elections in virtual time, by the thousand, under faults drawn from seeds
#   make coverage       which lines of the package the unit and model tests reach
#   make clean          removes all that the others made, the environment and the servers included
#
# `make test` fetches the servers first, and fails where they cannot be had; LEADERSHIP_SERVERS=folder says where to.
# PYTHON=/path/to/python chooses the interpreter of a new environment (`make clean` first), VENV=folder its place.

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
TRIED := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The build backend, too, comes in the version of the constraints.
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help demo test test-embedded servers servers-fetch lint docs graphviz pictures
.PHONY: bench bench-peers faults mutants seeds coverage clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:
	@sed -n '3,20s/^# *//p' Makefile

demo: $(VENV)/.installed-run
	@$(BIN)/leadership demo $(ARGS)

# Two files at a time: those of stores and faults mostly wait. ARGS=-n0 for one, for a debugger say.
LANES := -n 2 --dist loadfile

test: $(VENV)/.installed-test servers-fetch
	$(BIN)/python -m pytest $(LANES) $(ARGS)

test-embedded: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(LANES) --ignore=tests/stores --ignore=tests/faults $(ARGS)

servers: $(VENV)/.installed-run
	@PYTHONPATH=tools $(BIN)/python -m servers $(ARGS)

servers-fetch: $(VENV)/.installed-run
	@PYTHONPATH=tools $(BIN)/python -m servers.fetch

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

bench-peers: $(VENV)/.installed-bench servers-fetch
	@PYTHONPATH=tools $(BIN)/python -m benchmarks.peers $(ARGS)

faults: $(VENV)/.installed-run servers-fetch
	@PYTHONPATH=tools $(BIN)/python -m court $(ARGS)

mutants: $(VENV)/.installed-test servers-fetch
	@PYTHONPATH=tools $(BIN)/python -m mutants $(ARGS)

seeds: $(VENV)/.installed-run
	@PYTHONPATH=tools $(BIN)/python -m seeds $(ARGS)

coverage: $(VENV)/.installed-test
	$(BIN)/coverage run -m pytest tests/unit tests/model $(ARGS)
	$(BIN)/coverage report

clean:
	rm -rf $(VENV) .servers build dist results site .coverage
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests tools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# What is installed: the package itself, editable, and the group of pyproject.toml that the target needs.
GROUP_run :=
GROUP_bench := --group bench
GROUP_test := --group test
GROUP_lint := --group lint
GROUP_docs := --group docs

$(VENV)/.installed-%: pyproject.toml constraints.txt
	@$(ENVIRONMENT)
	@echo "installing into $(VENV) ($*)"
	@$(PIP) --upgrade pip
	@$(PIP) -e '.[all]' $(GROUP_$*)
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
