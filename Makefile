# MS2M. The two commands are `make demo` and `make test`; both install what they
# need (Debian, root, Go). Everything built for the lab is cached in
# $MS2M_CACHE (default ~/.cache/ms2m), outside this tree.

# One setting for everything, so that modules share Go's build cache; static
# programs are also what images from scratch need.
export CGO_ENABLED = 0

bin     := $(CURDIR)/bin
modules := . sdk examples lab test/browser
version  = $(shell git describe --tags --always --dirty)
shim    := no_btrfs no_aufs no_zfs no_devmapper netgo osusergo
longest := ^Test(ConnectionLoss|Killed|StatefulSetTenTimes|Effects|BrokerRestart|FaultBroker|Reads|AgentKilled|DeleteInPhase)$$
inlab   := $(bin)/inlab -bin $(bin) $(if $(KEEP),-keep)
chart   := $(CURDIR)/charts/ms2m

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## move a live pod between two nodes of a real cluster (RUNS=n, KEEP=1)
	$(inlab) -- $(bin)/demo -chart $(chart) -runs $(or $(RUNS),1) $(if $(KEEP),-keep)

.PHONY: sample
sample: build ## deploy a service of samples/, move it under load, judge (SAMPLE=counter|exchange|dispatch, KEEP=1)
	$(inlab) -- $(bin)/sample -chart $(chart) -samples $(CURDIR)/samples $(if $(KEEP),-keep) $(or $(SAMPLE),exchange)

.PHONY: test
test: lint scripts vuln sbom unit monitoring fuzz model broker integration lab-test images browser e2e eval-check ## everything: linters, scripts, vulnerabilities, unit, fuzz, model, broker, envtest, lab, images, browser, end to end, ratios of times

