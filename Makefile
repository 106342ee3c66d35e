# Headgate's dozen words. On a fresh machine with Python 3.11+ `make demo` and `make test` need nothing else:
# they set up .venv from the hash-locked requirements/ (with uv where it is, else venv and pip).

.PHONY: help demo test fast check bench docs mutants lock clean
.DEFAULT_GOAL := help

python := .venv/bin/python
runtime := .venv/ready-to-run
tools := .venv/ready-to-test

help: ## say what each word does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

demo: $(runtime) ## see in a minute what it does, offline and free
	@$(python) -m headgate demo

test: $(tools) ## run every test
	@scripts/programs.sh
	@$(python) -m pytest -n auto

fast: $(tools) ## run the examples of core, engine, definitions and the log's contract, in under 10 seconds
	@$(python) -m pytest -n auto -q -m "not slow and not hypothesis" tests/core tests/engine tests/authoring tests/conformance

check: $(tools) ## hold format, lint, types, floors, exports and docs to the rules
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@$(python) -m basedpyright
	@$(python) -m pytest -q tests/test_*.py

bench: $(runtime) ## measure, verify what was measured, and print figures with the machine
	@$(python) -m bench

docs: $(tools) ## write the generated reference pages anew
	@$(python) docs/generate.py

mutants: $(tools) ## plant known faults one by one; fails if the tests let one live
	@$(python) -m tests.mutants

lock: ## move requirements/*.txt to the newest versions that pyproject.toml allows (needs uv)
	@scripts/lock.sh

clean: ## remove what make and the tools have made, .venv included
	@rm -rf .venv .hypothesis .pytest_cache .ruff_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps live in .venv, so that whoever removes it starts afresh.
$(runtime): requirements/base.txt requirements/build.txt pyproject.toml scripts/install.sh
	@scripts/install.sh base build
	@touch $@

$(tools): requirements/dev.txt $(runtime)
	@scripts/install.sh dev
	@touch $@
