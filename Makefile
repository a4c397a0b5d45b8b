# make test      everything, on real servers; says what it builds and how long it takes
# make lint      layering and static checks
# make check-deploy  deploy/, by the tools that will read it
# make generate  the sample data
# make bench     the figures of docs/performance.md
# make fuzz      every fuzz target for FUZZTIME
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go
TIMEOUT ?= 30m
FUZZTIME ?= 10s
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sandyq
LINTER := $(CACHE)/golangci-lint-$(shell cat .ci/tools/go.mod .ci/tools/go.sum | sha256sum | cut -c1-16)

.PHONY: test lint check-deploy vault s3 postgres fips bench fuzz generate test-store

test: lint check-deploy vault s3
	@echo "==> the tests, on real Badger, real files, a real HashiCorp Vault server and a real S3 server"
	SANDYQ_REQUIRE_SERVERS=1 $(GO) test -timeout $(TIMEOUT) ./vault ./cmd/sandyq/endtoend ./... # the longest first
	@$(MAKE) --no-print-directory postgres fips

# A HashiCorp Vault server: an installed one, or one built once from its pinned module into the cache.
vault:
	@$(GO) run ./crypto/kms/hashicorp/vaultserver/ensure >/dev/null

# An S3 server, likewise.
s3:
	@$(GO) run ./vault/blob/s3server/ensure >/dev/null

# What rests on the store's promises most, which runs on Badger by default.
ON_POSTGRES := ^Test(LikeTheModel|NothingIsDisclosedInAStorm|ErasuresOfSlicesInAStorm|ABlockIsFeltOnEveryNodeBeforeItsAnswer|AStoppedLeaderIsFollowed|AStoppedNodeGivesNothingOut|OfTwoTriesOneComesToSomething|TriesOverMidnightAreOfOneCall|NodesAreOneVault|TheStoreIsTakenOnWhenEveryNodeCan|BlockSuspendsReadingAndDestruction|TokensForDataAndBack|StolenTokenIsStoppedAtItsBudget)$$

postgres:
	@echo "==> the domain again, on PostgreSQL"
	SANDYQ_TEST_STORE=postgres SANDYQ_REQUIRE_SERVERS=1 $(GO) test -count=1 -run '$(ON_POSTGRES)' ./vault

# What uses every primitive once more: values, documents, the index, backup and restore, erasure with its certificate, HashiCorp Vault.
FIPS := ^Test(LikeTheModel|TokensForDataAndBack|DocumentRanges|RotateIndex|CertificateOfSlices|ADrillPasses|ErasureInHashiCorpVault)

fips:
	@echo "==> the formats and what is made of them again, under FIPS 140-3 mode"
	GODEBUG=fips140=on $(GO) test -count=1 ./crypto/secret ./crypto/envelope ./crypto/document ./crypto/blind ./crypto/kms/local ./vault/id ./vault/token
	GODEBUG=fips140=on SANDYQ_REQUIRE_SERVERS=1 $(GO) test -count=1 -run '$(FIPS)' ./vault

lint: $(LINTER)
	@echo "==> layering and static checks"
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	$(LINTER) run

$(LINTER):
	@echo "==> building the linter once, into $(CACHE) (several minutes)"
	@mkdir -p $(CACHE)
	cd .ci/tools && $(GO) build -o $@.part github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv $@.part $@

# A module of its own holds Compose's loader, Helm's engine and the types of Kubernetes. -count: go does not see that files of another
# module have changed.
check-deploy:
	@echo "==> deploy/, by the tools that will read it (a minute or more where they are built for the first time)"
	cd .ci/deploy && SANDYQ_REQUIRE_SERVERS=1 $(GO) test -count=1 ./...

bench:
	$(GO) test -run "^$$" -bench . -benchtime 2s ./vault/store/badgerdb ./vault ./cmd/sandyq/endtoend

# The conformance suite of stores on the server of a DSN, in databases that it makes and drops:
# make test-store DSN=postgres://USER:PASSWORD@HOST/postgres
test-store:
	@[ -n "$(DSN)" ] || { echo "say where: make test-store DSN=postgres://…"; exit 2; }
	@SANDYQ_TEST_DSN="$(DSN)" $(GO) test -count=1 -run Conformance ./vault/store/postgres

fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "==> $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p; \
	  done; \
	done

generate:
	$(GO) generate ./...
