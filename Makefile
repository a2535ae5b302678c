# pymilk: change a live Supabase database safely. `make` alone lists the targets.
#
# Every target sets itself up in .venv first; nothing else is touched and no terminal is needed.
# With SUPABASE_DB_URL set, the deploy commands work on that database; without it, on the
# embedded one in .pymilk/.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
# What deploying needs, and what testing and checking need on top of it.
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools

.DEFAULT_GOAL := help
.PHONY: help setup deploy-gap rollback-gap status rehearse db-start db-stop db-reset demo-flow test test-long \
        mutate bench bench-quick instructions check fmt clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' \
	  $(MAKEFILE_LIST)

setup: $(TOOLS) ## create .venv with everything in it (the other targets do this themselves)

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once; less than a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pymilk needs Python 3.11 or newer; name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[deploy,embedded]'
	@touch $@

$(TOOLS): $(READY)
	@echo "adding the tools for tests and checks (once)"
	@$(PIP) --editable '.[deploy,embedded,report,dev]'
	@touch $@

deploy-gap: $(READY) ## deploy one gap with everything proven:  make deploy-gap GAP=001
	@$(BIN)/pymilk deploy $(GAP) $(ARGS)

rollback-gap: $(READY) ## undo one gap, without losing a row:      make rollback-gap GAP=001
	@$(BIN)/pymilk rollback $(GAP) $(ARGS)

status: $(READY) ## what is applied, pending, edited, held
	@$(BIN)/pymilk status $(ARGS)

rehearse: $(READY) ## all migrations both ways, without a live database; on a live copy:  make rehearse GAP=001
	@$(BIN)/pymilk rehearse $(or $(GAP),--from-baseline) $(ARGS)

db-start: $(READY) ## start the embedded database and load the demo dairy
	@$(BIN)/pymilk db start

db-stop: $(READY) ## stop the embedded database (its data stay)
	@$(BIN)/pymilk db stop

db-reset: $(READY) ## the embedded database back to the dairy's first day
	@$(BIN)/pymilk db reset --yes

demo-flow: $(READY) ## a month of the dairy, from subscriptions to what is owed
	@$(BIN)/python -m pymilk.demo

# One more than two cores: now and then a test waits, for a lock or for a program.
test: $(TOOLS) ## the suite, on real Postgres
	@$(BIN)/pytest -n 3 -m "not long" $(ARGS)

test-long: $(TOOLS) ## the long proofs: hundreds of rounds, kills
	@$(BIN)/pytest -n 2 -m long $(ARGS)

mutate: $(TOOLS) ## how much the tests notice:             make mutate ARGS="--gap 001 --sample 100"
	@PYTHONPATH=tests $(BIN)/python -m mutation $(ARGS)

bench: $(TOOLS) ## measure side by side, keep the results:  make bench ARGS=allocation
	@PYTHONPATH=tests $(BIN)/python benchmarks/run.py $(ARGS)

bench-quick: $(TOOLS) ## see that all of it works, in two minutes
	@PYTHONPATH=tests $(BIN)/python benchmarks/run.py --quick $(ARGS)

instructions: $(TOOLS) ## count what an allocation executes; needs valgrind
	@PYTHONPATH=tests $(BIN)/python benchmarks/instructions.py

check: $(TOOLS) ## format, lint, types, quotations, generated calls: Python and SQL
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pymilk generate --check
	@$(BIN)/pymilk lint

fmt: $(TOOLS) ## format Python and SQL
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/sqlfluff format --processes 2 supabase sql

clean: ## remove .venv and caches (the embedded database stays)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
