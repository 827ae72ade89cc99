# `make demo` and `make test` each do all set-up in a virtual environment of their own, .venv; nothing else is needed
# than Python 3.11 or newer and a C++20 compiler.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One constraints file for every install; the build uses the environment's own tools, so it is pinned by it too.
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt
NATIVE := CMakeLists.txt $(shell find native -type f)
JOBS   ?= 2

.PHONY: demo test lint format bench verify conventions claims docs clean

demo: $(VENV)/.demo
	$(BIN)/rectifier demo $(if $(DEMO),$(DEMO),--html rectifier-demo.html --force)

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(filter %.hpp %.cpp,$(NATIVE))

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(filter %.hpp %.cpp,$(NATIVE))

bench: $(VENV)/.dev
	mkdir -p build
	$(BIN)/rectifier bench --json build/bench.json --chart build/bench.html --force
	$(BIN)/python docs/write_performance.py build/bench.json

# What is on record in docs/claims/results is not measured again; without it, hours.
claims: $(VENV)/.dev
	$(BIN)/rectifier claims run --all --results docs/claims/results
	$(BIN)/python docs/write_claims.py
	$(BIN)/python docs/write_notebooks.py 5-which-activation

# The inverses are within 1 ulp, not correctly rounded, so the best instruction set stands for all there.
# The baseline's exponential functions, one lane at a time, would take hours over every float32: a sample there.
ISAS = from rectifier._native import supported_isas as s; print(",".join(i for i in s() if i != "baseline") or "baseline")
OF = --kind value,derivative,slope_derivative --resume --force

verify: $(VENV)/.dev
	mkdir -p build
	$(BIN)/rectifier verify --exhaustive --isa "$$($(BIN)/python -c '$(ISAS)')" $(OF) --json build/verify.json
	$(BIN)/rectifier verify --sample 1000000 --isa baseline $(OF) --json build/verify-baseline.json
	$(BIN)/rectifier verify --exhaustive --kind inverse --json build/verify-inverse.json --resume --force
	$(BIN)/python docs/write_accuracy.py build/verify.json build/verify-baseline.json build/verify-inverse.json

# What installed frameworks do, for the family's rows and for the page.
conventions: $(VENV)/.dev
	$(BIN)/rectifier compare --dtype float32,float64 --json src/rectifier/conventions.json --force
	$(BIN)/python docs/write_conventions.py

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) build docs/_build docs/_generated

$(VENV)/.build-tools: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rectifier needs Python 3.11 or newer; PYTHON=... chooses another")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) scikit-build-core nanobind numpy cmake ninja
	@touch $@

$(VENV)/.demo: $(VENV)/.build-tools pyproject.toml $(NATIVE)
	$(PIP) --no-build-isolation --editable ".[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) --no-build-isolation --editable ".[dev]"
	@touch $@
