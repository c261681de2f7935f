#!/bin/sh
# Installs the locked dependencies into the environment of an image, with the uv of the builder that
# is mounted beside this script. Arguments choose: --extra tf
set -eu

cd "$(dirname "$0")"
PATH="$(cd ../opt/uv/bin && pwd):$PATH"
export UV_PROJECT_ENVIRONMENT=/opt/kfdet UV_CACHE_DIR=/tmp/uv-cache UV_LINK_MODE=copy
export UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH
export UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1

uv sync --quiet --frozen --no-dev --no-install-project "$@"

# Of kfp only what runs inside a task: with _KFP_RUNTIME=true, which the compiled pipeline sets, its
# executor imports none of its dependencies. Version and hash are those of the lock file.
requirement="$(mktemp)"
uv export --quiet --frozen --no-dev --no-emit-project --no-annotate --extra kfp |
  awk '/^kfp==/ { found = 1 } found { print; if (!/\\$/) exit }' >"$requirement"
uv pip install --quiet --python "$UV_PROJECT_ENVIRONMENT/bin/python3" \
  --no-deps --require-hashes --requirement "$requirement"
rm "$requirement"

# What nothing imports while a task runs: kfp's compiler and client, the test suites of the large
# packages, what extensions in C are built with, and the parts of Arrow that talk to servers. A
# quarter of the light image, 600 MB of the other.
cd "$("$UV_PROJECT_ENVIRONMENT/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
(cd kfp && rm -rf cli client compiler kubeflow_client local registry)
for package in numpy pandas pyarrow scipy sklearn; do
  if [ -d "$package" ]; then
    find "$package" -depth \( -type d -name tests -o -type f -name '*.[ah]' -o -name '*.p[yx][xdi]' \) \
      -exec rm -rf {} +
  fi
done
rm -rf clang tensorflow/include pyarrow/include pyarrow/src \
  pyarrow/libarrow_s3.so* pyarrow/_s3fs.* \
  pyarrow/libarrow_flight.so* pyarrow/libarrow_python_flight.so* pyarrow/_flight.* \
  pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.*
