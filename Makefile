# The commands of a developer. Needs python3.11+, venv and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help run test e2e screenshots check format lock faults bench audit sbom clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: .venv/run.stamp ## the demo: a sandbox COC, the adapter, sample webhooks, a table of what arrived
	$(BIN)/coc-adapter demo

test: .venv/test.stamp ## all tests; those that need Debian parts skip with a reason unless REQUIRE_ALL=1
	$(BIN)/pytest -n 2 --dist loadfile --ignore=tests/e2e $(PYTEST_ARGS)

e2e: .venv/e2e.stamp ## the console in Chromium (Debian's): stories, accessibility, widths, themes
	$(BIN)/pytest tests/e2e $(PYTEST_ARGS)

screenshots: .venv/e2e.stamp ## pictures of the console with the demo's data, into docs/images
	$(BIN)/python -m tests.e2e.screenshots docs/images

check: .venv/test.stamp ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/test.stamp ## format the sources and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/build.stamp ## resolve requirements/*.in again, locked by hash, without host names
	$(COMPILE) $(LOCK_ARGS) requirements/build.in -o requirements/build.txt
	$(COMPILE) $(LOCK_ARGS) requirements/run.in -o requirements/run.txt
	$(COMPILE) $(LOCK_ARGS) requirements/test.in -o requirements/test.txt
	$(COMPILE) $(LOCK_ARGS) requirements/e2e.in -o requirements/e2e.txt

faults: .venv/test.stamp ## the fault catalogue in full counts: ONLY=7 for one row
	$(BIN)/python -m tests.faults

bench: .venv/test.stamp ## measure speed and memory: ONLY=B3 for one case, WRITE=1 to write the table into docs/performance.md
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(WRITE),--write) $(BENCH_ARGS)

audit: .venv/test.stamp ## known vulnerabilities of the dependencies; AUDIT_STRICT=1 fails if some could not be looked up
	$(BIN)/python .ci/audit.py requirements/run.txt

sbom: .venv/test.stamp ## the bill of materials, as CycloneDX JSON on standard output
	@$(BIN)/python .ci/sbom.py requirements/run.txt

clean: ## remove the environment
	rm -rf .venv

.venv/build.stamp: requirements/build.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	touch $@

.venv/run.stamp: .venv/build.stamp requirements/run.txt pyproject.toml
	$(BIN)/uv pip install -q --compile-bytecode --require-hashes -r requirements/run.txt
	$(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q adapter
	touch $@

.venv/e2e.stamp: .venv/test.stamp requirements/e2e.txt
	$(BIN)/uv pip install -q --require-hashes -r requirements/e2e.txt
	touch $@

.venv/test.stamp: .venv/run.stamp requirements/test.txt
	$(BIN)/uv pip install -q --require-hashes -r requirements/test.txt
	touch $@
