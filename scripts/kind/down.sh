#!/usr/bin/env bash
# Removes the cluster of up.sh with all that is in it. The programs stay in .kind/bin.
set -euo pipefail
VERB="down"
# shellcheck source=scripts/kind/common.sh
. "$(dirname "$0")/common.sh"
need_tools
if have_cluster; then
  kind delete cluster --name "$CLUSTER"
else
  say "there is no cluster $CLUSTER"
fi
find "$HOME_OF_KIND" -maxdepth 1 -type f -delete
