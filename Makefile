# Everything a person types here: make demo | test | check | format | bench [NAME=dates].
# Each target makes .venv and installs what it needs, once: until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
BENCHMARKS = $(basename $(notdir $(shell grep --files-with-matches '^VERSION = ' benchmarks/*.py)))

.PHONY: demo test check format bench results

demo: $(VENV)/.runs
	$(VENV)/bin/harken demo dates

# Two pytest workers on two cores: torch's own threads would only fight over them.
test: $(VENV)/.develops
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.develops
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

format: $(VENV)/.develops
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

# NAME=dates: that benchmark in full. No name: all of them, --quick.
bench: $(VENV)/.runs
ifdef NAME
	$(VENV)/bin/python -m benchmarks.$(NAME) $(ARGS)
	$(VENV)/bin/python -m benchmarks.render
else
	set -e; for name in $(BENCHMARKS); do $(VENV)/bin/python -m benchmarks.$$name --quick; done
endif

results: $(VENV)/.runs
	$(VENV)/bin/python -m benchmarks.render

$(VENV)/.runs: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt --editable .
	touch $@

$(VENV)/.develops: $(VENV)/.runs
	$(PIP) install --quiet --constraint constraints.txt --group dev
	touch $@
