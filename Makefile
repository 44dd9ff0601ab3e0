# Everything a person does here. `make` alone prints the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV := .mbats/venvs/uv/bin/uv
SETUP := $(VENV)/.made
CHECKOV := .mbats/venvs/terraform/.made
SETS := library dev emulators java

.PHONY: help
help: ## print these targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(SETUP) ## make the virtual environment from the pinned, hashed sets

$(UV): requirements/uv.txt requirements/find-python
	@python="$$(requirements/find-python 3.11 3.12 3.13)"; \
	"$$python" -m venv --clear .mbats/venvs/uv
	@.mbats/venvs/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(SETUP): $(UV) requirements/library.txt requirements/dev.txt pyproject.toml
	@python="$$(requirements/find-python 3.11 3.12 3.13)"; \
	$(UV) venv --quiet --clear --python "$$python" $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/library.txt requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(SETUP) ## the whole desk on this machine: real FX history, two backtests, a bot on a simulated OANDA
	@$(BIN)/mbats demo

.PHONY: demo-airflow
demo-airflow: $(SETUP) ## the daily DAG once in Composer's Airflow, on the local stack, and a picture of its graph
	@$(BIN)/python -m tests.dags.demo

WORKERS ?= 2
.PHONY: test
test: $(SETUP) $(CHECKOV) ## run every test that this machine can run, WORKERS files at a time
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: chain
chain: $(SETUP) ## the whole live chain by real processes on the wall's clock: minutes, on a quiet machine
	@$(BIN)/pytest -m wall_clock

SEEDS ?= 200
.PHONY: faults
faults: $(SETUP) ## kill the bot at random points under broker faults, SEEDS times; the logs must agree
	@$(BIN)/python -m tests.faults.run --seeds $(SEEDS)

.PHONY: week
week: $(SETUP) ## live through a trading week in minutes: parity and flat memory
	@$(BIN)/python -m tests.faults.week_report

$(CHECKOV): $(UV) requirements/terraform.txt
	@python="$$(requirements/find-python 3.11 3.12 3.13)"; \
	$(UV) venv --quiet --clear --python "$$python" $(@D)
	@$(UV) pip sync --quiet --python $(@D)/bin/python --require-hashes requirements/terraform.txt
	@touch $@

.PHONY: images-local images-clean
images-local: $(SETUP) ## build every container image for real, without a registry, and run each one; INSTALL=yes installs what that needs
	@$(BIN)/python -m tests.images.run $(if $(filter yes,$(INSTALL)),--install)
images-clean: ## free the disk that these images take
	@rm -rf .mbats/images

.PHONY: terraform-test terraform-local cost bootstrap deploy drift destroy
terraform-test: $(SETUP) $(CHECKOV) ## plan and check every cloud environment, with no cloud
	@CI=true $(BIN)/pytest tests/terraform
cost: ## what a month costs: make cost ENV=dev|practice|live
	@python="$$(requirements/find-python 3.11 3.12 3.13)"; "$$python" terraform/scripts/cost.py $(or $(ENV),dev)
terraform-local: $(SETUP) ## apply the data plane to the local emulators, with the real provider
	@terraform/scripts/local
bootstrap: ## prepare a project, once: make bootstrap PROJECT=my-project
	@terraform/scripts/desk bootstrap
deploy: $(SETUP) ## build the desk: make deploy ENV=dev PROJECT=my-project
	@terraform/scripts/desk deploy
drift: ## what Terraform would change now; after a deploy nothing: make drift ENV=dev PROJECT=my-project
	@terraform/scripts/desk drift
destroy: ## take it away again: make destroy ENV=dev PROJECT=my-project
	@terraform/scripts/desk destroy
export ENV PROJECT APPROVE CMEK LOCATION

.PHONY: lint
lint: $(SETUP) ## ruff, mypy, and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(SETUP) ## put the code in its one format
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

.PHONY: docs
docs: $(SETUP) ## write docs/reference/ from the code
	@$(BIN)/python docs/generate.py

.PHONY: up down
up: $(SETUP) ## start the local stack and leave it running
	@$(BIN)/mbats up
down: $(SETUP) ## stop what `make up` started
	@$(BIN)/mbats down

.PHONY: lock
lock: $(UV) ## compile requirements/*.txt anew from pyproject.toml and requirements/*.in
	@cd requirements && compile() { ../$(UV) pip compile --quiet --universal --generate-hashes --no-header --python-version "$$1" "$$2" -o "$$3.txt"; }; \
	compile 3.11 uv.in uv; compile 3.11 ../pyproject.toml library; compile 3.11 dev.in dev; \
	compile 3.13 emulators.in emulators; compile 3.13 java.in java; compile 3.11 terraform.in terraform; \
	compile 3.11 beam.in beam; compile 3.11 build.in build; compile 3.11 mlflow.in mlflow; \
	UV_EXCLUDE_NEWER=2026-08-26 compile 3.11 airflow.in airflow
	@for function in functions/*/; do cp requirements/library.txt "$${function}requirements.txt"; done # with mbats come all its needs

.PHONY: clean
clean: ## remove what make made; the data under .mbats/ stays
	@rm -rf $(VENV) .mbats/venvs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
