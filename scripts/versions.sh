# Versions of the tools that are not pinned by a lock file; sourced by the other scripts.
# shellcheck shell=bash disable=SC2034

# Lint and breaking-change rules of the API; fetched by npx.
BUF='@bufbuild/buf@1.75.0'
# Generators of the Python stubs: what 1.62 writes runs on protobuf 4.25 and later, newer
# generators demand the newest runtime of everyone.
GRPCIO_TOOLS='grpcio-tools==1.62.3'
MYPY_PROTOBUF='mypy-protobuf==5.1.0'
