#!/usr/bin/env bash
# The numbers of "After training" in docs/results.md: quantizes the pretrained ResNets of CIFAR-10
# without training them, and writes one line of JSON for each network into the folder of this script.
#
#   docs/results/ptq/run.sh WEIGHTS [DATA [NAME]]
#
#   WEIGHTS   folder with resnet20-cifar10.safetensors and resnet56-cifar10.safetensors
#   DATA      folder with CIFAR-10 (data)
#   NAME      only this list: w8a8, w4a4 or bn_tuning
#
# PARE names the program (build/bin/pare).
set -euo pipefail
weights=${1:?folder with the weights} data=${2:-data} only=${3:-}
pare=${PARE:-build/bin/pare}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quantize() {  # LIST MODEL SCHEME [FLAGS]
  local list=$1 model=$2 scheme=$3
  shift 3
  [[ -z $only || $only == "$list" ]] || return 0
  "$pare" quantize --model "$model" --shortcut A --weights "$weights/$model-cifar10.safetensors" \
    --normalize imagenet --dataset cifar10 --data "$data" --quant "$scheme" --calib 256 \
    --out "$work/q" --force --quiet --json "$@" | tail -1 |
    jq -c --arg flags "$*" '{model, quant, flags: $flags, calibration_images, images,
      float_top1: .float.top1, top1: .quantized.top1, loss: .quantized.loss,
      bytes: .quantized.bytes_quantized}' | tee -a "$here/$list.jsonl"
}

for list in w8a8 w4a4 bn_tuning; do
  [[ -n $only && $only != "$list" ]] || rm -f "$here/$list.jsonl"
done

for model in resnet20 resnet56; do
  quantize w8a8 $model uniform:W8A8,keep=none --fuse-bn
done

# Observers of weights and activations; moving averages and KL are for activations alone.
observers=(observer=minmax a_observer=moving_average observer=percentile observer=mse
  w_observer=mse,a_observer=kl observer=aciq observer=aciq,distribution=laplace)
for how in "${observers[@]}"; do
  quantize w4a4 resnet20 "uniform:W4A4,keep=none,$how" --fuse-bn
done
for how in "${observers[@]}"; do
  quantize w4a4 resnet20 "uniform:W4A4,bits=first:8+last:8,keep=none,$how" --fuse-bn
done

for scheme in uniform:W3A8,keep=none,w_observer=mse uniform:W4A8,keep=none,w_observer=mse \
  uniform:W4A4,keep=none,observer=mse uniform:W4A4,bits=first:8+last:8,keep=none,observer=mse; do
  quantize bn_tuning resnet20 $scheme --fuse-bn
  quantize bn_tuning resnet20 $scheme --bn-tuning
done
