# What the scripts beside this one stand on; they read it. The programs are for Linux on x86-64.
# shellcheck shell=bash disable=SC2034
KIND_VERSION=0.33.0
KIND_SHA256=aee6151561422756b764a4ae28e7f44cda5af5a9eead3cc9985112b1de8d8e0d
# One minor version from the cluster's at most; that one stands in cluster.yaml.
KUBECTL_VERSION=1.35.0
KUBECTL_SHA256=a2e984a18a0c063279d692533031c1eff93a262afcc0afdc517375432d060989
# The version of the SDK that uv.lock pins; kfp/*/kustomization.yaml name it too.
KFP_VERSION=2.17.0
