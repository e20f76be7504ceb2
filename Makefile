# The commands of this project; `make` alone lists them. What each does is in scripts/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# They are written when an installation is complete, so that nothing is installed twice. `make demo` needs the first only.
DEMO_READY := $(VENV)/demo-ready
PYTHON_READY := $(VENV)/ready
BENCH_READY := .venv-bench/ready
NODE_READY := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup generate check-generated lint format typecheck mock serve demo screenshot flow test check test-all package bench fuzz \
  audit torture cluster-demo cluster-torture constraints clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(PYTHON_READY) $(NODE_READY) ## build .venv and node_modules (needs Python >= 3.11, Node >= 20)

# Each process would compile all that it imports; containers often set it.
unexport PYTHONDONTWRITEBYTECODE

# pip is heard only if it fails. What is never imported need not be compiled.
PIP_INSTALL = @$(@D)/bin/pip install --no-compile --disable-pip-version-check --constraint constraints.txt \
  --editable '.[$(EXTRAS)]' > $(@D)/install.log 2>&1 || { cat $(@D)/install.log >&2; exit 1; }

$(DEMO_READY) $(BENCH_READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2> /dev/null || echo not there):" \
	    "name a newer one, such as make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing $(WHAT) into $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	$(PIP_INSTALL)
	@touch $@

$(PYTHON_READY): $(DEMO_READY)
	@echo "Installing $(WHAT) into $(@D) ..."
	$(PIP_INSTALL)
	@touch $@

$(DEMO_READY): WHAT := the local runner, scriptctl and the OOMOL executor
$(DEMO_READY): EXTRAS := runner,cli,flow
$(PYTHON_READY): WHAT := what generates, checks and tests
$(PYTHON_READY): EXTRAS := runner,cli,cluster,flow,dev
$(BENCH_READY): WHAT := what is measured and what draws the pictures
$(BENCH_READY): EXTRAS := runner,cli,cluster,flow,dev,bench

$(NODE_READY): package.json package-lock.json
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2> /dev/null || { \
	  echo "Node 20 or newer is needed (for Prism and Spectral): https://nodejs.org" >&2; exit 1; }
	@echo "Installing Prism and Spectral into $(@D) ..."
	@npm ci --silent --no-audit --no-fund
	@touch $@

generate: $(PYTHON_READY) ## generate generated_client/ and the runner's openapi.json from the specs in openapi/
	@$(PY) -m scripts.generate

check-generated: $(PYTHON_READY) ## fail if they are not what the specs generate
	@$(PY) -m scripts.generate --check

SPECS := $(filter-out openapi/generator.yaml,$(wildcard openapi/*.yaml))
lint: setup ## check the code, the dependencies, and the specs with their examples
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
# Everything imported is declared and used. The product imports nothing of the development but, for its type, the
# context that OOMOL hands a block.
	@$(BIN)/deptry . --no-ansi
	@$(BIN)/deptry generated_client script_runner blocks local_runner --no-ansi --ignore DEP002 --per-rule-ignores DEP004=oocana \
	  --optional-dependencies-dev-groups flow,dev,bench
	@$(BIN)/openapi-spec-validator $(SPECS)
	@node_modules/.bin/spectral lint $(SPECS) --ruleset openapi/.spectral.yaml --fail-severity=hint

format: $(PYTHON_READY) ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

typecheck: $(PYTHON_READY) ## check the types (mypy --strict)
	@$(BIN)/mypy generated_client local_runner script_runner scripts benchmarks tests
# A block's folder is not named as a package must be, so mypy is handed its code.
	@for block in blocks/*/__init__.py; do \
	  $(BIN)/mypy --no-error-summary -c "$$(cat $$block)" || { echo "in $$block" >&2; exit 1; }; done

mock: setup ## serve a Prism mock of the API (PORT=4010)
	@$(PY) -m scripts.mock $(if $(PORT),--port $(PORT))

serve: $(DEMO_READY) ## serve examples/ with the local runner (PORT=3000)
	@$(BIN)/local-runner start --config examples/config.json $(if $(PORT),--port $(PORT))

demo: $(DEMO_READY) ## run flow-1 on the OOMOL executor against the local runner
	@$(PY) -m scripts.demo

screenshot: setup ## write docs/page.png, a picture of the page of the local runner (needs chromium)
	@$(PY) -m scripts.screenshot

FLOW ?= flows/flow-1
flow: $(DEMO_READY) ## run any flow against any script-runner (FLOW=flows/flow-1 URL=...; without URL that of the flow)
	@$(PY) -m scripts.flow.cli $(FLOW) $(if $(URL),--url $(URL))

# A test waits most of its time, so that more of them than there are cores do not disturb each other.
PYTEST := $(BIN)/pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder
test: setup ## run the tests but for the slow ones
	@$(PYTEST) --ignore=tests/slow

test-all: setup ## run all tests
	@$(PYTEST)

check: lint typecheck check-generated test-all ## all that CI checks

package: $(PYTHON_READY) ## make the OOMOL package, openapi.json, the wheel and the sdist in dist/
	@$(PY) -m scripts.package

bench: $(BENCH_READY) ## measure, and write docs/benchmarks.md (FULL=1 for all sizes)
	@.venv-bench/bin/python -m benchmarks $(if $(FULL),--full)

fuzz: $(PYTHON_READY) ## fuzz the blocks and the local runner (SECONDS=600 each)
	@FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/pytest tests/slow/fuzz -vs -p no:logging -o faulthandler_timeout=0

audit: $(PYTHON_READY) ## check what is installed and pinned: does it fit together, has it known vulnerabilities
	@$(BIN)/pip check
	@! $(BIN)/pip freeze --exclude-editable | grep --invert-match --line-regexp --fixed-strings --file constraints.txt
	@$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

cluster-demo: $(PYTHON_READY) ## run flow-1 on a cluster on this machine, and kill an agent
	@$(PY) -m scripts.cluster_demo

cluster-torture: $(PYTHON_READY) ## random faults on a cluster under load (SECONDS=1800)
	@CLUSTER_TORTURE_SECONDS=$(or $(SECONDS),1800) $(BIN)/pytest -o faulthandler_timeout=0 tests/slow/cluster/test_torture.py -s

torture: $(PYTHON_READY) ## kill the local runner under load, again and again (KILLS=50)
	@TORTURE_KILLS=$(or $(KILLS),50) $(BIN)/pytest tests/slow/local_runner/test_kill.py -k whatever_the_moment -s -o faulthandler_timeout=0

constraints: ## write constraints.txt anew from what is newest today
	@rm -rf .constraints-venv && $(PYTHON) -m venv .constraints-venv
	@.constraints-venv/bin/pip install --quiet --upgrade-strategy eager '.[runner,cli,cluster,flow,dev,bench]'
	@.constraints-venv/bin/pip freeze --exclude script-runner-proxy > constraints.txt
	@rm -rf .constraints-venv

clean: ## delete what setup and the tools made
	@rm -rf $(VENV) .venv-bench node_modules dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
