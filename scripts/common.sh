# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 1
}

# The comment on top of the script is its help.
show_help() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
}

# Takes build_options from the arguments, sets build_dir, leaves the rest in rest.
parse_build_options() {
  build_dir=build build_options=() rest=() sanitize=
  for argument in "$@"; do
    case $argument in
      --sanitize) build_dir+=-sanitize sanitize=1 ;;
      --debug) build_dir+=-debug ;;
      --clang) build_dir+=-clang ;;
      -h | --help) show_help ;;
      *) rest+=("$argument") && continue ;;
    esac
    build_options+=("$argument")
  done
}

# install_onnxruntime FOLDER: npm's onnxruntime-node below FOLDER, once; sets NODE_PATH. On failure
# `missing` says what is not there.
install_onnxruntime() {
  local folder=$1/onnxruntime
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    missing="node and npm are not installed"
    return 1
  fi
  export NODE_PATH=$folder/node_modules
  [[ ! -d $NODE_PATH/onnxruntime-node ]] || return 0
  mkdir -p "$folder"
  if ! (cd "$folder" && timeout 300 npm install --silent --ignore-scripts --no-audit --no-fund \
    onnxruntime-node@1.30.0 >npm.log 2>&1); then
    missing="npm could not install onnxruntime-node"
    return 1
  fi
}
