# Thin: every target is one command that also works by hand. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: addons bench bench-dev bundle faults fuzz helm3 load lock more nodes parity pins help setup up down status check fix lint types unit test test-cluster chaos docs docs-serve reference registry release rollbacks rollback-bench schema clean topologies

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with todo-deploy in it (done by every other target when needed)
	@scripts/bootstrap.sh

lock: setup ## Renew the locks (requirements*.lock): the newest versions that pyproject.toml allows, with their hashes
	@scripts/lock.sh

pins: setup ## Write the checksums of programs that are downloaded (needs upstream's hosts)
	@$(BIN)/python scripts/pins.py

up: setup ## From nothing to working URLs
	@$(BIN)/todo-deploy up

down: setup ## Remove what `make up` made (volumes stay)
	@$(BIN)/todo-deploy down

status: setup ## Show workloads and URLs
	@$(BIN)/todo-deploy status

check: setup ## Everything that needs no cluster and no writing: lint, types, charts, shell
	@scripts/check.sh

fix: setup ## Mend what can be mended automatically
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

schema: setup ## Write the spec's JSON Schema anew
	@$(BIN)/todo-deploy schema > schema/todo-deploy.schema.json

reference: setup ## Write the pages of the reference that are made from the code
	@$(BIN)/python scripts/reference.py

docs: reference ## Build the documentation into site/; a broken link or an unknown anchor is an error
	@$(BIN)/zensical build --clean --strict

docs-serve: reference ## Serve the documentation on this machine while it is written
	@$(BIN)/zensical serve

release: setup ## Build sdist, wheel and notes of the tag at HEAD into dist/, and check them
	@scripts/release.sh

unit: setup ## The fast tests only
	@$(PYTEST) -q tests/unit tests/charts

test: setup ## All tests, those on the real cluster included
	@scripts/test.sh

bench: setup ## A race with a script (and skaffold, tilt), what commands cost, large trees and rollouts, thirty services, 2,000 pods (30 minutes, on a quiet machine)
	@$(BIN)/python -m bench.race && $(BIN)/python -m bench.commands && $(BIN)/python -m bench.digests && \
		$(BIN)/python -m bench.watching && $(BIN)/python -m bench.many && $(BIN)/python -m bench.large

bench-dev: setup ## `dev`: from a save to the new answer, hot reload in Chromium, two hundred saves in a row (10 minutes)
	@$(BIN)/python -m bench.dev

nodes: setup ## A profile of two nodes: pods, images and traffic on both, one lost in a rollout, and `up` repairs (10 minutes)
	@$(BIN)/python -m bench.nodes

helm3: setup ## All contracts, and the core path end to end, with Helm 3 in place of the tool's own Helm 4 (10 minutes)
	@TODO_DEPLOY_HELM="$$($(BIN)/python -m tests.helm3)" $(PYTEST) -q --cluster -m cluster tests/contract \
		tests/e2e/test_01_first_up.py tests/e2e/test_03_changes.py tests/e2e/test_04_back.py

load: setup ## Bodies of 200 MB against the running application's own pods (2 minutes)
	@$(BIN)/python -m bench.load_application

faults: setup ## Every fault of the table in the real application, and ten healthy rollouts without an alarm (20 minutes)
	@$(BIN)/python -m bench.faults

fuzz: setup ## 10,000 mutated inputs of each kind: none may end with exit code 1; the table in bench/results/fuzz.md (10 minutes)
	@$(BIN)/python -m bench.fuzz

chaos: setup ## Kill `up` and `rollback` at 51 seeded points, then break what they need under way (an hour)
	@$(BIN)/python -m bench.chaos

parity: setup ## Every case by hand (docker and helm) and by `up`, side by side; the table in bench/results/parity.md (half an hour)
	@$(BIN)/python -m bench.parity

rollbacks: setup ## Broken versions in a row, what was changed or pruned, two `up` at once: each back where it was (ten minutes)
	@$(BIN)/python -m bench.rollbacks

bundle: setup ## A first `up` from a bundle on a machine without a network, timed; needs root and 10 GB of disk (10 minutes)
	@$(BIN)/python -m bench.bundle

rollback-bench: setup ## `rollback` beside `helm rollback` and `kubectl rollout status`, paired in one run
	@$(BIN)/python -m bench.rollback

registry: setup ## A registry (http, TLS, passwords, helpers) and a containerd cluster that is only a context, for two developers; the table in bench/results/registry.md (15 minutes)
	@$(BIN)/python -m bench.registry

more: setup ## Tests of the core path that are too long for `make test`: local forward, refused origins, neighbours (8 minutes)
	@$(PYTEST) -q --cluster tests/e2e/forward.py tests/e2e/origins.py tests/e2e/neighbours.py

topologies: setup ## Every spec under topologies/ from nothing to proven URLs and back, and as many at once as fit; a table
	@$(BIN)/python -m bench.topologies --everything

addons: setup ## The tests on the cluster that need addons: load balancer, Ingress, autoscaler, NetworkPolicies (ten minutes and more to build them, once)
	@$(PYTEST) -q --cluster --addons tests/addons tests/topologies/test_004_cluster.py tests/topologies/test_004_policies.py

clean: ## Remove .venv and caches of this checkout (no cluster, no user data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
