# The commands of this project; `make` alone lists them. What each does is in scripts/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# They are written when an installation is complete, so that `make setup` does nothing twice.
PYTHON_READY := $(VENV)/ready
BENCH_READY := .venv-bench/ready
NODE_READY := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup generate check-generated lint format typecheck mock serve demo flow test check test-all package bench fuzz \
  audit torture constraints clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(PYTHON_READY) $(NODE_READY) ## build .venv and node_modules (needs Python >= 3.11, Node >= 20)

$(PYTHON_READY): EXTRAS := runner,cli,cluster,flow,dev
$(BENCH_READY): EXTRAS := runner,cli,cluster,flow,dev,bench
$(PYTHON_READY) $(BENCH_READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): run 'make PYTHON=python3.12'" >&2; exit 1; }
	@echo "Installing into $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

$(NODE_READY): package.json package-lock.json
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || { \
	  echo "Node 20 or newer is needed (for Prism and Spectral): https://nodejs.org" >&2; exit 1; }
	@echo "Installing into node_modules ..."
	@npm ci --silent --no-audit --no-fund
	@touch $@

generate: setup ## generate generated_client/ from openapi/script-runner.yaml
	@$(PY) -m scripts.generate

check-generated: setup ## fail if generated_client/ is not what the description generates
	@$(PY) -m scripts.generate --check

DESCRIPTIONS := $(filter-out openapi/generator.yaml,$(wildcard openapi/*.yaml))
lint: setup ## check the code, the dependencies, and the descriptions with their examples
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
# Everything imported is declared and used. The product imports nothing of the development but, for its type, the
# context that OOMOL hands a block.
	@$(BIN)/deptry . --no-ansi
	@$(BIN)/deptry generated_client script_runner blocks local_runner --no-ansi --ignore DEP002 --per-rule-ignores DEP004=oocana \
	  --optional-dependencies-dev-groups flow,dev,bench
	@$(BIN)/openapi-spec-validator $(DESCRIPTIONS)
	@node_modules/.bin/spectral lint $(DESCRIPTIONS) --ruleset openapi/.spectral.yaml --fail-severity=hint

format: setup ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

typecheck: setup ## check the types (mypy --strict)
	@$(BIN)/mypy generated_client local_runner script_runner scripts benchmarks tests
# A block's folder is not named as a package must be, so mypy is handed its text.
	@for block in blocks/*/__init__.py; do \
	  $(BIN)/mypy --no-error-summary -c "$$(cat $$block)" || { echo "in $$block" >&2; exit 1; }; done

mock: setup ## serve a Prism mock of the API (PORT=4010)
	@$(PY) -m scripts.mock $(if $(PORT),--port $(PORT))

serve: setup ## serve examples/ with the local runner (PORT=3000)
	@$(BIN)/local-runner start --config examples/config.json $(if $(PORT),--port $(PORT))

demo: setup ## run flow-1 on the OOMOL executor against the local runner
	@$(PY) -m scripts.demo

FLOW ?= flows/flow-1
URL ?= http://localhost:3000
flow: setup ## run any flow against any script-runner (FLOW=flows/flow-1 URL=http://localhost:3000)
	@$(PY) -m scripts.flow.cli $(FLOW) --url $(URL)

# A test waits most of its time, so that more of them than there are cores do not disturb each other.
PYTEST := $(BIN)/pytest --numprocesses=3 --dist=loadfile
test: setup ## run the tests but for the slow ones
	@$(PYTEST) --ignore=tests/slow

test-all: setup ## run all tests
	@$(PYTEST)

check: lint typecheck check-generated test-all ## all that CI checks

package: setup ## make the OOMOL package, the wheel and the sdist in dist/
	@$(PY) -m scripts.package

bench: $(BENCH_READY) ## measure, and write docs/benchmarks.md (FULL=1 for all sizes)
	@.venv-bench/bin/python -m benchmarks $(if $(FULL),--full)

fuzz: setup ## fuzz the blocks and the local runner (SECONDS=600 each)
	@$(PY) -m scripts.fuzz --seconds $(or $(SECONDS),600)

audit: setup ## check what is installed and pinned: does it fit together, has it known vulnerabilities
	@$(BIN)/pip check
	@$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

torture: setup ## kill the local runner under load, again and again (KILLS=50)
	@$(PY) -m scripts.torture --kills $(or $(KILLS),50)

constraints: ## write constraints.txt anew from what is newest today
	@rm -rf .constraints-venv && $(PYTHON) -m venv .constraints-venv
	@.constraints-venv/bin/pip install --quiet --upgrade-strategy eager '.[runner,cli,cluster,flow,dev,bench]'
	@.constraints-venv/bin/pip freeze --exclude script-runner-proxy > constraints.txt
	@rm -rf .constraints-venv

clean: ## delete what setup and the tools made
	@rm -rf $(VENV) .venv-bench node_modules dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
