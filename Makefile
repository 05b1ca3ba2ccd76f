# Shorthand for the CMake presets; CMakePresets.json has them all.
PREFIX ?= /usr/local
VENV = .venv

.PHONY: all test install bench venv clean

all:
	cmake --preset release
	cmake --build --preset release

test:
	./test

install: all
	cmake --install build/release --prefix $(PREFIX)

bench:
	cmake --preset bench
	cmake --build --preset bench

# mlx-lm and friends, for the parity test against other people's software and for the scripts in tools/.
venv:
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement tools/requirements.txt

clean:
	cmake -E rm -rf build
