#!/bin/sh
# Installs the locked dependencies into the environment of an image. Arguments choose: --extra tf
set -eu

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
# packages, and what extensions in C are built with. A quarter of the light image, 600 MB of the other.
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
  pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.*
