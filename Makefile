# The only place where the servers' command lines stand: everything starts them here.
PYTHON = python3
VENV = .venv
# Not from the environment: conda has a HOST of its own there.
HOST = 127.0.0.1
WORKERS = 1
BIN = $(VENV)/bin
# What uvicorn serves; `make bench` has others in tests/tools/foundations.py.
ASGI = app:asgi_application
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run-wsgi run-asgi compare tabs test bench clean

help: ## this list
	@echo "What each target shows:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1|/p; s/^## /|/p' Makefile | \
	    while IFS='|' read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

run-wsgi: PORT ?= 8000
run-wsgi: $(VENV)/.demo ## gunicorn: the first tab counts and holds the worker, the others wait
	@WORKERS='$(WORKERS)' $(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	@echo 'WSGI: open http://localhost:$(PORT)/ in three tabs.'
	@echo 'Watch: one tab counts, the others stay blank; at 70 it is cut and the next has its turn.'
	$(BIN)/gunicorn app:wsgi_application --workers '$(WORKERS)' --bind '$(BIND)' \
	    --graceful-timeout 1 --no-control-socket --config .gunicorn.py

run-asgi: PORT ?= 8001
run-asgi: $(VENV)/.demo ## uvicorn: one worker, and all tabs count at once
	@WORKERS='$(WORKERS)' $(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	@echo 'ASGI: open http://localhost:$(PORT)/ in three tabs, then in more.'
	@echo 'Watch: all of them count at once, down to Blastoff, on one worker.'
	$(BIN)/uvicorn $(ASGI) --workers '$(WORKERS)' --host '$(HOST)' --port '$(PORT)' \
	    --timeout-graceful-shutdown 1 --lifespan off

# Not from the environment: bash has SECONDS of its own there.
TABS = 3
SECONDS =
FAST =
SVG =
PNG =
compare: $(VENV)/.compare ## both side by side: who counts, who waits, in this terminal
## TABS=3 SECONDS=45, FAST=1: five times faster, SVG=file: a picture
	@$(BIN)/python tests/tools/compare.py TABS='$(TABS)' SECONDS='$(SECONDS)' \
	    FAST='$(FAST)' SVG='$(SVG)'

tabs: PORT ?= 8000
tabs: $(VENV)/$(if $(PNG),.tests,.compare) ## both in one browser window: a row of tabs for each
## TABS=3 PORT=8000, PNG=file: a picture
	@$(BIN)/python tests/tools/tabs.py TABS='$(TABS)' PORT='$(PORT)' \
	    WORKERS='$(WORKERS)' PNG='$(PNG)'

test: $(VENV)/.tests ## every claim of the post, on real servers
	$(BIN)/pytest tests

bench: $(VENV)/.bench ## what an open stream costs, beside Django's own handler and others
## STREAMS=10,100: how many, JSON=file: the raw figures, SVG=file: a plot
	@$(BIN)/python tests/tools/bench.py

clean: ## the folder as it was cloned
	rm -rf .venv* .ruff_cache __pycache__ tests/__pycache__ tests/tools/__pycache__ tests/.pytest_cache

# gunicorn takes an IPv6 address in brackets, uvicorn without.
BIND = $(if $(findstring :,$(HOST)),[$(HOST)],$(HOST)):$(PORT)

# The stamps are written last, so an interrupted install is not taken for a finished one.
$(VENV)/.demo: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo '$(PYTHON): Python 3.11 or later is needed: make PYTHON=python3.13 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	    echo '$(PYTHON) -m venv does not work here: apt install python3-venv' >&2; exit 1; }
	@echo 'Installing django, gunicorn and uvicorn into $(VENV) ...'
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.compare: $(VENV)/.demo tests/requirements.txt
	@echo 'Installing httpx and rich into $(VENV) ...'
	@$(PIP) -c tests/requirements.txt httpx httpx-sse psutil rich
	@touch $@

$(VENV)/.bench: $(VENV)/.compare
	@echo 'Installing matplotlib and starlette into $(VENV) ...'
	@$(PIP) -c tests/requirements.txt matplotlib starlette
	@touch $@

$(VENV)/.tests: $(VENV)/.bench tests/requirements.txt
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(PIP) -r tests/requirements.txt
	@$(BIN)/python tests/tools/browser.py
	@touch $@
