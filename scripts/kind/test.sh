#!/usr/bin/env bash
# Submits the demo to the cluster of up.sh and holds its outcome against what it must be: a pass that is
# published, then a gate that fails and publishes nothing.
set -euo pipefail
VERB="test"
# shellcheck source=scripts/kind/common.sh
. "$(dirname "$0")/common.sh"
need_tools
have_cluster || fail "there is no cluster $CLUSTER. Make it: make kind-up"
kind export kubeconfig --name "$CLUSTER"
load_images

say "data in the volume"
# A pod that is there may have another image, and would be ready until it is replaced.
kubectl delete pod kfdet-files --namespace "$NAMESPACE" --ignore-not-found
sed "s#python-light:kind#python-light:$KFDET_IMAGE_TAG#" scripts/kind/files.yaml | kubectl apply --filename -
kubectl wait --namespace "$NAMESPACE" --for condition=ready --timeout=5m pod/kfdet-files
in_volume() {
  kubectl exec --namespace "$NAMESPACE" kfdet-files -- "$@"
}
in_volume sh -c "test -f /mnt/kfdet/data/shapes/label_map.pbtxt || kfdet data synth --out /mnt/kfdet/data/shapes"

say "the address of Kubeflow Pipelines"
forwarded=$HOME_OF_KIND/port-forward
: >"$forwarded"
kubectl port-forward --namespace "$NAMESPACE" svc/ml-pipeline-ui :80 >"$forwarded" 2>&1 &
forwarder=$!
trap 'kill $forwarder 2>/dev/null || true' EXIT
port=
for _ in $(seq 100); do
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$forwarded")
  [ -z "$port" ] || break
  kill -0 $forwarder 2>/dev/null || break
  sleep 0.2
done
[ -n "$port" ] || fail "no way to svc/ml-pipeline-ui: $(cat "$forwarded")"
export KF_PIPELINES_ENDPOINT=http://127.0.0.1:$port
unset KFDET_KFP_TOKEN KFDET_KFP_TOKEN_FILE KFDET_KFP_COOKIES

# Runs the demo and keeps its record; a pod that finds no room would wait for ever. Arguments: name of the record, expected exit code, options.
demo() {
  local record=$HOME_OF_KIND/$1.json code=0 expected=$2
  shift 2
  timeout --signal INT "${KIND_TEST_LIMIT:-60m}" .venv/bin/kfdet submit configs/shapes.yaml --name kind-shapes --experiment kind --data-digest cluster \
    --set 'cluster.volumes=[{claim: kfdet, path: /mnt/kfdet}]' \
    --set 'resources.light={cpu: 500m, memory: 1Gi}' \
    --set 'resources.train={cpu: "2", memory: 4Gi}' \
    --set 'resources.inference={cpu: "1", memory: 3Gi}' \
    --wait --exit-code --json "$@" >"$record" || code=$?
  if [ "$code" != "$expected" ]; then
    kubectl get pods --namespace "$NAMESPACE" --selector workflows.argoproj.io/workflow >&2 || true
    [ "$code" != 124 ] || fail "the run did not end in ${KIND_TEST_LIMIT:-60m}; it goes on in the cluster"
    fail "kfdet submit ended with $code, expected $expected; $record has what it said"
  fi
}

say "the demo: a pass, published"
demo pass 0
in_volume cat /mnt/kfdet/registry/shapes/champion.json >"$HOME_OF_KIND/champion.json"
.venv/bin/python scripts/kind/outcome.py passed "$HOME_OF_KIND/pass.json" "$HOME_OF_KIND/champion.json"
version=$(.venv/bin/python scripts/kind/outcome.py version "$HOME_OF_KIND/champion.json")
in_volume test -s "/mnt/kfdet/registry/shapes/versions/$version/saved_model/saved_model.pb" ||
  fail "version $version holds no SavedModel"

say "a gate that fails: nothing is published"
demo fail 20 --set 'gate.rules=[{metric: ap, at_least: 0.95}]'
in_volume cat /mnt/kfdet/registry/shapes/champion.json >"$HOME_OF_KIND/champion-after.json"
.venv/bin/python scripts/kind/outcome.py failed "$HOME_OF_KIND/fail.json"
cmp --silent "$HOME_OF_KIND/champion.json" "$HOME_OF_KIND/champion-after.json" ||
  fail "the champion changed although the gate failed"
say "all as it must be"
