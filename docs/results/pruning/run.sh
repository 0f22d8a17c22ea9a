#!/usr/bin/env bash
# The numbers of "Pruning" in docs/results.md: runs the recipes beside this script on CIFAR-10, and
# writes the table of each, and the speed of the networks before and after, as JSON beside it.
#
#   docs/results/pruning/run.sh WEIGHTS [DATA [RUNS [NAME...]]]
#
#   WEIGHTS   folder with resnet20-cifar10.safetensors and resnet56-cifar10.safetensors
#   DATA      folder with CIFAR-10 (data)
#   RUNS      where the stages go (runs/pruning); a run that was stopped goes on there
#   NAME      only these: lenet5, resnet20, resnet20-blocks, compressed, nin_gc, resnet56,
#             resnet56-blocks, nin
#
# PARE names the program (build/bin/pare), THREADS how many it uses (1), FASHION the folder above
# that of Fashion-MNIST, for lenet5 (/usr/share/datasets, of Debian's dataset-fashion-mnist).
set -euo pipefail
weights=${1:?folder with the weights} data=${2:-data} runs=${3:-runs/pruning}
shift $(($# < 3 ? $# : 3))
pare=${PARE:-build/bin/pare} threads=${THREADS:-1}
here=$(cd "$(dirname "$0")" && pwd)
names=("$@")
((${#names[@]})) ||
  names=(lenet5 resnet20 resnet20-blocks compressed nin_gc resnet56 resnet56-blocks nin)

# Checkpoints before and after, with batch norm folded as they are deployed, in turns: other work on
# the machine slows both. images_per_second is the network itself, runtime its lowered program.
speed() {  # NAME BEFORE AFTER
  local name=$1 round file folded bench runtime
  rm -f "$here/$name-speed.jsonl"
  shift
  for file in "$@"; do
    "$pare" fold --weights "$file" --data "$data" --test-limit 256 --quiet \
      --out "${file%.safetensors}-folded.safetensors"
  done
  for round in 1 2 3; do
    for file in "$@"; do
      folded=${file%.safetensors}-folded.safetensors
      bench=("$pare" bench infer --weights "$folded" --batch-size 32 --threads 1 --steps 20 --json --quiet)
      runtime=$("${bench[@]}" --precision fp32 | tail -1 | jq -c '.results[1].images_per_second')
      "${bench[@]}" | tail -1 | jq -c --arg file "${folded#"$runs/"}" --argjson round $round \
        --argjson runtime "$runtime" '{round: $round, file: $file, params, flops_per_image,
          images_per_second, runtime: $runtime}' | tee -a "$here/$name-speed.jsonl"
    done
  done
}

recipe() {  # NAME [START]
  local name=$1 start=() from=$data
  [[ -z ${2:-} ]] || start=(--start "$2")
  [[ $name != lenet5 ]] || from=${FASHION:-/usr/share/datasets}
  "$pare" recipe "$here/$name.yaml" --out "$runs/$name" --data "$from" --threads "$threads" \
    "${start[@]}"
  jq --arg runs "$runs/" 'del(.out, .recipe) | .stages |= map(.file |= ltrimstr($runs))' \
    "$runs/$name/summary.json" > "$here/$name.json"
}

# The pretrained weights as a checkpoint, which says what it is.
whole() {  # MODEL
  [[ -f $runs/$1-whole.safetensors ]] ||
    "$pare" prune --model "$1" --shortcut A --weights "$weights/$1-cifar10.safetensors" \
      --normalize imagenet --dataset cifar10 --data "$data" --method l1 --percent 0 --test-limit 256 \
      --out "$runs/$1-whole.safetensors" --quiet
}

teacher() {
  [[ -f resnet56-cifar10.safetensors ]] || {
    echo "run.sh: $name learns from resnet56-cifar10.safetensors, which is not in $PWD" >&2
    echo "  hint: cp $weights/resnet56-cifar10.safetensors ." >&2
    exit 1
  }
}

mkdir -p "$runs"
for name in "${names[@]}"; do
  case $name in
    resnet20 | resnet20-blocks | resnet56 | resnet56-blocks)
      model=${name%-blocks}
      [[ $name != *-blocks ]] || teacher
      recipe "$name" "$weights/$model-cifar10.safetensors"
      whole "$model"
      refined=("$runs/$name"/*-refined/best.safetensors)
      [[ $name != *-blocks ]] || refined=("$runs/$name/final.safetensors")
      speed "$name" "$runs/$model-whole.safetensors" "${refined[0]}"
      ;;
    lenet5) recipe lenet5 ;;
    compressed)
      teacher
      recipe compressed "$weights/resnet20-cifar10.safetensors"
      ;;
    nin | nin_gc)
      recipe "$name"
      speed "$name" "$runs/$name/01-slim/best.safetensors" "$runs/$name/03-refined/best.safetensors"
      ;;
    *)
      echo "run.sh: no recipe is called $name" >&2
      exit 1
      ;;
  esac
done
