# All servers are started here. The top level is the lesson: what only serves it is in
# tests/ (its programs, too), or a dot-file (.gunicorn.py, .preflight.py).
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
# These two are read from make's command line only: some shells export a HOST.
HOST = 127.0.0.1
SERVER = uvicorn
COUNT ?= 100
TICK ?= 1
WORKERS ?= 1
TABS ?= 3
STREAMS ?= 1000
export SERVER COUNT TICK WORKERS TABS STREAMS
# What run-asgi serves; `make bench` has others in tests/programs/alternatives.py.
ASGI = app:asgi_application
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

GUNICORN = --workers '$(WORKERS)' --bind '$(HOST):$(PORT)' --graceful-timeout 1 \
    --no-control-socket --config .gunicorn.py
RUN_uvicorn = uvicorn $(ASGI) --workers '$(WORKERS)' --host '$(HOST)' --port '$(PORT)' \
    --timeout-graceful-shutdown 1 --lifespan off
RUN_gunicorn = gunicorn $(ASGI) --worker-class asgi $(GUNICORN)
$(if $(RUN_$(SERVER)),,$(error SERVER=$(SERVER): try SERVER=uvicorn or SERVER=gunicorn))

# Set for other projects, these mislead pip or Python. An index or a proxy is passed on.
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME PYTHONSAFEPATH PYTHONWARNINGS
export PIP_USER = 0

.PHONY: help run-wsgi run-asgi tabs compare test bench clean
help:
	@sed -n 's/^## //p' Makefile

## make run-wsgi  gunicorn: the first tab counts and holds the worker, the others wait
run-wsgi: PORT ?= 8000
run-wsgi: $(VENV)/.demo
	@$(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	$(BIN)/python -m gunicorn app:wsgi_application $(GUNICORN)

## make run-asgi  uvicorn: one worker, and all tabs count at once
run-asgi: PORT ?= 8001
run-asgi: $(VENV)/.demo
	@$(BIN)/python .preflight.py $@ '$(HOST)' '$(PORT)'
	$(BIN)/python -m $(RUN_$(SERVER))

## make tabs      both in one browser window: a row of tabs for each
## make compare   three servers side by side: who counts, who waits, in this terminal
## make bench     what an open stream costs: ASGI, threads, gevent
tabs compare: $(VENV)/.compare
bench: $(VENV)/.bench
tabs compare bench:
	@$(BIN)/python -m tests.programs.$@

## make test      every claim of the post, on real servers
test: $(VENV)/.browser
	$(BIN)/python -m pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder

## make clean     delete .venv, if its Python is gone or another one is wanted
# VENV may be / or .. by mistake: delete what make has filled and is not around us.
STAMP = $(if $(findstring $(realpath $(VENV))/,$(CURDIR)/),,$(wildcard $(VENV:=/.demo)))
clean:
	rm -rf $(STAMP:/.demo=) .venv* .*_cache __pycache__ */__pycache__ */*/__pycache__
	@[ ! -e '$(VENV)' ] || { echo 'VENV=$(VENV) is not a venv of this project, and' \
	    'stays: name another, or delete it by hand' >&2; exit 1; }

## Before or after make: COUNT=20, TICK=0.5 (seconds), DEBUG=1, WORKERS=2, PORT=8080,
## TABS=4 (tabs, compare), STREAMS=200 (bench), FAST=1 (compare: a fifth of the time),
## GUNICORN_CMD_ARGS="--threads 4". Only after make: HOST=0.0.0.0, for other devices;
## SERVER=gunicorn, whose ASGI worker then takes uvicorn's place.

# The stamps come last, so that an interrupted install is not taken for a finished one.
$(VENV)/.demo: requirements.txt
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null || { echo '$(PYTHON) is not Python 3.11 or later with venv: try' \
	    'apt install $(notdir $(PYTHON))-venv, or make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@echo 'Installing django, gunicorn and uvicorn into $(VENV) ...'
	@$(PIP) -r requirements.txt && touch $@

$(VENV)/.compare: PACKAGES = httpx httpx-sse psutil rich
$(VENV)/.bench: PACKAGES = starlette 'gunicorn[gevent]'
$(VENV)/.tests: PACKAGES = -r tests/requirements.txt
$(VENV)/.bench: $(VENV)/.compare
$(VENV)/.tests: $(VENV)/.bench
$(VENV)/.compare $(VENV)/.bench $(VENV)/.tests: $(VENV)/.demo tests/requirements.txt
	@echo "Installing $(PACKAGES) into $(VENV) ..."
	@$(PIP) -c tests/requirements.txt -r requirements.txt $(PACKAGES) && touch $@

$(VENV)/.browser: $(VENV)/.tests
	@$(BIN)/python -m tests.support.browser && touch $@
