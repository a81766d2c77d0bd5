# Everything longer than a line is a script in .ci/.
#
# CARGO_TARGET_DIR        where Cargo builds (default: target/)
# MEMOD_BUILD_CACHE       what is built once per machine (default: ~/.cache/memod-build)
# CYCLES                  cycles of each store in `make torture` (default: 100)
# OUT                     where `make deb` puts the package (default: target/)
# FAST, FULL              FAST=1 is a short `make compare`, FULL=1 one with values of 256 MiB
# BENCH, PUBLISH          figures of `make bench` for the comparison; PUBLISH=1 brings it into README
# PREFIX, DESTDIR         for `make install` (default: /usr/local, and no staging folder)

PREFIX ?= /usr/local
export PREFIX DESTDIR OUT

.DEFAULT_GOAL := help
.PHONY: help setup demo test torture check bench compare fmt release install deb clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile \
	  | while IFS='|' read -r target text; do printf '  make %-9s %s\n' "$$target" "$$text"; done

setup: ## Install what is missing here and compile RocksDB once for this machine
	@bash .ci/setup

demo: ## Show what memod does: the Flyte guide's task, a slow command, the time saved
	@bash .ci/setup build demo
	@bash .ci/demo

test: ## Run every test
	@bash .ci/setup build test
	@bash .ci/test

torture: ## Kill daemons in CYCLES cycles, at random and at every failpoint, and read what is left
	@bash .ci/setup build
	@CYCLES=$(CYCLES) bash .ci/torture

check: ## Formatting, clippy, documentation, tidy rules, units, scripts
	@bash .ci/setup build check
	@bash .ci/check

bench: ## Run the benchmarks in release
	@bash .ci/setup build
	@bash .ci/bench

compare: ## Run the same work against memod and its rivals, which it installs (FAST=1: a short run)
	@bash .ci/setup build test
	@FAST=$(FAST) FULL=$(FULL) BENCH=$(BENCH) PUBLISH=$(PUBLISH) bash .ci/compare

fmt: ## Format the sources
	@cargo fmt --all

release: ## Build the release programs
	@bash .ci/setup build
	@bash -c '. .ci/common.sh && use_rocksdb && build_binaries --release'

install: ## Install programs, units, manual pages and completions (PREFIX, DESTDIR)
	@bash .ci/install

deb: ## Build a Debian package into target/ (OUT=folder puts it elsewhere)
	@bash .ci/deb

clean: ## Remove what Cargo built here; RocksDB stays in the machine's cache
	@cargo clean
