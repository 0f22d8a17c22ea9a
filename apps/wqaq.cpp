// Quantized networks: `pare train --quant ...` under the flags of an experiment.
#include <fmt/format.h>

#include "apps/train_run.h"

namespace pare {

namespace {

struct Args {
  std::string method = "dorefa";
  int64_t w_bits = 8, a_bits = 8, edge_bits = 8;
  int64_t q_type = 0, q_level = 0, weight_observer = 0;
  bool bn_fuse = false, bn_fuse_calib = false, ptq = false, qaft = false;
  float percentile = 0.999999f;
  TrainArgs train = experiment_defaults();

  void fields(cli::Fields& f) {
    f.group("Quantization");
    f(method, "method", "dorefa, iao, lsq, lsq+, pact (with DoReFa weights) or uniform",
      {.one_of = {"dorefa", "iao", "lsq", "lsq+", "pact", "uniform"}, .placeholder = "NAME"});
    f(w_bits, "Wbits", "bits of a weight: 1 to 16, or 32 (float)", {.min = 1, .max = 32});
    f(a_bits, "Abits", "bits of an activation: 1 to 16, or 32 (float)", {.min = 1, .max = 32});
    f(edge_bits, "edge-bits",
      "bits of the first and the last layer (lsq, lsq+, pact, uniform), by LSQ; 32: float",
      {.min = 2, .max = 32});
    f(ptq, "ptq", "no training: calibrate the weights of --init, test and save (iao, uniform)");
    f(qaft, "qaft",
      "fine-tune the checkpoint of --refine: ranges and batch norm statistics stay as they are");
    f.group("IAO");
    f(q_type, "q_type", "0: symmetric, 1: asymmetric", {.min = 0, .max = 1});
    f(q_level, "q_level", "weights: 0: a scale per channel, 1: per layer", {.min = 0, .max = 1});
    f(weight_observer, "weight_observer", "range of weights: 0: extremes, 1: a moving average",
      {.min = 0, .max = 1});
    f(bn_fuse, "bn_fuse", "fold batch norm into convolutions while training");
    f(bn_fuse_calib, "bn_fuse_calib",
      "likewise, weights folded with running statistics and outputs corrected to the batch's");
    f(percentile, "percentile", "share of the magnitudes that --ptq keeps in an activation's range",
      {.min = 0, .max = 1});
    train.fields(f, /*with_quant=*/false);
  }

  void check(const cli::Given& given) const {
    for (const char* flag :
         {"q_type", "q_level", "weight_observer", "bn_fuse", "bn_fuse_calib", "percentile"}) {
      PARE_CHECK(!given.has(flag) || method == "iao", "--", flag, " is for --method iao, got ",
                 method);
    }
    const bool with_edges = method != "dorefa" && method != "iao";
    PARE_CHECK(!given.has("edge-bits") || with_edges, "--edge-bits is not for --method ", method,
               method == "iao" ? ", which quantizes every layer alike"
                               : ", which leaves the first layer float");
    PARE_CHECK(!ptq || method == "iao" || method == "uniform",
               "--ptq is for --method iao or uniform, "
               "whose ranges come from data alone, got ",
               method);
    PARE_CHECK(!ptq || !train.init.empty(), "--ptq needs --init: the float weights to quantize");
    PARE_CHECK(!qaft || !train.refine.empty() || train.resume,
               "--qaft needs --refine: the quantized checkpoint to fine-tune");
    PARE_CHECK(!(ptq && qaft), "--ptq and --qaft exclude each other",
               hint("first --ptq, then --qaft --refine what it saved"));
    PARE_CHECK(!(bn_fuse && bn_fuse_calib), "--bn_fuse and --bn_fuse_calib exclude each other");
    PARE_CHECK(!given.has("percentile") || ptq, "--percentile is for --ptq");
    PARE_CHECK(!given.has("percentile") || q_type == 0,
               "--percentile is one of magnitudes: it needs --q_type 0");
  }

  std::string scheme() const {
    if (method == "dorefa") return fmt::format("wqaq:W{}A{}", w_bits, a_bits);
    std::string text = fmt::format("{}:W{}A{}", method, w_bits, a_bits);
    const bool weights = w_bits != 32, activations = a_bits != 32;
    if (method != "iao")
      return edge_bits == 32 ? text : text + fmt::format(",edges=lsq:{}", edge_bits);
    text += ",keep=none";
    if (q_type == 1) text += ",scheme=affine";
    if (weights && q_level == 1) text += ",w_per=tensor";
    if (weights && weight_observer == 1) text += ",w_range=average";
    if (activations && ptq && q_type == 0) {
      text += fmt::format(",a_range=percentile,percentile={}", percentile);
    }
    if (weights && bn_fuse) text += ",bn=fused";
    if (weights && bn_fuse_calib) text += ",bn=corrected";
    return text;
  }

  void complete(cli::Given& given) {
    check(given);
    train.calibrate_only = ptq;
    train.freeze_quant = qaft;
    if (qaft && !given.has("lr") && !train.resume) train.lr = 1e-5f;
    if (qaft) return;  // the checkpoint says how it is quantized
    train.model.quant = scheme();
    given.flags.insert("quant");  // a checkpoint to refine must agree
  }
};

int wqaq(int argc, char** argv) {
  Args args;
  args.train.wd = 1e-5f;
  cli::Fields fields;
  args.fields(fields);
  return train_program(
      args.train, fields,
      {.name = "wqaq",
       .summary = "Trains a network with weights and activations of a few bits.",
       .examples =
           "  wqaq --Wbits 4 --Abits 4 --model nin --epochs 5\n"
           "  wqaq --method lsq --Wbits 2 --Abits 2 --model resnet20 --init float.safetensors\n"
           "  wqaq --method iao --ptq --init runs/float/best.safetensors --data data\n"},
      argc, argv, [&](cli::Given& given) { args.complete(given); });
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  return pare::cli::run([&] { return pare::wqaq(argc, argv); });
}