.PHONY: lint
lint: generated tidy ## linters, formatting, generated files and modules up to date
	cd tools/lint && go build -o $(bin)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	for m in $(modules); do (cd $$m && go vet ./... && $(bin)/golangci-lint run --allow-serial-runners --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: generate
generate: ## generate deepcopy functions, CRDs, RBAC, mocks, the manifests of the chart and the API reference
	hack/generate.sh

.PHONY: generated
generated: generate
	@git diff --exit-code -- api charts config docs/reference.md docs/install.md internal || { echo "generated files are not up to date: commit what make generate made"; exit 1; }

.PHONY: states
states: ## draw docs/states.svg (needs Debian's graphviz; a test tells when it is stale)
	go run ./hack/states

.PHONY: scripts
scripts: ## shellcheck, and the scripts for clusters and images with stand-ins for what they call
	hack/need.sh shellcheck jq
	shellcheck $$(git grep -lIE '^#!.*[ /](ba)?sh$$')
	go test -count=1 ./test/scripts

.PHONY: site
site: ## the documentation as pages for a browser: site/index.html
	go run ./hack/site

.PHONY: tidy
tidy:
	for m in $(modules); do (cd $$m && go mod tidy -diff) || exit 1; done

.PHONY: unit
unit: ## unit and property tests, the simulations of the protocol, of the library and of the manager (CHECKS=n)
	go test $$(go list ./... | grep -v -e /internal/broker$$ -e /internal/conformance$$ -e /test/integration$$ -e /test/e2e$$ -e /test/images$$ -e /test/scripts$$ -e /monitoring$$)
	go test -run '^TestWhateverHappens$$' ./internal/migration -rapid.checks=$(or $(CHECKS),5000)
	go test -run '^TestWhateverHappens$$' ./internal/migration -rapid.checks=$(or $(CHECKS),5000) -late
	cd sdk && go test -timeout 30m ./handover/... ./internal/... ./ownerhttp/...
	cd sdk && go test -run '^TestSimulation' .
	cd examples && go test ./...

.PHONY: monitoring
monitoring: ## alerts, dashboard and runbooks, with Prometheus' own tool
	hack/need.sh promtool=prometheus
	go test -count=1 ./monitoring

.PHONY: fuzz
fuzz: ## what is read from others, fuzzed for a moment (FUZZTIME=10m each, FUZZ=pattern)
	hack/fuzz.sh

.PHONY: vuln
vuln: ## known vulnerabilities that are called, as of the day pinned in tools/vuln
	cd tools/vuln && go vet ./... && go test ./... && go run . $(modules:%=$(CURDIR)/%)

.PHONY: sbom
sbom: ## bills of materials (CycloneDX) of the programs, into dist/; the images have their own in /sbom.cdx.json
	cd tools/sbom && go vet ./... && go test ./... && go build -o $(bin)/sbom .
	go build -o $(bin)/ ./cmd/manager ./cmd/node-agent
	go build -tags '$(shim)' -o $(bin)/ ./cmd/containerd-shim-ms2m-v1
	mkdir -p dist
	$(bin)/sbom -name ms2m/manager -version $(version) $(bin)/manager >dist/manager.cdx.json
	$(bin)/sbom -name ms2m/node-agent -version $(version) $(bin)/node-agent $(bin)/containerd-shim-ms2m-v1 >dist/node-agent.cdx.json

.PHONY: model
model: ## the protocol explored by spin, the known faults found when put back (MODEL=pattern)
	hack/need.sh spin gcc
	docs/model/check.sh $(MODEL)

.PHONY: broker
broker: $(bin)/lab deps ## the library and the manager's client on a real RabbitMQ
	cd sdk && CGO_ENABLED=1 MS2M_LAB_BIN=$(bin)/lab go test -race -count=1 -skip '^TestSimulation' .
	MS2M_LAB_BIN=$(bin)/lab go test -count=1 ./internal/broker ./internal/conformance

.PHONY: images
images: $(bin)/lab deps ## the images, built by buildah and looked into (hack/images.sh builds them for use)
	hack/need.sh buildah
	$(bin)/lab build
	MS2M_LAB_BIN=$(bin)/lab go test -count=1 -timeout 20m ./test/images

.PHONY: integration
integration: $(bin)/lab deps ## the manager against a real API server (envtest)
	KUBEBUILDER_ASSETS=$$($(bin)/lab envtest-assets) go test -count=1 -timeout 20m ./test/integration/...

.PHONY: lab-test
lab-test: $(bin)/lab deps ## the lab itself
	cd lab && go test -count=1 -timeout 15m ./...

.PHONY: browser
browser: ## the reports of kubectl ms2m in a real browser (SHOTS=directory for pictures)
	hack/need.sh chromium
	go build -o $(bin)/ ./cmd/kubectl-ms2m
	cd test/browser && go test -count=1 . -program $(bin)/kubectl-ms2m $(if $(SHOTS),-screenshots $(abspath $(SHOTS)))

.PHONY: e2e
e2e: build ## migrations in two labs at once, asserted one by one (RUN=pattern, LABS=n)
	hack/need.sh prometheus
	go test -c -o $(bin)/e2e.test ./test/e2e
	$(bin)/spread -bin $(bin) -labs $(or $(LABS),2) -run '$(or $(RUN),.)' -alone '^TestLoad$$' -first '$(longest)' -- $(bin)/e2e.test -test.v -test.timeout 30m -chart $(chart)

.PHONY: e2e-full
e2e-full: build ## the same with every combination of loads, queues and losses: more than an hour
	go test -c -o $(bin)/e2e.test ./test/e2e
	$(inlab) -nodes 3 -- $(bin)/e2e.test -test.v -test.timeout 3h $(if $(RUN),-test.run '$(RUN)') -full -chart $(chart)

.PHONY: faults
faults: build ## manager and agents die at effects drawn by a seed, all over migrations in the lab (DEATHS=n of each strategy, SEED=n)
	go test -c -o $(bin)/e2e.test ./test/e2e
	$(inlab) -nodes 3 -- $(bin)/e2e.test -test.v -test.timeout 90m -test.run '^(TestEffects|TestAgentKilled)$$' -deaths $(or $(DEATHS),6) $(if $(SEED),-seed $(SEED)) -chart $(chart)

.PHONY: pause
pause: build ## measure the parts of the pause at the checkpoint (ROUNDS=n)
	go build -o $(bin)/pause ./test/pause
	$(inlab) -- $(bin)/pause -chart $(chart) $(if $(ROUNDS),-rounds $(ROUNDS))

.PHONY: eval
eval: build ## measure the ways of moving, into OUT (RATES, SLOW, MEMORY, FAST, SCALE, REPEATS, WAYS, SEED, SMALL=1, OUT=directory)
	go build -o $(bin)/eval ./test/eval
	$(inlab) -- $(bin)/eval -chart $(chart) -commit $(version) -out $(abspath $(or $(OUT),dist/eval)) $(if $(SMALL),-small) \
		$(if $(RATES),-rates $(RATES)) $(if $(SLOW),-slow $(SLOW)) $(if $(MEMORY),-memory $(MEMORY)) $(if $(FAST),-fast $(FAST)) $(if $(SCALE),-scale $(SCALE)) \
		$(if $(REPEATS),-repeats $(REPEATS)) $(if $(WAYS),-ways $(WAYS)) $(if $(SEED),-seed $(SEED)) $(EVALFLAGS)

.PHONY: eval-check
eval-check: build ## a small evaluation, which fails when a ratio is beyond its bound (test/eval/report/bounds.go)
	go build -o $(bin)/eval ./test/eval
	$(inlab) -- $(bin)/eval -check -chart $(chart) -commit $(version) -title 'The check' -out $(abspath $(or $(OUT),dist/eval-check)) $(if $(SEED),-seed $(SEED)) $(EVALFLAGS)

.PHONY: eval-scale
eval-scale: build ## measure the manager alone, many migrations at once, into OUT (N=10,100,300,1000, SERIES, OUT=directory)
	go build -o $(bin)/scale ./test/scale
	$(bin)/scale -bin $(bin) -assets $$($(bin)/lab envtest-assets) -chart $(chart) -commit $(version) -out $(abspath $(or $(OUT),dist/scale)) \
		$(if $(N),-n $(N)) $(if $(SERIES),-series $(SERIES)) $(SCALEFLAGS)

.PHONY: soak
soak: build ## move a counter back and forth with random faults (MOVES=1000, SEED=n)
	go build -o $(bin)/soak ./test/soak
	$(inlab) -- $(bin)/soak -chart $(chart) $(if $(MOVES),-moves $(MOVES)) $(if $(SEED),-seed $(SEED))

.PHONY: deps
deps: $(bin)/lab
	$(bin)/lab deps --install

.PHONY: $(bin)/lab
$(bin)/lab:
	cd lab && go build -o $(bin)/lab ./cmd/lab

.PHONY: $(bin)/helm
$(bin)/helm:
	cd tools/helm && go build -o $(bin)/helm helm.sh/helm/v4/cmd/helm

.PHONY: build
build: $(bin)/lab $(bin)/helm deps ## the programs, into bin/
	go build -o $(bin)/ ./cmd/manager ./cmd/node-agent ./cmd/kubectl-ms2m ./test/demo ./test/sample ./test/inlab ./test/spread ./test/csi
	cp cmd/kubectl-ms2m/kubectl_complete-ms2m $(bin)/
	go build -tags '$(shim)' -o $(bin)/ ./cmd/containerd-shim-ms2m-v1
	go build -tags failpoints -o $(bin)/manager-failpoints ./cmd/manager
	cd examples && go build -o $(bin)/ ./counter ./exchange ./dispatch

.PHONY: lab-up lab-down
lab-up: $(bin)/lab deps ## bring the lab up by itself
	$(bin)/lab up
lab-down: $(bin)/lab ## take it down
	$(bin)/lab down
