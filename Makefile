# make run | test | check | bench | load | soak | audit | weights; every target makes the environment it needs first.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8501
MINUTES ?= 30
PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
# glibc: tensors up to 32 MiB stay in the heap, of which 128 MiB at most lie idle; smaller limits cost thousands of page faults a picture.
LIMITS := OMP_WAIT_POLICY=PASSIVE MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=134217728

.PHONY: run test check format bench load soak audit weights chromium clean

run: $(VENV)/installed
	@case "$(HOST)" in 127.*|localhost|::1) ;; *) grep -qs '^\[auth\]' .streamlit/secrets.toml \
	  || echo "warning: $(HOST) lets other machines in, and there is no password; see SECURITY.md" ;; esac
	$(LIMITS) $(BIN)/streamlit run app.py --server.address $(HOST) --server.port $(PORT)

# Each of PROCESSES tests whole files on one thread, in this order: the browser tests, which take longest, begin first.
test: $(VENV)/installed-dev chromium
	$(LIMITS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --no-loadscope-reorder

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py tests/test_text.py

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-dev
	$(LIMITS) $(BIN)/python -m benchmarks

load: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.load

soak: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.load soak --minutes $(MINUTES)

# Known weaknesses of the pinned packages, where the database can be reached; -r: what is pinned, not what this environment holds besides.
audit: $(VENV)/installed-dev
	@$(BIN)/python scripts/audit.py

weights: $(VENV)/installed
	PYTHONPATH=. $(LIMITS) $(BIN)/python scripts/measure_boxed.py

# Debian's browser for the browser tests; they say why they are skipped where there is none and none may be installed.
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } \
	  || echo "no Chromium here, and it can't be installed: the browser tests will be skipped"

$(VENV)/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip  # an environment that uv made has none
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip  # an environment that uv made has none
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV)
