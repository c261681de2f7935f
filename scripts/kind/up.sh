#!/usr/bin/env bash
# A kind cluster with Kubeflow Pipelines and the images; what is there already stays.
# KIND_CONFIG names another configuration of the cluster: scripts/kind/cluster-gpu.yaml.
set -euo pipefail
VERB="up"
# shellcheck source=scripts/kind/common.sh
. "$(dirname "$0")/common.sh"
need_tools
command -v git >/dev/null || fail "there is no git, which kubectl fetches the manifests with"

if have_cluster; then
  say "the cluster $CLUSTER is there already"
  kind export kubeconfig --name "$CLUSTER"
else
  say "the cluster $CLUSTER"
  # Half a cluster would be taken for a whole one the next time, also after Ctrl-C.
  trap 'kind delete cluster --name "$CLUSTER"' EXIT
  kind create cluster --name "$CLUSTER" --config "${KIND_CONFIG:-scripts/kind/cluster.yaml}" --wait 5m ||
    fail "kind could not make the cluster; nothing of it is left"
  trap - EXIT
fi

say "Kubeflow Pipelines $KFP_VERSION"
kubectl apply --kustomize scripts/kind/kfp/cluster
kubectl wait --for condition=established --timeout=2m crd/applications.app.k8s.io crd/workflows.argoproj.io
kubectl apply --kustomize scripts/kind/kfp/pipelines
say "waiting for its deployments: 10 minutes the first time"
if ! kubectl wait --namespace "$NAMESPACE" --for condition=available --timeout=20m deployment --all; then
  kubectl get pods --namespace "$NAMESPACE" >&2
  fail "Kubeflow Pipelines did not come up; make kind-up again waits on"
fi

load_images
say "to submit by hand: export KFDET_IMAGE_REGISTRY=$KFDET_IMAGE_REGISTRY KFDET_IMAGE_TAG=$KFDET_IMAGE_TAG"
say "ready: make kind-test, or kubectl --kubeconfig .kind/kubeconfig -n $NAMESPACE port-forward svc/ml-pipeline-ui 8080:80"
