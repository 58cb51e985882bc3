#!/bin/sh
# Makes the lock files anew from pyproject.toml: hashes for every platform, no addresses.
# tests/requirements.lock holds everything; the others are parts of it, so that one version of a package is used everywhere.
set -eu
cd "$(dirname "$0")/.."
lock() {
  out=$1
  shift
  uv pip compile pyproject.toml "$@" --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --output-file "$out"
}
lock tests/requirements.lock --all-extras --group dev "$@"
lock api/requirements.lock --extra api --constraint tests/requirements.lock
lock operator/requirements.lock --extra operator --constraint tests/requirements.lock
lock tests/build-requirements.lock --group pyproject.toml:build --constraint tests/requirements.lock
