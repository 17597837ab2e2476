# Everything sets itself up: a machine with Python 3.11 or later and make is enough. CONTRIBUTING.md has the same without make.
#   make demo             three minutes of training, and a picture of digits
#   make demo DATA=DIR    the same on real MNIST, in torchvision's layout under DIR
#   make test             tests, doctests, the rules of the architecture, lint, types
#   make docs             the documentation, as HTML
#   make notebooks        the three notebooks, executed; that of the tutorial is made from its page
# WORKERS=N runs the tests in N processes, each with one thread.
# VENV=DIR puts the virtual environment elsewhere, so that several checkouts can share one.

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 3
WORKERS ?= 2
RUN := runs/demo
DATA_WORDS := $(if $(DATA),--data mnist --root "$(DATA)",--data digits)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.ganlib-installed
# The demo needs ganlib alone. An environment that has what developers need has that too.
DEMO_INSTALLED := $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(VENV)/.ganlib-demo-installed)

# A shared environment may have been installed from another checkout: this one's code comes first.
export PYTHONPATH := $(CURDIR)/src

.PHONY: demo test docs notebooks lint install

install: $(INSTALLED)

$(INSTALLED): WHAT := .[dev]
$(VENV)/.ganlib-demo-installed: WHAT := .
$(INSTALLED) $(VENV)/.ganlib-demo-installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable "$(WHAT)"
	touch $@

demo: $(DEMO_INSTALLED)
	rm -rf $(RUN)
	$(BIN)/python examples/mnist_cdcgan.py train $(DATA_WORDS) --minutes $(MINUTES) --out $(RUN)
	$(BIN)/python examples/mnist_cdcgan.py sample --run $(RUN) --labels 0 1 2 3 4 5 6 7 8 9 --count 10 --out $(RUN)/digits.png

test: lint docs
	OMP_NUM_THREADS=1 GANLIB_SITE="$(CURDIR)/docs/_build/html" $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "the documentation is in docs/_build/html/index.html"

notebooks: $(INSTALLED)
	$(BIN)/python -m tests.notebooks.execute
	$(BIN)/python -m tests.notebooks.from_tutorial
