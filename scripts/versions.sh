# Versions of the tools that are not pinned by a lock file; sourced by the other scripts.
# shellcheck shell=bash disable=SC2034

# Lint and breaking-change rules of the API; fetched by npx.
BUF='@bufbuild/buf@1.75.0'
