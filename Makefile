# Shorthand for the CMake presets; CMakePresets.json has them all.
PREFIX ?= /usr/local
VENV = .venv

.PHONY: all test install bench venv venv-llama clean

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

# llama.cpp, which is compiled here (10 minutes on 2 cores), for tools/compare_speed.py.
venv-llama: venv
	$(VENV)/bin/pip install --quiet --requirement tools/requirements-llama.txt

clean:
	cmake -E rm -rf build
