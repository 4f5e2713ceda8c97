# Targets for working on this repository. Any POSIX make runs them.

CARGO = cargo
# Arguments for the demo: make demo DEMO="--help"
DEMO =
# Arguments for the tests: make test TESTS="create_"
TESTS =
# The versions of PostgreSQL for test-matrix: make test-matrix MAJORS="14 18"
MAJORS = 14 15 16 17 18

# Tests wait for the server most of the time: 4 of them run at a time, also on 2 processors.
THREADS = RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4}
# Not --all-targets, which includes the benchmark and excludes the examples of the documentation.
TARGETS = --workspace --locked --lib --bins --tests

.PHONY: help setup build demo test test-long test-exhaustive test-web test-build test-matrix bench check bundled clean

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.* ## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

setup: ## install missing libpq and PostgreSQL packages with the system's package manager
	@scripts/setup

build: ## build target/release/tenantry (requires libpq: make setup)
	$(CARGO) build --release --locked

# A debug build: the time is spent in the database, and it builds in half the time. The build is a separate step so that
# cargo shows its progress and the output of the demo stands alone.
demo: setup ## show all features on a private server, which is removed afterwards
	$(CARGO) build --locked
	@$(CARGO) run --locked --quiet -- demo $(DEMO)

# The tests run the examples as programs.
test-build:
	@scripts/setup --test
	$(CARGO) build --workspace --locked --examples

test: test-build ## run the tests, except the long ones (installs PostgreSQL, PgBouncer and openssl)
	$(THREADS) $(CARGO) test $(TARGETS) -- $(TESTS)
	$(CARGO) test --workspace --locked --doc -- $(TESTS)

test-long: test-build ## run the long tests: faults at many steps, large fleets, mutations
	$(THREADS) $(CARGO) test $(TARGETS) -- --ignored $(TESTS)

# Up to an hour: what test-long checks for every so many-th item of a list, this checks for all.
test-exhaustive: test-build ## run the long tests with every fault, mutation and generated case
	TENANTRY_EXHAUSTIVE=1 $(THREADS) $(CARGO) test $(TARGETS) -- --ignored $(TESTS)

# A separate package, as an application is: the library without default features, with axum and diesel-async.
# CI has it share the target folder: packages with the same features are built once.
WEB_TARGET = target/web
WEB = --manifest-path examples/web/Cargo.toml --target-dir $(WEB_TARGET) --locked
test-web: ## run the tests of the web application in examples/web
	@scripts/setup --test
	$(CARGO) fmt --manifest-path examples/web/Cargo.toml --check
	$(CARGO) clippy $(WEB) --all-targets -- -D warnings
	$(CARGO) test $(WEB)

test-matrix: ## run all tests against PostgreSQL 14 to 18, which are downloaded into target
	@scripts/setup --test
	@CARGO="$(CARGO)" scripts/test-matrix $(MAJORS) -- $(TESTS)

bench: setup ## measure how fast fleets are migrated and checked
	$(CARGO) bench --workspace --locked

# Only with the default features: `bundled` changes no code and builds OpenSSL.
check: ## check format, lints and documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --locked --no-deps

# In a separate target folder: in a shared one, each switch of the feature would rebuild half of the dependencies.
bundled: ## build target/bundled/release/tenantry, which requires only libc at run time
	@scripts/setup --bundled
	$(CARGO) build --release --locked --features bundled --target-dir target/bundled

clean: ## remove everything that was built
	$(CARGO) clean
