# Two commands do everything: `make run` and `make test`. Settings come from the environment; see config/settings.py.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
# Tests run on as many processes as there are cores; `make test JOBS=1 TESTS=tests/annotate` runs a part.
JOBS ?= auto
TESTS ?= tests
# Where the environment forbids compiled modules, each program that is started compiles torch's and transformers' anew:
# seconds that a run of the house or of the tests pays hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test bench bench-labeling chaos parity screenshots lint format css lock messages clean

run: .venv/run-ready
	@exec $(PY) manage.py serve

test: .venv/test-ready
	@$(PY) -m config.find_browser
	$(PY) -m pytest -n $(JOBS) --dist loadgroup $(TESTS)

lint: .venv/test-ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check --fail-level WARNING
	$(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null
	git ls-files 'templates/*.html' | xargs .venv/bin/djade --target-version 5.2 --check

format: .venv/test-ready
	.venv/bin/ruff check --fix-only -q .
	.venv/bin/ruff format -q .
	git ls-files 'templates/*.html' | xargs .venv/bin/djade --target-version 5.2 || true

# torch goes first and through pip, which also finds a build that lies on this machine's disk; the rest comes from the
# hashed lock, by uv because it is many times faster.
.venv/pip-ready: requirements/torch.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Plumbline needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making the virtual environment in .venv ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install -q --disable-pip-version-check -r requirements/torch.txt uv==0.13.8
	@touch $@

.venv/run-ready: .venv/pip-ready requirements/run.txt
	@echo "Installing pinned packages ..."
	@VIRTUAL_ENV=.venv .venv/bin/uv pip install -q --no-deps --require-hashes -r requirements/run.txt
	@touch $@

.venv/test-ready: .venv/run-ready requirements/test.txt
	@echo "Installing packages for tests ..."
	@VIRTUAL_ENV=.venv .venv/bin/uv pip install -q --no-deps --require-hashes -r requirements/test.txt
	@touch $@

# The engine's numbers against TRL's, and its cost against TRL's (see benchmarks/README.md; the latter takes an hour).
parity: .venv/test-ready
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.parity

bench: .venv/test-ready
	$(PY) -m benchmarks.run

# Two hundred labelers at once on SQLite and PostgreSQL, and the web server killed under them (an hour).
bench-labeling: .venv/test-ready
	$(PY) -m benchmarks.labeling

# Everything that dies is killed under real runs, on three set-ups with servers of their own (an hour; see benchmarks/chaos).
chaos: .venv/test-ready
	$(PY) -m benchmarks.chaos

# Photograph the pages of the whole loop for the README.
screenshots: .venv/test-ready
	@mkdir -p docs/loop
	SCREENSHOTS=docs/loop $(PY) -m pytest -n 0 tests/e2e/test_whole_loop.py

# Rebuild what is compiled or locked. None of these is needed to run or to test.
css:
	npm install --no-audit --no-fund && npm run -s css

lock: .venv/pip-ready
	for name in run test; do UV_FIND_LINKS="$$PIP_FIND_LINKS" .venv/bin/uv pip compile -q --python-version 3.11 \
	  --no-header --no-emit-package torch --generate-hashes requirements/$$name.in -o requirements/$$name.txt; done

messages:
	$(PY) manage.py makemessages -l ko --no-location --no-obsolete -i node_modules -i .venv -i data
	$(PY) manage.py compilemessages -l ko -i .venv

clean:
	rm -rf .venv node_modules
