# The developer's entry. Everything downloaded or built once goes to the cache
# (VFIOBOOT_CACHE, by default ~/.cache/vfioboot), never into the checkout.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help python wheel board book book-check pictures newcomers schemas judge fragment setup try test lint unit e2e bench evidence ranges closure exports fuzz fuzz-kernel mutants dist release release-check reproducible portable runtime lab clean prepare e2e-full

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install missing programs, or list them
	@scripts/setup.sh all

try: ## build both programs as fast as can be, and show them on the sample image
	@scripts/setup.sh build
	@scripts/try.sh

test: ## run everything that CI runs
	@scripts/setup.sh all
	@# build what the boots need while the compiler checks; both end before anything boots
	@$(MAKE) --no-print-directory -j2 prepare lint
	@$(MAKE) --no-print-directory bench BENCH=--short
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory schemas book-check python
	@scripts/counts.sh

lint: ## check formatting, clippy, docs, layers, licences of dependencies, shellcheck, ruff, mypy
	@scripts/lint.sh

unit: ## run cargo's tests
	@scripts/unit.sh

board: dist ## make the emulated board of the tutorial in target/board
	@python3 lab/board make target/board

book: dist ## write the generated pages of docs/book, check it, and build it with mdBook into target/book
	@scripts/book.sh build

book-check: dist ## check links, examples and generated pages of docs/book, without mdBook
	@scripts/book.sh check

pictures: dist ## make the pictures of README and book by the programs
	@python3 -B scripts/pictures.py dist/vfioboot docs/book/src/pictures

newcomers: ## play first steps in empty Debian roots: with the files of `make release`, and the README from a clone
	@for system in "bookworm amd64" "trixie amd64" "trixie arm64"; do \
	    for kind in archive deb; do lab/newcomers/play.sh $$kind $$system || exit; done; done
	@lab/newcomers/play.sh source bookworm amd64

schemas: dist ## validate the output of every --json with docs/schema
	@"$$(scripts/python-tools.sh)/python" scripts/judge_schemas.py dist/vfioboot dist/vfiorun-$$(uname -m)

e2e: dist ## boot the cases of CI on an emulated device; E2E='--only PATTERN' for some, E2E=--list for names
	@mkdir -p target
	@set -o pipefail; python3 lab/e2e.py $(E2E) | tee target/e2e.log; \
	    status=$$?; tail -n 1 target/e2e.log > target/e2e.count; exit $$status

e2e-full: ## boot all cases, and validate with the kernel's Kconfig and the schemas of reports
	@$(MAKE) --no-print-directory e2e E2E='--all $(E2E)'
	@$(MAKE) --no-print-directory fragment judge wheel

python: dist ## build the Python package and test it
	@scripts/python-package.sh

wheel: dist ## build the wheel of the Python package, install it, and test that
	@scripts/python-package.sh --wheel

fragment: dist ## merge the output of `check --fragment` into failing configs with the kernel's own scripts
	@lab/fragment.sh

bench: dist ## compare time and memory with the unavoidable work; BENCH=--short is what CI runs
	@benches/run $(BENCH)

judge: dist ## validate the audit's reports with the schemas of SARIF, JUnit and vfioboot and in a browser, guests with libvirt's, and ask AVBTOOL= about AVB
	@scripts/judge-reports.sh
	@python3 -B scripts/judge_pages.py dist/vfioboot $(wildcard target/book)
	@scripts/judge-libvirt.sh
	@scripts/judge-avb.sh

evidence: ## measure the evidence in symbol tables: precision and recall over kernels with a known config
	@scripts/evidence.sh

ranges: ## compare the versions and tables of the rules with Debian's kernels; RANGES='--git ../linux' for more
	@scripts/ranges.sh $(RANGES)

closure: ## compare module dependencies with kmod, for every module of Debian's arm64 kernel
	@scripts/closure.sh

exports: ## compare the exported symbols of Debian's kernels with their Module.symvers
	@scripts/exports.sh

fuzz: ## run the fuzzers of the parsers; HOURS=n for longer
	@fuzz/run

fuzz-kernel: ## compare the bootconfig, command lines and ramdisks with the kernel's own code
	@scripts/fuzz-kernel.sh

mutants: ## change the code of MODULE= in small ways and count what the tests notice
	@scripts/mutants.sh $(MODULE)

dist: runtime ## build the programs: dist/vfioboot, dist/vfiorun-aarch64, dist/vfiorun-x86_64
	@scripts/release.sh --bin vfioboot
	@cmp -s target/release/vfioboot dist/vfioboot || install -m 755 target/release/vfioboot dist/vfioboot

release: ## build everything that a release publishes, in target/release-files/
	@scripts/setup.sh all
	@scripts/release-files.sh

release-check: ## test the files of `make release`: both architectures, the crate installed from elsewhere
	@scripts/release-check.sh

reproducible: ## make the release in two places, and compare every byte
	@scripts/setup.sh all
	@scripts/reproducible.sh

portable: ## check that vfioboot compiles for macOS and Windows
	@scripts/portable.sh

runtime:
	@scripts/build-runtime.sh

# the lab's kernels and tools, into the cache
lab:
	@lab/kernel/build.sh > /dev/null
	@lab/tools.sh > /dev/null

prepare: lab dist

clean: ## remove build output in the checkout; the cache is kept
	@rm -rf target dist
