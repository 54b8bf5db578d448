# `make demo` and `make test` do all their own set-up: they need python3 >= 3.11 and make.
# Another interpreter: make PYTHON=python3.12 ...     Another place: make VENV=/tmp/venv ...
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
NRT    ?= nrt==0.2.1
OUT    ?= out
JOBS   ?= 2

override VENV := $(abspath $(VENV))
PY    := $(VENV)/bin/python
STAMP := $(VENV)/.stvc-installed
KERNELS := stvc/native/_kernels.abi3.so

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test native lint docs format clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

# The stamp makes the second run skip the installation; a changed pyproject.toml brings it back.
# torch goes first, so that no later step chooses another build of it.
# nrt is wanted for its data files alone, hence --no-deps.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("stvc needs Python >= 3.11, this is " + sys.version.split()[0] + ": name another one, as in make PYTHON=python3.12")'
	@echo 'setting up $(VENV): a few minutes, once'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet '$(TORCH)'
	$(PY) -m pip install --quiet --editable '.[all]'
	$(PY) -m pip install --quiet --no-deps '$(NRT)'
	@touch $@

setup: $(STAMP) ## make the virtual environment (the other targets do it by themselves)

demo: $(STAMP) ## encode a real Sentinel-2 series, print what is in the archive, draw out/field.png
	@mkdir -p $(OUT)
	$(VENV)/bin/stvc encode --aoi examples/field.geojson --source sample --overwrite -o $(OUT)/field.stvc
	$(VENV)/bin/stvc info $(OUT)/field.stvc
	$(PY) examples/demo.py $(OUT)/field.stvc --aoi examples/field.geojson -o $(OUT)/field.png

# The installation made them already; sources that changed since bring the target back.
$(KERNELS): hatch_build.py $(wildcard stvc/native/*.[ch]) | $(STAMP)
	@$(PY) hatch_build.py || true

native: $(STAMP) ## compile the native kernels, which are optional, beside their sources
	$(PY) hatch_build.py

test: $(STAMP) $(KERNELS) ## run the tests
	$(PY) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: $(STAMP) ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

format: $(STAMP) ## let ruff mend what it can
	$(PY) -m ruff check --fix .

clean: ## remove the virtual environment, the demo's results and the caches
	rm -rf $(VENV) $(OUT) $(KERNELS) .pytest_cache .mypy_cache .ruff_cache .hypothesis
