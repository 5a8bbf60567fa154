#!/usr/bin/env bash
# Builds MS2M's images for every platform, one manifest list each, and pushes them if asked to.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
hack/images.sh [options] [image…]

  image                manager, node-agent, or an example by its name (examples/NAME); by default manager and node-agent
  --repository NAME    what the images' names begin with (default localhost/ms2m)
  --tag TAG            their tag, and the version that the programs say (default: git describe)
  --platforms LIST     default linux/amd64,linux/arm64
  --build-arg K=V      for the Dockerfile: GO, DEBIAN and STATIC are the base images
  --push               push them (log in before: buildah login REGISTRY)
  --dry-run            say what would be run, and run nothing
END
}

# die says what is wrong and what to do.
die() { echo "hack/images.sh: $*" >&2; exit 1; }

# run says what it runs, in a form that a shell takes, and runs it but for a dry run.
run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ -n "$dry" ] || "$@"
}

repository=localhost/ms2m tag='' platforms=linux/amd64,linux/arm64 push='' dry='' args=() images=()
while [ $# -gt 0 ]; do
  case $1 in
    --repository | --tag | --platforms | --build-arg)
      [ $# -gt 1 ] || die "$1 needs a value: see --help"
      case $1 in
        --repository) repository=$2 ;;
        --tag) tag=$2 ;;
        --platforms) platforms=$2 ;;
        --build-arg) args+=(--build-arg "$2") ;;
      esac
      shift ;;
    --push) push=yes ;;
    --dry-run) dry=yes ;;
    -h | --help) usage; exit ;;
    -*) die "$1 is no option: see --help" ;;
    *) images+=("$1") ;;
  esac
  shift
done
[ ${#images[@]} -gt 0 ] || images=(manager node-agent)
[ -n "$tag" ] || tag=$(git describe --tags --always --dirty)
revision=$(git rev-parse HEAD)
for image in "${images[@]}"; do
  case $image in manager | node-agent) continue ;; esac
  [ -f "examples/$image/main.go" ] || die "$image is neither manager nor node-agent nor an example: there is no examples/$image/main.go"
done
command -v buildah >/dev/null || die "buildah is missing: apt-get install buildah (Debian, Ubuntu), dnf install buildah (Fedora)"
case $(uname -m) in
  x86_64) here=linux/amd64 ;;
  aarch64) here=linux/arm64 ;;
  *) die "this machine is $(uname -m): build on x86_64 or aarch64" ;;
esac

for image in "${images[@]}"; do
  name=$repository/$image:$tag
  target=(--target "$image")
  case $image in manager | node-agent) ;; *) target=(--target example --build-arg "EXAMPLE=$image") ;; esac
  # A list that is there would keep what it holds.
  if [ -n "$(buildah images --quiet --filter "reference=$name")" ]; then run buildah rmi "$name"; fi
  # buildah 1.28 knows no BUILDPLATFORM of its own.
  run buildah build --platform "$platforms" --manifest "$name" --build-arg "BUILDPLATFORM=$here" \
    --build-arg "VERSION=$tag" --build-arg "REVISION=$revision" "${args[@]}" "${target[@]}" --file build/Dockerfile .
  [ -z "$push" ] || run buildah manifest push --all "$name" "docker://$name"
done
