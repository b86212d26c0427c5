# Needs make and a Python >= 3.11, and brings what else it needs into directories of its own.

# The first of these that runs and can make an environment: a name on the PATH may do neither. 3.11 is the oldest
# supported and has wheels for everything. Another one: make test PYTHON=/path/to/python
PYTHON ?= python3.11 python3.12 python3.13 python3.14 python3

bin := .venv/bin
# Tests in another environment, if there is the Python for it.
within = [ ! -e .venvs/$(1)/recipe ] || .venvs/$(1)/bin/python -m pytest
# A file of tests stays with one process; in the order of their names, since few tests may take long.
parallel = --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
unexport PYTHONHOME PYTHONPATH
.DEFAULT_GOAL := help
.PHONY: help demo test check environments bench notebooks format clean

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: .venv-demo/.ready ## show what oobcodec does, with the light installation
	@.venv-demo/bin/oobcodec demo

test: check environments ## run all checks, and then the tests
	$(call within,oldest) tests/test_conformance.py
	$(call within,tensorflow) tests/test_reducers_tensorflow.py tests/test_guards_tensorflow.py \
	    tests/test_conformance.py tests/test_conformance_data.py -k tensorflow \
	    --cov=oobcodec.reducers.tensorflow --cov=oobcodec.reducers.keras --cov=oobcodec.guards.tensorflow
	ELSEWHERE='$(CURDIR)/oobcodec/*' OMITTED=$$($(bin)/python -c 'from importlib.util import find_spec as f; \
	    print("nothing" if f("torch") else "$(CURDIR)/oobcodec/*/torch*.py")') $(bin)/python -m pytest --cov $(parallel)

check: .venv/.ready ## lint, format, types, architecture, markup, distribution
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy $(wildcard oobcodec benchmarks)
	$(bin)/lint-imports --no-logo
	for file in README FORMAT TYPES CHANGES; do \
	    $(bin)/python -m docutils --report=1 --halt=2 $$file.rst /dev/null || exit; done
	rm -rf dist
	$(bin)/python -m build --no-isolation >/dev/null
	$(bin)/twine check --strict dist/*

environments: .venv/.ready ## build the environments with other Pythons, older libraries, and TensorFlow
	@$(bin)/python tests/environments.py

bench: .venv/.ready ## run the benchmarks, and the conformance table, beside other serializers
	@$(bin)/python tests/environments.py peers proxystore-old
	@.venvs/peers/bin/python -m benchmarks check
	@.venvs/peers/bin/python -m tests.conformance --record

notebooks: .venv/.ready ## execute the notebooks, as they are committed
	@$(bin)/python tests/notebooks.py

format: .venv/.ready ## put the code into the one format
	$(bin)/ruff check --fix
	$(bin)/ruff format

clean: ## remove all that make and the tools have built
	rm -rf .venv .venv-demo .venvs .coverage* .hypothesis .import_linter_cache .*_cache build dist htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment each, so that the demo is quick to install and shows that little is enough.
.venv/.ready: extras := dev
.venv-demo/.ready: extras := cli,compression,numpy

.venv/.ready .venv-demo/.ready: pyproject.toml
	@if ! $(@D)/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    for python in $(PYTHON); do \
	        $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	        python=; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "No Python >= 3.11 that can make a virtual environment; tried: $(PYTHON)." >&2; \
	        echo "Install one (Debian and Ubuntu: also python3-venv), or name it: make ... PYTHON=/path/to/python" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(@D) with $$($$python --version)"; \
	    $$python -m venv --clear $(@D) || exit; \
	fi
	@echo "Installing oobcodec[$(extras)] into $(@D)"
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[$(extras)]'
	@touch $@
