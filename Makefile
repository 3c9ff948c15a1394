# Two commands: `make demo` shows the suite at work, `make test` checks it. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint golden speed clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/installed
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not slow and not gpu'

test-slow: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'slow and not gpu'

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

golden: $(VENV)/installed
	$(BIN)/pytest tests/test_golden.py --update-golden

speed: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speed]'
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) build *.egg-info
