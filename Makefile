# Everything a person types here: make demo | test | check | format | bench [NAME=dates] | wheel | sanitize.
# Each target makes .venv and installs what it needs, once: until pyproject.toml, constraints.txt or the C++ changes.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
BENCHMARKS = $(basename $(notdir $(shell grep --files-with-matches '^VERSION = ' benchmarks/*.py)))

# The native engine is compiled in build/, so that only what has changed is compiled again. Where there is a compiler
# and Python's headers, an error in the C++ stops make; elsewhere, and with make HARKEN_REQUIRE_NATIVE=0, harken does without that engine.
NATIVE := CMakeLists.txt $(wildcard src/harken/engine/csrc/*)
BUILD := --no-build-isolation --config-settings build-dir=build/{wheel_tag}
COMPILER = $(shell command -v "$$CXX" || command -v c++ || command -v g++ || command -v clang++)
HEADERS = $(wildcard $(shell $(PYTHON) -c "import sysconfig; print(sysconfig.get_path('include'))")/Python.h)
export HARKEN_REQUIRE_NATIVE ?= $(if $(and $(COMPILER),$(HEADERS)),1,0)

.PHONY: demo test check format bench results wheel

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

# dist/harken-VERSION-….whl, for this Python and this architecture, whichever of its processors.
wheel: $(VENV)/.runs
	$(PIP) wheel --quiet $(BUILD) --no-deps --wheel-dir dist .

# The kernel over random shapes at every level that this processor has: as it is shipped (only there are products fused
# with sums, so that a row's bits could depend on the loop around it), and under the sanitizers. No Python, no .venv.
.PHONY: sanitize sweep-arm
PROCESSOR = $(shell grep --max-count 1 '^flags' /proc/cpuinfo)
LEVELS = $(if $(filter lm,$(PROCESSOR)),baseline $(filter avx2,$(PROCESSOR)) $(if $(filter avx512vl,$(PROCESSOR)),avx512),generic)
SWEEPS = $(foreach level,$(LEVELS),$(foreach kind,shipped address thread,build/sweep/$(level)-$(kind)))
shipped := -O3
address := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-maybe-uninitialized
thread := -O1 -g -fsanitize=thread -Wno-maybe-uninitialized
baseline := -march=x86-64-v2
avx2 := -march=x86-64-v3
avx512 := -march=x86-64-v4 -mprefer-vector-width=512
arm := -static
build/sweep/arm-shipped: CXX := aarch64-linux-gnu-g++

sanitize:
	$(MAKE) --no-print-directory --jobs $(WORKERS) $(SWEEPS)
	set -e; for sweep in $(SWEEPS); do $$sweep; done

# On an emulated ARM processor. Debian has what it needs in g++-aarch64-linux-gnu and qemu-user.
sweep-arm: build/sweep/arm-shipped
	qemu-aarch64 $<

build/sweep/%: $(wildcard src/harken/engine/csrc/*.h tests/engine/csrc/*)
	mkdir -p $(@D)
	$(CXX) -std=c++17 $(foreach option,$(subst -, ,$*),$($(option))) -Wall -Wextra -Wno-psabi -Isrc/harken/engine/csrc \
	    tests/engine/csrc/sweep.cpp -o $@ -pthread -ldl

$(VENV)/.runs: pyproject.toml constraints.txt $(NATIVE)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --group build
	$(PIP) install --quiet --constraint constraints.txt $(BUILD) --editable .
	touch $@

$(VENV)/.develops: $(VENV)/.runs
	$(PIP) install --quiet --constraint constraints.txt --group dev
	touch $@
