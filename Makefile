# make run | test | check | bench | weights; every target makes the environment it needs first.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
LIMITS := OMP_WAIT_POLICY=PASSIVE MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072

.PHONY: run test check format bench weights chromium clean

run: $(VENV)/installed
	@case "$(HOST)" in 127.*|localhost|::1) ;; *) echo "warning: $(HOST) lets other machines in, and there is no password; see README.md" ;; esac
	$(LIMITS) $(BIN)/streamlit run app.py --server.address $(HOST) --server.port $(PORT)

test: $(VENV)/installed-dev chromium
	$(LIMITS) $(BIN)/python -m pytest

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
