# Two commands for everybody: `make demo` and `make test`. The rest is for daily work.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench lock clean
SHELL := /bin/sh

PY := .venv/bin/python
HOUSES := wire firmware gateway cloud tools hil_tests
# Browsers, the story and whole processes are left to `make test`.
QUICK := wire/tests firmware/tests gateway/tests cloud/tests tools/tests \
	--ignore=gateway/tests/test_gateway_process.py --ignore=cloud/tests/test_cloud_ingest.py

help:
	@echo "make demo          three units, two sites, one cloud, with its web page, until Ctrl-C"
	@echo "make demo ONCE=1   the same story to its end, without a browser; one JSON object on standard output"
	@echo "make test          everything: format, lint, types, imports, all tests"
	@echo "make check         the quick part of it, for daily work"
	@echo "make proof         what takes long: every power cut of the journal, 300 of the real image, figures, 10,000 signatures, faults by lot"
	@echo "make bench         measured figures as JSON"
	@echo "make image         the unit's image for the RP2040, from Debian's sources; image-dev: with a prompt on USB"
	@echo "make lock          resolve the dependencies anew into the lock files"
	@echo "make clean         remove everything that the other targets made"

# SENSOR_CSV=file feeds your own measured values; STATE=folder keeps the run's files somewhere else.
demo:
	@tools/setup.sh run
	@$(PY) -m hil_tests.story $(if $(ONCE),--once) $(if $(SENSOR_CSV),--sensor-csv '$(SENSOR_CSV)') $(if $(STATE),--state '$(STATE)')

test:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest -q -n 2 --dist loadgroup -m 'not image and not exhaustive' wire firmware gateway cloud tools
	$(PY) -m pytest -q -n 2 --dist loadgroup -m 'not image and not exhaustive' hil_tests
	@$(MAKE) --no-print-directory test-image

# The chip's emulator knows its own time only, so two of these tests beside each other are no matter. 5: none selected,
# which the run's last lines say aloud.
.PHONY: test-image
test-image:
	$(PY) -m pytest -q -n 2 -m 'image and not exhaustive' hil_tests firmware/tests || test $$? = 5

.PHONY: proof
proof:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory image image-dev image-host
	.venv/bin/cartrace bench power-cuts --json
	.venv/bin/cartrace bench image-cuts --json
	.venv/bin/cartrace bench unit --json
	CARTRACE_SOAK_RECORDS=10000 MICROPYTHON="$$($(PY) -m tools.board_image host --where)" \
		$(PY) -m pytest -q --bench unix hil_tests/tests/test_bench_thousands.py
	$(PY) -m pytest -q -n 2 -m exhaustive firmware/tests
	CARTRACE_FAULTS_S=300 $(PY) -m pytest -q hil_tests/tests/test_chain_random_faults.py

check:
	@tools/setup.sh check
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest -q -n 2 -m 'not browser and not story and not slow and not image and not exhaustive' $(QUICK)

.PHONY: lint
lint:
	$(PY) -m ruff format --check --quiet .
	$(PY) -m ruff check --quiet .
	$(PY) -m mypy $(HOUSES)
	PYTHONPATH=.:firmware .venv/bin/lint-imports

bench:
	@tools/setup.sh run
	@.venv/bin/cartrace bench all --json

# Built once for each state of the sources, into .cache/image.
.PHONY: image image-dev image-host
image:
	@tools/setup.sh image
	@$(PY) -m tools.board_image production

image-dev:
	@tools/setup.sh image
	@$(PY) -m tools.board_image development

# MicroPython for this machine with the image's own signer: tests of the C module run in it.
image-host:
	@tools/setup.sh image
	@$(PY) -m tools.board_image host

# --strip-extras and the --no-emit options keep the files free of anything that belongs to one machine.
COMPILE := .venv/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock:
	@tools/setup.sh check
	CUSTOM_COMPILE_COMMAND='make lock' $(COMPILE) --output-file requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND='make lock' $(COMPILE) --extra test --constraint requirements.lock --constraint requirements-assets.lock --output-file requirements-test.lock pyproject.toml

# README's screenshots, from the last test run.
.PHONY: pictures
pictures:
	$(PY) tools/readme_pictures.py

clean:
	rm -rf .venv .cache .state build dist test-report *.egg-info .mypy_cache .ruff_cache .hypothesis .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
