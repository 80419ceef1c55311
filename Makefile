# Kaquan. On an empty clone: `make run`, then `make test`. Both install what they need.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
STAGE ?= dev
BIN := .venv/bin
UV := $(BIN)/uv
LOCK := infra/lock
SAM_ENV := .local/tools/sam
SAM := $(SAM_ENV)/bin/sam
LOCALSTRIPE_ENV := .local/tools/localstripe
export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help:  ## what can be made
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

# --- the machine -----------------------------------------------------------------------------------------------------

.PHONY: setup
setup: .venv/.ready $(SAM_ENV)/.ready $(LOCALSTRIPE_ENV)/.ready  ## install everything that is needed, from hashed lock files

.venv/.ready: $(LOCK)/uv.txt $(LOCK)/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Kaquan needs Python 3.11, 3.12 or 3.13: install one, then make run PYTHON=python3.13"; exit 1; }
	@echo "installing the Python packages of $(LOCK)/dev.txt into .venv"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: python3-venv), then try again"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)/uv.txt
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes $(LOCK)/dev.txt $(LOCK)/uv.txt
	@touch $@

$(SAM_ENV)/.ready: $(LOCK)/sam.txt .venv/.ready
	@echo "installing the SAM command line into $(SAM_ENV)"
	@test -x $(SAM_ENV)/bin/python || $(BIN)/python -m venv --without-pip $(SAM_ENV)
	@$(UV) pip sync --quiet --require-hashes --python $(SAM_ENV)/bin/python $(LOCK)/sam.txt
	@touch $@

$(LOCALSTRIPE_ENV)/.ready: $(LOCK)/localstripe.txt .venv/.ready
	@echo "installing the local Stripe of the tests into $(LOCALSTRIPE_ENV)"
	@test -x $(LOCALSTRIPE_ENV)/bin/python || $(BIN)/python -m venv --without-pip $(LOCALSTRIPE_ENV)
	@$(UV) pip sync --quiet --require-hashes --python $(LOCALSTRIPE_ENV)/bin/python $(LOCK)/localstripe.txt
	@touch $@

