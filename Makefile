# The book, its tests and its tools. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# One thread per process: the book's networks are small, and results repeat bit for bit.
export OMP_NUM_THREADS ?= 1
# A headless backend set from outside would drop every figure from the notebooks.
unexport MPLBACKEND

NB ?=
PROFILE ?= quick
URL ?=

.PHONY: ready help book test execute site offline print lint format repository clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*##/  make \1:/p' Makefile
	@echo '  (NB=name picks notebooks, PROFILE=quick|paper their profile: make execute NB=00 PROFILE=paper)'

book: ready  ## execute the notebooks that changed, build the site, print its path
	@$(PY) tools/build.py book

test: ready  ## unit tests, every notebook cell against its committed output, site checks
	@$(PY) -m pytest --nbval --nbval-cell-timeout=300 --numprocesses 2 --dist loadfile

execute: ready  ## refresh the committed notebook outputs (NB=, PROFILE=)
	@$(PY) tools/build.py execute --nb "$(NB)" --profile "$(PROFILE)"

site: ready  ## build the site from the committed outputs, executing nothing
	@$(PY) tools/build.py site

offline: site  ## the same, packed into one zip file for reading without a network
	@$(PY) tools/build.py offline

print: site  ## the same as one PDF, printed by Chromium
	@$(PY) tools/print_edition.py

lint: ready  ## check formatting, code, the three floors and types (make format mends the first two)
	@$(VENV)/bin/ruff format --check . && $(VENV)/bin/ruff check .
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(VENV)/bin/basedpyright --level error --pythonpath $(PY)

format: ready  ## format the code and mend what can be mended
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

repository: ready  ## set the repository's address everywhere (URL=https://github.com/OWNER/NAME), or the RELEASE=v1.0
	@$(PY) tools/repository.py $(if $(filter undefined,$(origin RELEASE)),"$(URL)",--release "$(RELEASE)")

clean:  ## remove what was built (the environment stays; delete .venv to renew it)
	rm -rf _build .pytest_cache .hypothesis .ruff_cache

# An environment that was moved or emptied still has its .ready.
ready: $(READY)
	@$(PY) -c 'import sys; from importlib.util import find_spec; sys.exit(None in map(find_spec, "torch nbformat papermill jupyter_book pytest".split()))' 2>/dev/null \
	  || { echo "$(VENV) lacks Python or packages. Delete it, and make installs it anew: rm -rf $(VENV)" >&2; exit 1; }

# Made last, so that an interrupted installation is taken up again.
$(READY): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make ... PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@
