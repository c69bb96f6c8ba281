# Everything a person does with this checkout; `make help` lists it.
# by its real place: where other users cannot enter the checkout, .venv leads out of it
PYTHON = "$$(cd -P .venv && pwd)/bin/python"
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup tools demo up down status check format test images cluster-test bench locks clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## make .venv with the taskward command, and install what the worker needs
	@ops/setup.sh

tools: ## setup, and the tools that check and test
	@ops/setup.sh --dev

demo: setup ## run one task all the way through, verify its signatures, stop again
	@$(PYTHON) -m taskward.cli.demo

up: setup ## start a development Taskcluster and worker in the background
	@.venv/bin/taskward dev --detach

down: ## stop what `make up` has started
	@if [ -x .venv/bin/taskward ]; then .venv/bin/taskward dev down; else echo "not set up"; fi

status: ## show the development worker's processes
	@if [ -x .venv/bin/taskward ]; then .venv/bin/taskward status; else echo "not set up"; fi

check: tools ## ruff, mypy, import-linter, pyright
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/pyright

format: tools ## let ruff put the sources into shape
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

test: tools ## run all tests (TESTS=tests/cli runs some) but those of the cluster
	$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --ignore tests/cluster $(TESTS)

images: tools ## build the images of docker-compose.yml from debootstrap and the locks, without any registry
	@ops/images/build.sh

cluster-test: tools ## build the images, run docker-compose.yml under a name of its own, test it, take it away
	$(PYTHON) -m pytest tests/cluster

bench: tools ## print the figures, each beside its limit (QUICK=1: a short round)
	$(PYTHON) tests/bench/run.py $(if $(QUICK),--quick)

locks: tools ## pin the newest dependencies with their hashes
	@for name in requirements build redis dev; do \
	  .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links ops/locks/$$name.in -o ops/locks/$$name.txt || exit 1; \
	done

clean: ## remove the virtual environment and caches (not the state of a worker)
	@if [ -L .venv ]; then rm -rf "$$(readlink .venv)"; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
