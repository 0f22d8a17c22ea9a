#!/usr/bin/env bash
# The numbers of "Learned rounding, mixed precision" in docs/results.md: the pretrained ResNet-20 of
# CIFAR-10, quantized without training. One line of JSON for each network goes into the folder of this
# script; sensitivity.json, which takes the longest, is made only if it is not there.
#
#   docs/results/post_training/run.sh WEIGHTS [DATA [NAME]]
#
#   WEIGHTS   folder with resnet20-cifar10.safetensors
#   DATA      folder with CIFAR-10 (data)
#   NAME      only this list: adaround, mixed or tensor
#
# PARE names the program (build/bin/pare).
set -euo pipefail
weights=${1:?folder with the weights} data=${2:-data} only=${3:-}
pare=${PARE:-build/bin/pare}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
resnet=(--model resnet20 --shortcut A --weights "$weights/resnet20-cifar10.safetensors"
  --normalize imagenet --dataset cifar10 --data "$data")

wanted() { [[ -z $only || $only == "$1" ]]; }

quantize() {  # LIST SCHEME [FLAGS]
  local list=$1 scheme=$2
  shift 2
  "$pare" quantize "${resnet[@]}" --quant "$scheme" --fuse-bn --out "$work/q" --force --quiet --json "$@" |
    tail -1 | jq -c --arg flags "$*" '{model, quant, flags: $flags, calibration_images, images,
      float_top1: .float.top1, top1: .quantized.top1, loss: .quantized.loss,
      bytes: .quantized.bytes_quantized}' | tee -a "$here/$list.jsonl"
}

allocate() {  # FLAGS: the scheme
  "$pare" allocate --sensitivity "$here/sensitivity.json" --quiet --json "$@" | tail -1 | jq -r .scheme
}

if wanted adaround; then
  rm -f "$here/adaround.jsonl"
  quantize adaround W=uniform:4,A=uniform:8,keep=none --calib 1024
  quantize adaround W=adaround:4,A=uniform:8,keep=none --calib 1024
  quantize adaround W=uniform:3,A=uniform:8,keep=none --calib 1024
  quantize adaround W=adaround:3,A=uniform:8,keep=none --calib 1024
fi

if wanted mixed; then
  rm -f "$here/mixed.jsonl"
  if [[ ! -f $here/sensitivity.json ]]; then
    "$pare" sensitivity "${resnet[@]}" --bits 2,3,4,6,8 --images 512 --quiet --out "$work/s.json"
    jq '.weights |= (split("/") | last)' "$work/s.json" > "$here/sensitivity.json"
  fi
  quantize mixed W=uniform:3,A=uniform:8,keep=none --calib 512
  quantize mixed "$(allocate --mean-bits 3)" --calib 512
  quantize mixed "$(allocate --mean-bits 3 --loss foretold)" --calib 512
  quantize mixed W=uniform:4,A=uniform:4,keep=none --calib 512
  quantize mixed "$(allocate --bit-ops 0.649)" --calib 512
fi

if wanted tensor; then
  rm -f "$here/tensor.jsonl"
  scheme=W=uniform:4,A=uniform:8,keep=none,w_per=tensor
  quantize tensor $scheme --calib 1024
  quantize tensor $scheme --calib 1024 --equalize
  quantize tensor $scheme --calib 1024 --correct-bias
  quantize tensor $scheme --calib 1024 --equalize --correct-bias
fi
