# `make up` brings a cluster up and the service onto it; `make test` runs the tests, of the longest ones a sample. `make help`
# lists the rest.
SHELL := /bin/bash -o pipefail
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
LOCAL := $(PYTHON) tests/cluster/local
# Three processes of them keep two cores busy. Each has its own PostgreSQL, Valkey and Prometheus.
WORKERS ?= 3
PYTEST := $(RUN)/pytest -q --numprocesses=$(WORKERS) --dist=worksteal --durations=10

.DEFAULT_GOAL := help
.PHONY: help up down status env demo-release images test check unit integration cluster-test cluster-test-all chaos dev bench-api bench-operator fuzz simulate openapi crd lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## A Kubernetes cluster, where none is at hand, and the service on it
	@$(LOCAL) up
	@$(LOCAL) images
	@$(LOCAL) install

down: ## Take the cluster away, with all that belongs to it
	@$(LOCAL) down

status: ## What runs where
	@$(LOCAL) status

env: ## What to eval in a shell: KUBECONFIG, PATH and INVENTORY_URL
	@$(LOCAL) env

demo-release: ## Build an image with one more migration, and print its name
	@$(LOCAL) demo-release

images: ## Build the images and push them to the cluster's registry
	@$(LOCAL) images

test: check unit integration cluster-test ## Checks, unit, integration and cluster tests, of what takes longest a sample

check: $(VENV)/ready ## ruff, mypy, import contracts
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

unit: $(VENV)/ready ## Pure logic, and the chart as it renders
	@$(LOCAL) tool helm chromium >/dev/null
	$(PYTEST) tests/unit

integration: $(VENV)/ready ## The service on a real PostgreSQL and Valkey, and judged by a real Prometheus
	@$(LOCAL) tool prometheus >/dev/null
	$(PYTEST) tests/integration

cluster-test: $(VENV)/ready ## Releases and rollbacks on a real Kubernetes
	$(RUN)/pytest -s -q --durations=10 --few-slow tests/cluster

cluster-test-all: $(VENV)/ready ## The same with all slow ones, and whether the operator needs all its rights
	$(RUN)/pytest -s -q --durations=10 tests/cluster

chaos: $(VENV)/ready ## Kill the operator before and after each of its calls on the cluster (an hour or two)
	@$(RUN)/python -W ignore -m tests.cluster.chaos $(ARGUMENTS)

bench-api: $(VENV)/ready ## How fast the service is, against baselines of the same run (needs wrk)
	@$(RUN)/python -W ignore -m tests.benchmarks.api $(ARGUMENTS)

bench-operator: $(VENV)/ready ## How fast and how large the operator is, beside Argo Rollouts (on the cluster of make up)
	@$(LOCAL) tool kwok argo-rollouts prometheus >/dev/null
	@$(RUN)/python -W ignore -m tests.benchmarks.operator $(ARGUMENTS)

fuzz: $(VENV)/ready ## Thousands of requests made up from the contract
	@$(RUN)/python -W ignore -m tests.fuzz $(ARGUMENTS)

simulate: $(VENV)/ready ## Tens of thousands of histories of releases in a model cluster
	@$(RUN)/python -m tests.unit.operator.histories $(ARGUMENTS)

openapi: $(VENV)/ready ## Publish the API's contract in docs/, if it breaks nobody
	$(RUN)/python -m tests.contract $(ARGUMENTS)

dev: $(VENV)/ready ## The service alone, on 127.0.0.1, in seconds
	$(RUN)/inventory-api dev

crd: ## Copy the CRD from its one source into the chart
	cp manifests/crd.yaml chart/crds/inventoryapps.yaml

lock: ## Make the lock files anew (needs uv)
	tests/lock.sh

clean: ## Remove what the targets above have made in this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/ready: tests/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install -q --disable-pip-version-check --require-hashes -r tests/requirements.lock
	$(RUN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
