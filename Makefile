# Two commands: `make transfer` (the main job) and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One torch thread a process: the networks are small, and the workers would fight over the cores.
export OMP_NUM_THREADS := 1
VISION := tests/benchmarks/questions/test_vision.py tests/benchmarks/questions/test_vision_peers.py tests/benchmarks/test_architectures.py

.PHONY: transfer report test vision browser docs lint type throughput clean help

help: ## show this text
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 14

transfer: $(VENV)/.bench ## pretrain at A = 1.0, transfer to A = 1.8, write benchmarks/out/transfer (ARGS="--help" for options)
	$(BIN)/python -m benchmarks transfer $(ARGS)

report: $(VENV)/.bench ## tables and index.html from the run files in benchmarks/results (ARGS="FOLDER" for others)
	$(BIN)/python -m benchmarks report $(ARGS)

test: $(VENV)/.test ## run the tests; those that need a browser where there is one
	$(BIN)/python -m pytest -n 2 $(ARGS)

vision: $(VENV)-vision/.vision ## run the tests that need torchvision, timm or scikit-learn, in .venv-vision
	$(VENV)-vision/bin/python -m pytest $(VISION) $(ARGS)

browser: ## install Chromium for the tests that open the report in a browser (Debian, as root)
	@bash .ci/browser

docs: $(VENV)/.docs ## build the documentation's site into site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@! grep -rnoE '(src|<link[^>]* href)="https?:[^"]*' site --include='*.html' # it fetches nothing from elsewhere
	@echo "Written: site/index.html"

lint: $(VENV)/.dev ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.test $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

throughput: $(VENV)/.bench $(VENV)/.peers ## speed of environments, gates and k-sets beside their peers (MAML's: python -m benchmarks speed maml --peers DIR)
	$(BIN)/python -m benchmarks speed environments learning battery $(ARGS)

clean: ## remove .venv and caches
	rm -rf $(VENV) $(VENV)-vision site .mypy_cache .ruff_cache .pytest_cache *.egg-info

# Exactly the files that requirements/*.txt name by their digests; .ci/lock writes those from pyproject.toml.
export PYTHON
$(VENV)/.bench $(VENV)/.test $(VENV)/.dev $(VENV)/.docs: $(VENV)/.%: pyproject.toml requirements/%.txt requirements/torch.txt
	@bash .ci/install $*
	@touch $@

$(VENV)-vision/.vision: pyproject.toml constraints.txt
	@bash .ci/install vision
	@touch $@

$(VENV)/.peers: pyproject.toml constraints.txt
	@bash .ci/install peers
	@touch $@
