#!/bin/sh
# Generates what is generated: deepcopy functions, CRDs, the manager's RBAC, the mocks and docs/reference.md.
# The generators are pinned in tools/go.mod, so that the product does not depend on them.
set -eu
cd "$(dirname "$0")/.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd tools && CGO_ENABLED=0 go build -o "$bin/" sigs.k8s.io/controller-tools/cmd/controller-gen go.uber.org/mock/mockgen github.com/elastic/crd-ref-docs)
"$bin/controller-gen" object paths=./api/...
"$bin/controller-gen" crd paths=./api/... output:crd:dir=config/crd
"$bin/controller-gen" rbac:roleName=ms2m-manager paths=./internal/controller/... output:rbac:dir=config/rbac
PATH="$bin:$PATH" go generate ./internal/controller/...
"$bin/crd-ref-docs" --config hack/reference/config.yaml --templates-dir hack/reference --renderer markdown \
  --source-path api/v1alpha1 --output-path docs/reference.md --log-level ERROR
