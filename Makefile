# Everything a person does twice. `make demo` and `make test` need Python (3.11 or later) and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := $(VENV)/.bench
DOCS := $(VENV)/.docs
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test versions docs jaeger mutants faults soak bench bench-check lint format types clean
help:
	@echo "make demo    the reference application on a month of real flights"
	@echo "make test    the whole suite, against a real NATS server"
	@echo "make versions  the wheel in empty environments of Python 3.11, 3.12 and 3.13, in about 4 minutes"
	@echo "make docs    the documentation as a site, in site/; warnings are errors; make docs ARGS=serve while you write"
	@echo "make jaeger  build the real Jaeger for the tests that ask it, where there is Go; once, in some minutes"
	@echo "make mutants does the suite notice? kept defects, each in a copy of the package, in about 5 minutes"
	@echo "make faults  kills, freezes and starves real processes; prints figures and writes docs/faults.md, in about 10 minutes"
	@echo "make soak    the same at random for longer: make soak ARGS='--minutes 60 --seed 7'"
	@echo "make bench   side by side with other ways to do it; draws and writes docs/benchmarks.md, in about 25 minutes"
	@echo "             make bench ARGS=--quick in under 3 minutes; ARGS='--only drain'; ARGS='--profile drain'"
	@echo "make bench-check  no slower than it was, by ratios, in under 2 minutes"
	@echo "make lint    ruff, import-linter, mypy, pyright"
	@echo "make format  let ruff rewrite what it can"
	@echo "make clean   remove the virtual environment and caches"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Callboard needs Python 3.11 or later; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet pip
	$(BIN)/python -m pip install --quiet --editable '.[embedded,database]' --group test --group lint --group actors
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m actors.demo

# Most tests wait for a server, so four at a time; faults have the machine to themselves: their figures are times.
test: $(STAMP)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest --ignore tests/faults --numprocesses 4 --dist worksteal
	$(BIN)/python -m pytest tests/faults
endif

versions: $(STAMP)
	$(BIN)/python -m tests.packaging.versions

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build --strict)

jaeger: $(STAMP)
	$(BIN)/python -m tests.jaeger.binary

mutants: $(STAMP)
	$(BIN)/python -m tests.mutants.run $(ARGS)

faults: $(STAMP)
	$(BIN)/python -m pytest tests/faults --faults-report docs/faults.md $(ARGS)

soak: $(STAMP)
	$(BIN)/python -m tests.faults.soak $(ARGS)

$(BENCH): $(STAMP)
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

bench: $(BENCH)
	$(BIN)/python -m benchmarks $(ARGS)

bench-check: $(BENCH)
	$(BIN)/python -m benchmarks.check $(ARGS)

lint: $(BENCH) $(DOCS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-peers site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
