#!/usr/bin/env bash
# A cluster on GKE for MS2M: created, installed into, and deleted again. docs/clusters/gke.md says more.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  cat <<'END'
docs/clusters/gke.sh create|install|delete --project PROJECT [options]

  create     a zonal cluster of 3 × e2-standard-4 with Ubuntu and containerd, kubectl's credentials for it,
             a repository for images and checkpoints, and an account that may write there
  install    RabbitMQ and MS2M into it; MS2M's images must be in the repository (hack/images.sh)
  delete     all of that; volumes of your own pods are yours to delete before

  --project ID       the project of Google Cloud; it is billed
  --zone ZONE        default europe-west3-a; the repository is in its region
  --name NAME        of cluster, repository and account; default ms2m
  --tag TAG          of MS2M's images, for install; default: git describe
  --dry-run          say what would be run, and run nothing
END
}

die() { echo "gke.sh: $*" >&2; exit 1; }

# run says what it runs, in a form that a shell takes, and runs it but for a dry run.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ -n "$dry" ] || "$@"
}

# apply gives kubectl what is on its input. What that holds is said and not shown: it can be secret.
apply() {
  echo "+ kubectl apply --server-side --filename - # $1"
  if [ -n "$dry" ]; then cat >/dev/null; else kubectl apply --server-side --filename -; fi
}

need() {
  command -v "$1" >/dev/null || die "$1 is missing: $2"
}

# absent and present ask whether something is there; a dry run takes it to be as is asked.
absent() { ask "$@"; [ -n "$dry" ] || ! "$@" >/dev/null 2>&1; }
present() { ask "$@"; [ -n "$dry" ] || "$@" >/dev/null 2>&1; }
ask() {
  printf '?'
  printf ' %q' "$@"
  printf '\n'
}

create() {
  run gcloud services enable container.googleapis.com artifactregistry.googleapis.com --project "$project"
  if absent "${cluster[@]}"; then
    # Of the channels, the one that has Kubernetes 1.36 first.
    run gcloud container clusters create "$name" --project "$project" --zone "$zone" --release-channel rapid \
      --image-type UBUNTU_CONTAINERD --machine-type e2-standard-4 --num-nodes 3
  fi
  credentials
  nodes
  if absent "${repo[@]}"; then
    run gcloud artifacts repositories create "$name" --project "$project" --location "$region" --repository-format docker
  fi
  if absent "${user[@]}"; then
    run gcloud iam service-accounts create "${account%@*}" --project "$project" --display-name "MS2M: checkpoints"
  fi
  # To write checkpoints and to delete them again.
  run gcloud artifacts repositories add-iam-policy-binding "$name" --project "$project" --location "$region" \
    --member "serviceAccount:$account" --role roles/artifactregistry.repoAdmin
  echo "Now push MS2M's images to $repository, then: gke.sh install"
}

credentials() {
  run gcloud container clusters get-credentials "$name" --project "$project" --zone "$zone"
}

