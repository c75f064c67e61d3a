# The servers' command lines stand only here: everything starts them through make.
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
# These two must stand behind make: some shells have variables of the same names.
HOST = 127.0.0.1
SECONDS =
WORKERS ?= 1
# Further options for gunicorn: the last one of a kind wins.
GUNICORN ?=
# Installed only for those who ask gunicorn for it.
GEVENT = $(if $(findstring gevent,$(GUNICORN) $(GUNICORN_CMD_ARGS)),$(VENV)/.gevent)
# What uvicorn serves; `make bench` has others in tests/programs/foundations.py.
ASGI = app:asgi_application
PROGRAM = $(BIN)/python
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# A .venv is made anew if its Python is gone, too old or not the one that was asked for,
# or if its folder was moved or copied: its scripts would run what is in the old one.
STALE := $(shell [ ! -e '$(BIN)/pip' ] || { \
    grep -qsF "$$(cd '$(BIN)' && pwd -P)/python" '$(BIN)/pip' && \
    '$(BIN)/python' -c 'import sys; sys.exit(sys.version_info < (3, 11))' && \
    $(if $(filter file,$(origin PYTHON)),:,[ "$$('$(BIN)/python' -V)" = "$$($(PYTHON) -V)" ]); \
    } 2>/dev/null || echo stale)

.PHONY: help run-wsgi run-asgi tabs compare test bench clean stale

help: ## this list
	@echo "What each target shows:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1|/p; s/^## /|/p' Makefile | \
	    while IFS='|' read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

run-wsgi: OWN_PORT = $(or $(PORT),8000)
run-wsgi: $(VENV)/.demo $(GEVENT) ## gunicorn: the first tab counts and holds the worker, the others wait
## GUNICORN="--threads 4": further options, and what run-asgi takes
	@$(PROGRAM) .preflight.py $@ --port '$(OWN_PORT)'
	$(BIN)/gunicorn app:wsgi_application --workers '$(WORKERS)' --bind '$(BIND)' \
	    --graceful-timeout 1 --no-control-socket --config .gunicorn.py $(GUNICORN)

run-asgi: OWN_PORT = $(or $(PORT),8001)
run-asgi: $(VENV)/.demo ## uvicorn: one worker, and all tabs count at once
## HOST=0.0.0.0: for other devices, PORT=8080, WORKERS=2, COUNT=10, TICK=0.5, DEBUG=1
	@$(PROGRAM) .preflight.py $@ --port '$(OWN_PORT)'
	$(BIN)/uvicorn $(ASGI) --workers '$(WORKERS)' --host '$(HOST)' --port '$(OWN_PORT)' \
	    --timeout-graceful-shutdown 1 --lifespan off

tabs: $(VENV)/$(if $(PNG),.browser,.compare) $(GEVENT) ## both in one browser window: a row of tabs for each
## TABS=3, PNG=file: a picture; PORT, WORKERS, GUNICORN, COUNT, TICK, DEBUG
	@$(PROGRAM) -m tests.programs.tabs

compare: $(VENV)/.compare $(GEVENT) ## three servers side by side: who counts, who waits, in this terminal
## TABS=3 SECONDS=45, FAST=1: a fifth of TICK and of the timeout, SVG=file: a picture,
## GUNICORN="--timeout 0": options of the second server; WORKERS, COUNT, TICK, DEBUG
	@$(PROGRAM) -m tests.programs.compare

test: $(VENV)/.browser ## every claim of the post, on real servers
	@$(PROGRAM) .preflight.py $@
	$(BIN)/python -m pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.bench ## what an open stream costs: ASGI, threads, gevent
## STREAMS=1000,5000: how many, TICK=1: seconds between events, JSON=file: the raw
## figures, SVG=file: a plot
	@$(PROGRAM) -m tests.programs.bench

clean: ## delete what was installed and cached
	rm -rf .venv* .ruff_cache .pytest_cache __pycache__ tests/__pycache__ tests/*/__pycache__

# gunicorn takes an IPv6 address in brackets, uvicorn without.
BIND = $(if $(findstring :,$(HOST)),[$(HOST)],$(HOST)):$(OWN_PORT)

# The stamps are written last, so an interrupted install is not taken for a finished one.
$(VENV)/.demo: requirements.txt $(STALE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$$( \
	    $(PYTHON) -V 2>&1): Python 3.11 or later is needed: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo '$(PYTHON) has no ensurepip or no venv: apt install python3-venv' >&2; exit 1; }
	$(if $(STALE),@echo '$(VENV) does not fit any more and is made anew.'; rm -rf $(VENV))
	@$(PYTHON) -m venv $(VENV)
	@echo 'Installing django, gunicorn and uvicorn into $(VENV) ...'
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.compare: PACKAGES = httpx httpx-sse psutil rich
$(VENV)/.gevent: PACKAGES = 'gunicorn[gevent]'
$(VENV)/.bench: PACKAGES = matplotlib starlette
$(VENV)/.tests: PACKAGES = --requirement tests/requirements.txt
$(VENV)/.bench: $(VENV)/.compare $(VENV)/.gevent
$(VENV)/.tests: $(VENV)/.bench
$(VENV)/.compare $(VENV)/.gevent $(VENV)/.bench $(VENV)/.tests: $(VENV)/.demo tests/requirements.txt
	@echo "Installing $(PACKAGES) into $(VENV) ..."
	@$(PIP) -c tests/requirements.txt -r requirements.txt $(PACKAGES)
	@touch $@

$(VENV)/.browser: $(VENV)/.tests
	@$(PROGRAM) -m tests.support.browser
	@touch $@
