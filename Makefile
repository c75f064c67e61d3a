# The servers' command lines live only here: everything starts them through make.
PYTHON = python3
VENV = .venv
# Not from the environment: conda has a HOST of its own there.
HOST = 127.0.0.1
WORKERS ?= 1
# Further options for gunicorn: the last one of a kind wins.
GUNICORN ?=
BIN = $(VENV)/bin
# Installed only for those who ask gunicorn for it.
GEVENT = $(if $(findstring gevent,$(GUNICORN) $(GUNICORN_CMD_ARGS)),$(VENV)/.gevent)
# What uvicorn serves; `make bench` has others in tests/tools/foundations.py.
ASGI = app:asgi_application
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run-wsgi run-asgi tabs compare test bench clean
.PHONY: run-hypercorn run-daphne run-granian run-gunicorn-asgi

help: ## this list
	@echo "What each target shows:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1|/p; s/^## /|/p' Makefile | \
	    while IFS='|' read -r target text; do printf '%-16s %s\n' "$$target" "$$text"; done

run-wsgi: PORT ?= 8000
run-wsgi: COUNTING = $(if $(filter 1,$(WORKERS)),one tab counts,$(WORKERS) tabs count)
run-wsgi: $(VENV)/.demo $(GEVENT) ## gunicorn: the first tab counts and holds the worker, the others wait
	@WORKERS='$(WORKERS)' $(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	@echo 'WSGI: open http://localhost:$(PORT)/ in three tabs.'
	$(if $(GUNICORN)$(GUNICORN_CMD_ARGS),,@echo 'Watch: $(COUNTING), the others stay \
	blank; at 70 a stream is cut and the next tab has its turn.')
	$(BIN)/gunicorn app:wsgi_application --workers '$(WORKERS)' --bind '$(BIND)' \
	    --graceful-timeout 1 --no-control-socket --config .gunicorn.py $(GUNICORN)

run-asgi: PORT ?= 8001
run-asgi: SERVING = $(if $(filter 1,$(WORKERS)),one worker,$(WORKERS) workers)
run-asgi: $(VENV)/.demo ## uvicorn: one worker, and all tabs count at once
	@WORKERS='$(WORKERS)' $(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	@echo 'ASGI: open http://localhost:$(PORT)/ in three tabs, then in more.'
	@echo 'Watch: all of them count at once, down to Blastoff, on $(SERVING).'
	$(BIN)/uvicorn $(ASGI) --workers '$(WORKERS)' --host '$(HOST)' --port '$(PORT)' \
	    --timeout-graceful-shutdown 1 --lifespan off

# Not from the environment: bash has SECONDS of its own there.
TABS = 3
SECONDS =
FAST =
SVG =
PNG =
tabs: PORT ?= 8000
tabs: $(VENV)/$(if $(PNG),.tests,.compare) ## both in one browser window: a row of tabs for each
## TABS=3 PORT=8000, PNG=file: a picture
	@$(BIN)/python tests/tools/tabs.py TABS='$(TABS)' PORT='$(PORT)' \
	    WORKERS='$(WORKERS)' PNG='$(PNG)'

compare: $(VENV)/.compare $(GEVENT) ## both side by side: who counts, who waits, in this terminal
## TABS=3 SECONDS=45, FAST=1: five times faster, SVG=file: a picture
## GUNICORN="--workers 3": other options for the second server
	@$(BIN)/python tests/tools/compare.py TABS='$(TABS)' SECONDS='$(SECONDS)' \
	    FAST='$(FAST)' SVG='$(SVG)' GUNICORN='$(GUNICORN)'

test: $(VENV)/.tests ## every claim of the post, on real servers
	$(BIN)/pytest tests

bench: $(VENV)/.bench $(if $(filter 1,$(SERVERS)),$(VENV)/.servers) ## what an open stream costs: ASGI, threads, gevent
## SERVERS=1: the same on five ASGI servers, STREAMS=100,1000: how many,
## TICK=1: seconds between events, JSON=file: the raw figures, SVG=file: a plot
	@$(BIN)/python tests/tools/bench.py

clean: ## the folder as it was cloned
	rm -rf .venv* .ruff_cache __pycache__ tests/__pycache__ tests/tools/__pycache__ tests/.pytest_cache

# gunicorn takes an IPv6 address in brackets, uvicorn without.
BIND = $(if $(findstring :,$(HOST)),[$(HOST)],$(HOST)):$(PORT)

# Other servers for the same ASGI application, each started as its documentation says.
run-hypercorn run-daphne run-granian run-gunicorn-asgi: PORT ?= 8002
run-hypercorn: $(VENV)/.servers
	$(BIN)/hypercorn $(ASGI) --workers 1 --bind '$(BIND)'

run-daphne: $(VENV)/.servers
	$(BIN)/daphne $(ASGI) --bind '$(HOST)' --port '$(PORT)'

run-granian: $(VENV)/.servers
	$(BIN)/granian $(ASGI) --interface asgi --workers 1 --host '$(HOST)' --port '$(PORT)'

run-gunicorn-asgi: $(VENV)/.servers
	$(BIN)/gunicorn $(ASGI) --worker-class asgi --workers 1 --bind '$(BIND)' \
	    --no-control-socket

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

$(VENV)/.gevent: $(VENV)/.demo tests/requirements.txt
	@echo 'Installing gevent into $(VENV) ...'
	@$(PIP) -c tests/requirements.txt gevent
	@touch $@

$(VENV)/.servers: $(VENV)/.demo tests/requirements.txt
	@echo 'Installing daphne, granian and hypercorn into $(VENV) ...'
	@$(PIP) -c tests/requirements.txt daphne granian hypercorn
	@touch $@

$(VENV)/.bench: $(VENV)/.compare $(VENV)/.gevent
	@echo 'Installing matplotlib and starlette into $(VENV) ...'
	@$(PIP) -c tests/requirements.txt matplotlib starlette
	@touch $@

$(VENV)/.tests: $(VENV)/.bench tests/requirements.txt
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(PIP) -r tests/requirements.txt
	@$(BIN)/python tests/tools/browser.py
	@touch $@
