# What there is to do: make help.

# The same compiler flags as for Kubernetes (internal/kubebuild), so that the packages that both need are
# compiled once. No debug information: build by hand with "go build ./cmd/paictl" to use a debugger.
GOBUILD = CGO_ENABLED=0 go build -trimpath -gcflags=all=-dwarf=false
NAME ?= default
UPFLAGS ?=
PACKAGES = go list ./... | grep -v /test/system

.PHONY: help build up down tour status kubernetes test unit system soak bench lint fmt

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

test: lint kubernetes unit system ## everything that CI runs

unit: ## unit, integration and browser tests, with the race detector
	hack/install-packages gcc libc6-dev chromium
	PAI_TEST_ALL=1 go test -race $$($(PACKAGES))
	cd cmd/object-mount && PAI_TEST_ALL=1 go test -race ./...

system: build ## the tour and its faults on real clusters (root)
	cd cmd/object-mount && $(GOBUILD) -buildvcs=false -ldflags "-s -w" -o ../../bin/ ./s3server
	PAI_TEST_ALL=1 go test -count=1 -timeout 60m -v ./test/system

soak: build kubernetes ## the long repetitions: servers that are killed, and the system tests
	cd cmd/object-mount && $(GOBUILD) -buildvcs=false -ldflags "-s -w" -o ../../bin/ ./s3server
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 30m -v -run Killed ./internal/daemon
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 180m -v ./test/system

bench: build kubernetes ## Go benchmarks, then the REST server as a whole program (BENCHFLAGS="-output json")
	go test -run '^$$' -bench . -benchmem $$($(PACKAGES))
	go test -count=1 -timeout 60m -v ./test/bench -args -users 10000 -fewer 1000 -groups 1000 -storages 2000 -rounds 5 -turn 3s -jobs 10000 -matrix-nodes 1000 -matrix-storages 200 -matrix-steady 6m -matrix-kwok $(BENCHFLAGS)
	cd cmd/object-mount && PAI_BENCH=1 go test -count=1 -v -run TestSpeed . # mounts of object stores beside the library that they are made of (root)
	PAI_TEST_ALL=1 PAI_SOAK=1 go test -count=1 -timeout 60m -v -run 'TestWaitingJobsExplainThemselves/(start|storage_manager/speed)' ./test/system # from submission to running; file servers (root)

lint: ## formatting, vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not formatted (make fmt): $$bad"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	staticcheck=$$(go tool -n staticcheck) && cd cmd/object-mount && go vet ./... && "$$staticcheck" ./...

fmt: ## format the sources
	gofmt -w $$(git ls-files '*.go')
