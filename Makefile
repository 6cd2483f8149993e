# The developer's entry. Everything downloaded or built once goes to the cache
# (VFIOBOOT_CACHE, by default ~/.cache/vfioboot), never into the checkout.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help judge fragment setup try test lint unit e2e bench evidence closure exports fuzz dist runtime lab clean prepare e2e-full

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing programs, or name them
	@scripts/setup.sh all

try: ## build both programs and show them on the sample image
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory dist
	@scripts/try.sh

test: ## everything that CI runs
	@scripts/setup.sh all
	@# build what the boots need while the compiler checks; both end before anything boots
	@$(MAKE) --no-print-directory -j2 prepare lint
	@$(MAKE) --no-print-directory bench BENCH=--short
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory e2e
	@scripts/counts.sh

lint: ## formatting, clippy, docs, layers, licences of dependencies, shellcheck, ruff, mypy
	@scripts/lint.sh

unit: ## cargo's tests
	@scripts/unit.sh

e2e: dist ## boot on an emulated device what CI boots; E2E='--only PATTERN' for some, E2E=--list for names
	@mkdir -p target
	@set -o pipefail; python3 lab/e2e.py $(E2E) | tee target/e2e.log; \
	    status=$$?; tail -n 1 target/e2e.log > target/e2e.count; exit $$status

e2e-full: ## the same with every case there is, and the slower judges: the kernel's Kconfig, the schemas of reports
	@$(MAKE) --no-print-directory e2e E2E='--all $(E2E)'
	@$(MAKE) --no-print-directory fragment judge

fragment: dist ## what `check --fragment` writes, merged by the kernel's own scripts into configs that fail
	@lab/fragment.sh

bench: dist ## time and memory against the work that cannot be avoided; BENCH=--short is what CI runs
	@benches/run $(BENCH)

judge: dist ## reports of the audit against the schemas of SARIF, JUnit and ours; guests for libvirt against its own
	@scripts/judge-reports.sh
	@scripts/judge-libvirt.sh

evidence: ## how well symbol tables tell a kernel's config: precision and recall over known kernels
	@scripts/evidence.sh

closure: ## what is loaded for a module: vfioboot against kmod, for every module of Debian's arm64 kernel
	@scripts/closure.sh

exports: ## the exported symbols read from Debian's kernels against their Module.symvers
	@scripts/exports.sh

fuzz: ## throw damaged input at the parsers
	@fuzz/run

dist: runtime ## the programs: dist/vfioboot, dist/vfiorun-aarch64, dist/vfiorun-x86_64
	@VFIOBOOT_RUNTIME_DIR='$(CURDIR)/dist' env -u MAKEFLAGS cargo build --quiet --release --locked --bin vfioboot
	@cmp -s target/release/vfioboot dist/vfioboot || install -m 755 target/release/vfioboot dist/vfioboot

runtime:
	@scripts/build-runtime.sh

# the lab's kernels and tools, into the cache
lab:
	@lab/kernel/build.sh > /dev/null
	@lab/tools.sh > /dev/null

prepare: lab dist

clean: ## remove what was built in the checkout; the cache stays
	@rm -rf target dist