# nodes checks that the nodes are such that MS2M can work on them.
nodes() {
  ask kubectl get nodes --output json
  [ -z "$dry" ] || return 0
  local unfit
  unfit=$(kubectl get nodes --output json | jq -r '.items[] | .metadata.name as $name | .status.nodeInfo
    | select((.kubeletVersion | test("^v1[.](3[6-9]|[4-9][0-9])[.]") | not)
      or (.containerRuntimeVersion | test("^containerd://([2-9]|[1-9][0-9])[.]") | not)
      or (.osImage | startswith("Ubuntu") | not))
    | "\($name) has \(.kubeletVersion), \(.containerRuntimeVersion) and \(.osImage)"')
  [ -z "$unfit" ] || die "MS2M needs Kubernetes 1.36, containerd 2 and Ubuntu (UBUNTU_CONTAINERD): $unfit"
}

install() {
  credentials
  nodes
  rabbitmq
  run helm upgrade --install ms2m "$root/charts/ms2m" --namespace ms2m-system --create-namespace \
    --set-string "manager.image.repository=$repository/manager,manager.image.tag=$tag" \
    --set-string "agent.image.repository=$repository/node-agent,agent.image.tag=$tag" \
    --set "agent.extraArgs={--import-config},agent.criticalPodsQuota=100" \
    --timeout 10m --wait
  registry
  # An agent is ready when its node can restore: shim, handler and CRIU are there.
  run kubectl --namespace ms2m-nodes rollout status daemonset/ms2m-node-agent --timeout 10m
  echo "MS2M runs. Checkpoints: checkpointImageRepository: $repository/checkpoints"
  echo "RabbitMQ: the URL is in the Secret broker of the namespace rabbitmq, key url"
}

# rabbitmq installs a broker, with a password that is made once.
rabbitmq() {
  echo "apiVersion: v1
kind: Namespace
metadata: {name: rabbitmq}" | apply "Namespace rabbitmq"
  if absent kubectl --namespace rabbitmq get secret broker; then
    local password cookie
    password=$(random) cookie=$(random)
    echo "apiVersion: v1
kind: Secret
metadata: {name: broker, namespace: rabbitmq}
stringData:
  password: $password
  erlang-cookie: $cookie
  url: amqp://ms2m:$password@rabbitmq.rabbitmq.svc.cluster.local:5672/" | apply "Secret broker in rabbitmq, with a random password"
  fi
  # Of RabbitMQ's own image.
  run helm upgrade --install rabbitmq oci://registry-1.docker.io/cloudpirates/rabbitmq --namespace rabbitmq \
    --set auth.username=ms2m,auth.existingSecret=broker --timeout 10m --wait
}

# registry gives manager and agents a key of the account.
registry() {
  absent kubectl --namespace ms2m-nodes get secret ms2m-registry-auth || return 0
  local namespace secret=''
  run gcloud iam service-accounts keys create "$work/key.json" --project "$project" --iam-account "$account"
  for namespace in ms2m-system ms2m-nodes; do
    [ -n "$dry" ] || secret=$(jq -n --arg host "$region-docker.pkg.dev" --arg namespace "$namespace" --rawfile key "$work/key.json" '{
      apiVersion: "v1", kind: "Secret", type: "kubernetes.io/dockerconfigjson",
      metadata: {name: "ms2m-registry-auth", namespace: $namespace},
      data: {".dockerconfigjson": ({auths: {($host): {auth: ("_json_key:" + $key | @base64)}}} | tostring | @base64)}}')
    echo "$secret" | apply "Secret ms2m-registry-auth in $namespace"
  done
}

random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

delete() {
  if present "${cluster[@]}"; then
    credentials
    # MS2M goes with the cluster: uninstalling it is refused while a pod that was moved still runs.
    run helm uninstall rabbitmq --namespace rabbitmq --ignore-not-found --wait
    # The disk of its volume would stay, and be billed.
    run kubectl --namespace rabbitmq delete persistentvolumeclaims --all --wait
    run gcloud container clusters delete "$name" --project "$project" --zone "$zone" --quiet
  fi
  if present "${repo[@]}"; then run gcloud artifacts repositories delete "$name" --project "$project" --location "$region" --quiet; fi
  if present "${user[@]}"; then run gcloud iam service-accounts delete "$account" --project "$project" --quiet; fi
}

verb='' project='' zone=europe-west3-a name=ms2m tag='' dry=''
while [ $# -gt 0 ]; do
  case $1 in
    create | install | delete) [ -z "$verb" ] || die "one of create, install and delete: see --help"; verb=$1 ;;
    --project | --zone | --name | --tag)
      [ $# -gt 1 ] || die "$1 needs a value: see --help"
      printf -v "${1#--}" %s "$2"
      shift ;;
    --dry-run) dry=yes ;;
    -h | --help) usage; exit ;;
    *) die "$1 is not known: see --help" ;;
  esac
  shift
done
[ -n "$verb" ] || die "create, install or delete? See --help"
[ -n "$project" ] || die "--project is missing: gcloud projects list has their IDs"
[[ $zone =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || die "--zone $zone is no zone, such as europe-west3-a: gcloud compute zones list has them"
[[ $name =~ ^[a-z][a-z0-9-]{1,18}[a-z0-9]$ ]] || die "--name $name: it must have 3 to 20 of a-z, 0-9 and -, and begin with a letter"
need gcloud "https://cloud.google.com/sdk/docs/install"
need gke-gcloud-auth-plugin "gcloud components install gke-gcloud-auth-plugin (kubectl logs in by it)"
need kubectl "https://kubernetes.io/docs/tasks/tools/ or gcloud components install kubectl"
need jq "apt-get install jq, or https://jqlang.org/download/"
need helm "https://helm.sh/docs/intro/install/ (make build makes bin/helm)"
region=${zone%-*}
repository=$region-docker.pkg.dev/$project/$name
account=$name-registry@$project.iam.gserviceaccount.com
cluster=(gcloud container clusters describe "$name" --project "$project" --zone "$zone")
repo=(gcloud artifacts repositories describe "$name" --project "$project" --location "$region")
user=(gcloud iam service-accounts describe "$account" --project "$project")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "$verb" = install ] && [ -z "$tag" ]; then tag=$(git -C "$root" describe --tags --always --dirty); fi
"$verb"
