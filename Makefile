# Short names for what one does with this repository. Nothing here needs GNU make.

CARGO = cargo
# More arguments for the demo: make demo DEMO="--help"
DEMO =
# More arguments for the tests: make test TESTS="create_"
TESTS =
# The versions of PostgreSQL for test-matrix: make test-matrix MAJORS="14 18"
MAJORS = 14 15 16 17 18

.PHONY: help setup build demo test test-web test-matrix bench check bundled clean

help: ## list these targets
	@awk -F ': .*## ' '/^[a-z-]+:.* ## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing of libpq and PostgreSQL, with the system's package manager
	@scripts/setup

build: ## build target/release/tenantry (needs libpq: make setup)
	$(CARGO) build --release --locked

# Unoptimised: the time goes into the database, and this builds in half the time. The build is a step of its own so that
# its progress is seen, and what the demo prints stands alone.
demo: setup ## show the commands on a private server, which is removed afterwards
	$(CARGO) build --locked
	@$(CARGO) run --locked --quiet -- demo $(DEMO)

# The targets are listed because --all-targets would run the benchmark, too, and leave out the documentation's examples.
# The examples are built before, as programs: the tests run them.
test: ## run all tests (installs what they use: PostgreSQL, PgBouncer, openssl)
	@scripts/setup --test
	$(CARGO) build --workspace --locked --examples
	$(CARGO) test --workspace --locked --lib --bins --tests -- $(TESTS)
	$(CARGO) test --workspace --locked --doc -- $(TESTS)

# A package of its own, as an application's is: the library without default features, with axum and diesel-async.
WEB = --manifest-path examples/web/Cargo.toml --target-dir target/web --locked
test-web: ## run the tests of the web application in examples/web
	@scripts/setup --test
	$(CARGO) fmt --manifest-path examples/web/Cargo.toml --check
	$(CARGO) clippy $(WEB) --all-targets -- -D warnings
	$(CARGO) test $(WEB)

test-matrix: ## run the tests against PostgreSQL 14 to 18, which it fetches into target
	@scripts/setup --test
	@CARGO="$(CARGO)" scripts/test-matrix $(MAJORS) -- $(TESTS)

bench: setup ## measure how fast fleets are migrated and checked
	$(CARGO) bench --workspace --locked

# Only the default features: `bundled` changes no line of the code, and would build OpenSSL first.
check: ## what a change must pass besides the tests: format, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --locked --no-deps

# A folder of its own: sharing one, each switch of the feature would build half of the dependencies again.
bundled: ## build target/bundled/release/tenantry, which needs only libc where it runs
	@scripts/setup --bundled
	$(CARGO) build --release --locked --features bundled --target-dir target/bundled

clean: ## remove all that was built
	$(CARGO) clean