# runtime is held to the versions of dev: what was tested is what is shipped.
COMPILE := compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --upgrade
.PHONY: lock
lock: .venv/.ready  ## choose the newest versions that pyproject.toml allows, and write them down with their hashes
	$(UV) pip $(COMPILE) --group dev pyproject.toml -o $(LOCK)/dev.txt
	$(UV) pip $(COMPILE) --constraint $(LOCK)/dev.txt pyproject.toml -o $(LOCK)/runtime.txt
	$(UV) pip $(COMPILE) --group pyproject.toml:sam -o $(LOCK)/sam.txt
	$(UV) pip $(COMPILE) --group pyproject.toml:localstripe -o $(LOCK)/localstripe.txt
	$(UV) pip $(COMPILE) --group pyproject.toml:uv -o $(LOCK)/uv.txt
	@! grep -nE '://|find-links|^--|file:| @ ' $(LOCK)/*.txt || { echo "a lock file names a place: remove it"; exit 1; }

# --- the local cloud -------------------------------------------------------------------------------------------------

.PHONY: run
run: setup  ## start the local cloud, deploy, sell one card, print what to open next
	@$(BIN)/python -m infra.local.run

.PHONY: stop
stop:  ## stop the local cloud; its state is kept
	@if test -x $(BIN)/python; then $(BIN)/python -m infra.local.run stop; fi

.PHONY: reset
reset:  ## stop the local cloud and forget everything it held
	@if test -x $(BIN)/python; then $(BIN)/python -m infra.local.run reset; fi

# --- AWS -------------------------------------------------------------------------------------------------------------

# make deploy STAGE=prod PARAMETERS="AlarmEmail=me@shop.example PublicUrl=https://shop.example/api"
.PHONY: deploy
deploy: setup  ## build for AWS and deploy with your AWS credentials: STAGE=dev|prod|…
	@[[ $(STAGE) != local ]] || { echo "stage local belongs to make run"; exit 1; }
	@$(BIN)/python -c 'import boto3, sys; me = boto3.Session(); sys.exit(not (me.region_name and me.get_credentials()))' || \
	  { echo "say which AWS account and region: AWS_PROFILE or AWS_ACCESS_KEY_ID…, and AWS_REGION"; exit 1; }
	@$(SAM) build --template-file template.yaml --build-dir .local/aws/$(STAGE) --parallel
	@$(SAM) deploy --template-file .local/aws/$(STAGE)/template.yaml --stack-name kaquan-$(STAGE) \
	  --resolve-s3 --s3-prefix kaquan-$(STAGE) --capabilities CAPABILITY_IAM CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND \
	  --no-fail-on-empty-changeset $(if $(YES),--no-confirm-changeset,--confirm-changeset) \
	  --parameter-overrides Stage=$(STAGE) Version=$$(git describe --always --dirty) $(PARAMETERS) \
	    Release=$$($(BIN)/python infra/release.py $(STAGE) $(PARAMETERS))

# --- checks ----------------------------------------------------------------------------------------------------------

.PHONY: check
check: .venv/.ready  ## the fast part: lint, types, arrows, unit tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python infra/contract.py --check
	@$(BIN)/lint-imports --no-cache --no-logo
	@if [[ -d tests/unit ]]; then $(BIN)/pytest tests/unit --quiet --numprocesses=auto; fi

# The journeys mostly wait, for a deployed stack: they run beside the tests that keep the processors busy, and which are
# nice to them, since what waits has its patience.
.PHONY: test
test: setup check lint-templates  ## everything
	@echo "the journeys run beside the other tests; what they say comes last (.local/journeys.txt)"; \
	$(BIN)/pytest tests/journeys > .local/journeys.txt 2>&1 & journeys=$$!; \
	trap 'kill $$journeys 2> /dev/null || true' EXIT; \
	failed=0; \
	nice $(BIN)/pytest tests --ignore=tests/unit --ignore=tests/journeys --numprocesses=auto --dist=worksteal || failed=1; \
	wait $$journeys || failed=1; \
	cat .local/journeys.txt; \
	exit $$failed

.PHONY: lint-templates
lint-templates: setup
	@$(SAM) validate --lint --template-file template.yaml --region us-east-1
	@$(BIN)/cfn-lint --non-zero-exit-code informational template.yaml infra/*.yaml

.PHONY: contract
contract: .venv/.ready  ## write infra/openapi.json and infra/gateway.json anew from the routes
	@$(BIN)/python infra/contract.py

.PHONY: soak
soak: setup  ## the seeded campaigns at full size
	@SCALE=$${SCALE:-20} $(BIN)/pytest tests --ignore=tests/journeys --timeout=3600 --numprocesses=auto --dist=worksteal
	@SCALE=$${SCALE:-20} $(BIN)/pytest tests/journeys --timeout=3600

.PHONY: bench
bench: setup  ## measure; a table, and .bench/results.json
	@$(BIN)/python -m tests.bench

# A package that could not be looked up is a failure, not a footnote: --strict.
.PHONY: audit
audit: .venv/.ready  ## known holes in the locked packages
	@failed=0; for lock in $(LOCK)/*.txt; do echo "$$lock"; \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner=off -r $$lock || failed=1; done; exit $$failed

# --- what `sam build` calls (Metadata: BuildMethod: makefile) ------------------------------------------------------------
# sam copies the CodeUri folder, goes there, and names the folder that becomes the package.
# A function is its app.py and nothing else. The layer is shared/ and, on AWS, the locked packages; the local cloud runs
# functions in its own environment, which has the same packages, and a small layer starts five times as fast there.

ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
LAYER ?= full

build-SharedLayer:
	mkdir -p "$(ARTIFACTS_DIR)/python/shared"
	tar -cf - --exclude=__pycache__ . | tar -xf - -C "$(ARTIFACTS_DIR)/python/shared"
	if [[ $(LAYER) == full ]]; then $(ROOT)$(BIN)/python $(ROOT)infra/layer.py --target "$(ARTIFACTS_DIR)/python"; fi

build-%:
	cp app.py "$(ARTIFACTS_DIR)/"
