#!/bin/sh
# Generates what is generated: deepcopy functions, CRDs, the manager's RBAC, the mocks, docs/reference.md, and
# the manifests, which are the chart with its own values. The generators are pinned in tools/go.mod and
# tools/helm, so that the product does not depend on them.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd tools && CGO_ENABLED=0 go build -o "$bin/" sigs.k8s.io/controller-tools/cmd/controller-gen go.uber.org/mock/mockgen github.com/elastic/crd-ref-docs)
"$bin/controller-gen" object paths=./api/...
"$bin/controller-gen" crd paths=./api/... output:crd:dir=charts/ms2m/files/crds
"$bin/controller-gen" rbac:roleName=ms2m-manager paths=./internal/controller/... output:rbac:dir=charts/ms2m/files/rbac
"$bin/controller-gen" rbac:roleName=ms2m-manager-drain,fileName=drain.yaml paths=./internal/drain/... output:rbac:dir=charts/ms2m/files/rbac
PATH="$bin:$PATH" go generate ./internal/controller/...
go run ./hack/values
# render OPTION…: the chart with its own values
render() { (cd tools/helm && CGO_ENABLED=0 go tool helm template ms2m "$root/charts/ms2m" --namespace ms2m-system "$@"); }
"$bin/crd-ref-docs" --config hack/reference/config.yaml --templates-dir hack/reference --renderer markdown \
  --source-path api/v1alpha1 --output-path docs/reference.md --log-level ERROR
{
	echo '# One file with all of MS2M: kubectl apply --server-side -f install.yaml'
	echo '# make generate renders it from charts/ms2m: change that.'
	cat config/namespace.yaml
	render --no-hooks
} >"$bin/install.yaml"
{
	echo '# To be done before install.yaml is deleted, see docs/install.md. Made by make generate.'
	render --show-only templates/uninstall.yaml
} >"$bin/uninstall.yaml"
mv "$bin/install.yaml" "$bin/uninstall.yaml" config/
