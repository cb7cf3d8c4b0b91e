# What a developer types.  Needed: make and a Python, 3.11 or later; the rest goes into .venv, from PyPI.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; done; echo python3)

VENV = .venv
RUN = $(VENV)/bin/python

.NOTPARALLEL: # `make -j clean all` must not build what is being removed
.PHONY: all audit chaos clean demo help lint long-checks soak test

all: build/llama-swap.pyz ## build the wheel and the single-file program into build/

demo: $(VENV)/with-llamacpp ## serve a small real model under two names, on http://127.0.0.1:8080
	@exec $(RUN) -m llama_swap.llamacpp.demo

test: $(VENV)/with-llamacpp $(VENV)/with-test ## run the tests; TESTS=tests.test_cli runs some
	$(RUN) -m twisted.trial $(or $(TESTS),tests)

soak: $(VENV)/with-test ## run a long mixed load; SECONDS=1800 says how long
	$(RUN) -m tests.soak $(SECONDS)

chaos: $(VENV)/with-test ## live random lives of router, scheduler and processes; LIVES="--lives 5000 --first 1000" says how many
	$(RUN) -m tests.chaos $(LIVES)

long-checks: $(VENV)/with-test build/bench/upstream ## run the checks that take minutes; CHECKS="swaps idle" runs some, CHECKS=--list names them
	$(RUN) -m tests.soak.checks $(CHECKS)

lint: $(VENV)/with-dev ## check style, types and import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

audit: $(VENV)/made ## ask PyPI for known vulnerabilities of what llama-swap depends on, its extras included
	$(RUN) tools/audit.py '.[llamacpp,nvidia]'

clean: ## remove what was built; .venv stays
	rm -rf build dist _trial_temp* .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find llama_swap tests twisted tools -name __pycache__ -prune -exec rm -rf {} +

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

SOURCES = $(shell find llama_swap twisted examples -type f -not -name '*.pyc' -not -name dropin.cache)

build/llama-swap.pyz: build/.wheel tools/make_pyz.py $(VENV)/with-pyz
	$(RUN) tools/make_pyz.py $@ build/llama_swap-*.whl

build/.wheel: $(SOURCES) pyproject.toml README.md LICENSE $(VENV)/made
	rm -rf build/llama_swap-*.whl
	$(RUN) -m pip wheel --quiet --no-deps --wheel-dir build .
	@touch $@

# $(VENV)/with-X: the environment has this project, editable, and the dependencies of its extra X.
$(VENV)/with-%: pyproject.toml $(VENV)/made
	@echo "Installing llama-swap and what its extra '$*' needs into $(VENV)"
	@$(RUN) -m pip install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/made: tools/make_venv.py
	@echo "Making $(VENV)"
	@$(PYTHON) tools/make_venv.py $(VENV)
	@touch $@

include benchmarks/bench.mk
