# Every target sets up what it needs: Python 3.11 or newer and make are enough. `make help` lists the targets.
# Another Python: make test PYTHON=/path/to/python

SHELL := /bin/sh
.DEFAULT_GOAL := help

SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
# $(call first,names): the first of these commands that is Python 3.11 or newer.
first = $(shell for python in $(1); do \
	"$$python" -c '$(SUITABLE)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
PYTHON ?= $(call first,python3 python3.13 python3.12 python3.11)
# The oldest versions, and Hummingbird's onnx, have no wheels for Python 3.13 and newer.
OLDER_PYTHON ?= $(call first,python3.11 python3.12 $(PYTHON))
JOBS ?= auto

VENV := .venv/bin
OLDEST := .venv-oldest/bin
BENCH := .venv-bench/bin
# As many processes as cores test at once, so a thread each: more would wait for each other, ten times as long.
THREADS := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}
PYTEST := -m pytest -n $(JOBS) --maxprocesses 8
# $(call suite,python): the test suite in three parts, each in new processes: kernels that were compiled stay in memory.
define suite
	$(THREADS) $(1) $(PYTEST) tests/converters/test_[!s]*.py tests/converters/test_sklearn_[a-i]*.py
	$(THREADS) $(1) $(PYTEST) tests/converters/test_sklearn_[j-z]*.py
	$(THREADS) $(1) $(PYTEST) tests --ignore=tests/converters
endef

# $(call install,python,environment,extra,constraints): a virtual environment with the package, editable, and an extra.
define install
	@"$(1)" -c '$(SUITABLE)' 2>/dev/null || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	test -x $(2)/bin/python || "$(1)" -m venv $(2)
	$(2)/bin/python -m pip install --quiet --disable-pip-version-check -c $(4) -e '.[$(3)]'
	@touch $@
endef

.PHONY: help
help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: .venv/.installed  ## Train a model, convert it, compare answers and speed
	$(VENV)/tensorml demo

.PHONY: test
test: .venv/.installed  ## The test suite
	$(call suite,$(VENV)/python)

.PHONY: test-oldest
test-oldest: .venv-oldest/.installed  ## The test suite with the oldest supported scikit-learn, XGBoost and NumPy
	$(call suite,$(OLDEST)/python)

.PHONY: exact
exact: .venv/.installed  ## A hundred million pairs of row and tree for each library, into docs/exactness.md
	$(THREADS) $(VENV)/python -m tests.exactness $(EXACT)

.PHONY: lint
lint: .venv/.installed  ## Style, format and types
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/pyright --pythonpath $(VENV)/python

.PHONY: bench-quick
bench-quick: .venv-bench/.installed  ## Ratios to the source libraries and the peers, as tables
	$(BENCH)/python -m benchmarks.quick $(QUICK)

.PHONY: bench-page
bench-page: .venv-bench/.installed  ## Everything that is measured, into docs/benchmarks.md and the README; half an hour
	$(BENCH)/python -m benchmarks.page $(PAGE)

.PHONY: bench
bench: .venv-bench/.installed  ## A short run of the asv suites, and their pages
	$(BENCH)/python -m benchmarks.short $(ASV)

.PHONY: docs
docs: .venv/.installed  ## Generate docs/reference
	$(VENV)/python docs/generate.py

.PHONY: clean
clean:  ## Remove everything that the other targets made
	rm -rf .venv .venv-* build dist *.egg-info .hypothesis .pytest_cache .ruff_cache benchmarks/.asv demo-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml constraints.txt
	$(call install,$(PYTHON),.venv,test,constraints.txt)

.venv-oldest/.installed: pyproject.toml constraints-oldest.txt
	$(call install,$(OLDER_PYTHON),.venv-oldest,test,constraints-oldest.txt)

.venv-bench/.installed: pyproject.toml constraints.txt constraints-bench.txt
	$(call install,$(OLDER_PYTHON),.venv-bench,bench,constraints-bench.txt)
