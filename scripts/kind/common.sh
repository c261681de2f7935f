# shellcheck shell=bash
# What up.sh, test.sh and down.sh share: the pinned programs in .kind/bin, a kubeconfig of its own, and
# the images. Nothing outside .kind and Docker is touched.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
. scripts/kind/pins.sh

CLUSTER=kfdet
# shellcheck disable=SC2034
NAMESPACE=kubeflow
HOME_OF_KIND=$PWD/.kind
export KUBECONFIG=$HOME_OF_KIND/kubeconfig
export PATH=$HOME_OF_KIND/bin:$PATH

step="the start"
say() {
  step=$*
  echo "== $step"
}

fail() {
  echo "make kind-$VERB: $*" >&2
  exit 1
}

# A program that fails has said why; this says where that leaves the cluster.
set -o errtrace
trap '[ "$BASH_SUBSHELL" != 0 ] || fail "ended at: $step. It may be called again; make kind-down begins anew."' ERR

# Puts a pinned program into .kind/bin, unless it lies there already.
# Arguments: name, address, SHA-256.
fetch() {
  local file=$HOME_OF_KIND/bin/$1
  mkdir -p "$HOME_OF_KIND/bin"
  if [ -x "$file" ] && echo "$3  $file" | sha256sum --check --status; then
    return
  fi
  say "fetching $1 from $2"
  curl --fail --silent --show-error --location --retry 3 --output "$file.part" "$2" ||
    fail "$1 could not be fetched from $2. This needs the internet."
  echo "$3  $file.part" | sha256sum --check --status ||
    fail "what came from $2 is not the pinned $1: its SHA-256 is $(sha256sum "$file.part" | cut -d' ' -f1), expected $3"
  chmod +x "$file.part"
  mv "$file.part" "$file"
}

need_docker() {
  command -v docker >/dev/null || fail "there is no docker. Install Docker; kind runs its nodes in it."
  docker info >/dev/null 2>&1 || fail "no Docker engine answers. Start it, or set DOCKER_HOST."
}

need_tools() {
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    fail "kind and kubectl are pinned for Linux on x86-64, this is $(uname -sm)"
  fi
  need_docker
  command -v curl >/dev/null || fail "there is no curl"
  fetch kind "https://github.com/kubernetes-sigs/kind/releases/download/v$KIND_VERSION/kind-linux-amd64" "$KIND_SHA256"
  fetch kubectl "https://dl.k8s.io/release/v$KUBECTL_VERSION/bin/linux/amd64/kubectl" "$KUBECTL_SHA256"
}

have_cluster() {
  kind get clusters 2>/dev/null | grep --quiet --line-regexp "$CLUSTER"
}

# Builds the images and loads them into the cluster, under a tag that follows their content: the cache of
# Kubeflow Pipelines knows an image by its name alone. Exports what kfdet compiles in.
load_images() {
  local target tag names=()
  export KFDET_IMAGE_REGISTRY=localhost/kfdet KFDET_IMAGE_TAG=kind
  say "images"
  .venv/bin/python scripts/containers.py light tensorflow
  tag=$(docker image inspect --format '{{.Id}}' \
    "$KFDET_IMAGE_REGISTRY/python-light:kind" "$KFDET_IMAGE_REGISTRY/python-tensorflow:kind" |
    sha256sum | cut -c1-12)
  for target in light tensorflow; do
    docker tag "$KFDET_IMAGE_REGISTRY/python-$target:kind" "$KFDET_IMAGE_REGISTRY/python-$target:$tag"
    names+=("$KFDET_IMAGE_REGISTRY/python-$target:$tag")
  done
  export KFDET_IMAGE_TAG=$tag
  kind load docker-image --name "$CLUSTER" "${names[@]}"
}
