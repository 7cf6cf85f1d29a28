# What there is to do: make help.

# The compiler's flags are those of Kubernetes (internal/kubebuild) for everything, so that what programs, static analysis and tests have
# in common is compiled once, and from any directory. No debug information: build by hand with "go build ./cmd/paictl" to use a debugger.
# The race detector alone needs cgo.
export GOFLAGS := -trimpath -gcflags=all=-dwarf=false $(GOFLAGS)
export CGO_ENABLED := 0
COMPILER = GOGC=400
GOBUILD = $(COMPILER) go build
NAME ?= default
UPFLAGS ?=
CHECK = $(COMPILER) go run ./hack/check
PART = $(if $(PKG),-pkg $(PKG)) $(if $(RUN),-run '$(RUN)')
PROMISES = Killed|RealAPIServer|RBAC|Shutdown|Domain|Standalone
PACKAGES = go list ./... | grep -v /test/system

.PHONY: help build s3server up down tour status kubernetes test unit system soak bench lint fmt

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

build: ## the programs, into bin/
	@mkdir -p bin
	$(GOBUILD) -o bin/ ./cmd/...
	@ln -sf paictl bin/paictl.py # the name under which older guides have it
	$(GOBUILD) -buildvcs=false -o bin/ ./cmd/task-init ./cmd/storage-manager ./cmd/node-agent ./cmd/pai-mount # parts of the workers' image, which is made anew when they change
	cd cmd/object-mount && $(GOBUILD) -buildvcs=false -ldflags "-s -w" -o ../../bin/ . # a module of its own

up: build ## a local cluster with everything, then the tour (NAME=default UPFLAGS="--workers 2")
	bin/paictl up --name $(NAME) $(UPFLAGS)
	examples/tour/tour.sh $(NAME)

down: build ## stop it; what it stored is kept (bin/paictl down --purge deletes it)
	bin/paictl down --name $(NAME)

tour: build ## the tour once more
	examples/tour/tour.sh $(NAME)

status: build ## what runs, at which addresses
	bin/paictl status --name $(NAME)

kubernetes: build ## build what a cluster is made of, without starting one
	bin/paictl up --prepare

test: ## everything that CI runs, with a table at the end; a part: make test PKG=./internal/rest RUN=TestWho
	@$(CHECK) $(if $(PKG)$(RUN),unit $(PART),lint build kubernetes unit system)

unit: ## unit, integration and browser tests, with the race detector (PKG=./internal/rest RUN=TestWho)
	@$(CHECK) unit $(PART)

system: ## the tour and its faults on real clusters (root; RUN=TestSystem)
	@$(CHECK) build kubernetes system $(PART)

s3server:
	cd cmd/object-mount && $(GOBUILD) -buildvcs=false -ldflags "-s -w" -o ../../bin/ ./s3server

soak: build s3server kubernetes ## the long repetitions: servers that are killed, and the system tests
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 60m -v -p 1 -run '$(PROMISES)' ./internal/daemon ./internal/storagemanager ./internal/fileserver
	cd cmd/object-mount && PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 60m -v -run 'TestStores' .
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 180m -v ./test/system

bench: build kubernetes ## Go benchmarks, then the REST server as a whole program (BENCHFLAGS="-output json")
	go test -run '^$$' -bench . -benchmem $$($(PACKAGES))
	go test -count=1 -timeout 60m -v ./test/bench -args -users 10000 -fewer 1000 -groups 1000 -storages 2000 -rounds 5 -turn 3s -jobs 10000 -matrix-nodes 1000 -matrix-storages 200 -matrix-steady 6m -matrix-kwok $(BENCHFLAGS)
	cd cmd/object-mount && PAI_BENCH=1 go test -count=1 -v -run TestSpeed . # mounts of object stores beside the library that they are made of (root)
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 60m -v -run 'TestWaitingJobsExplainThemselves/(start|storage_manager/speed)' ./test/system # from submission to running; file servers (root)

lint: ## formatting, vet, staticcheck
	@$(CHECK) lint

fmt: ## format the sources
	gofmt -w $$(git ls-files '*.go')
