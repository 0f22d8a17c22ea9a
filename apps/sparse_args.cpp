#include "apps/sparse_args.h"

#include "prune/l0.h"
#include "prune/penalty.h"

namespace pare {

void SparseArgs::fields(cli::Fields& f) {
  f.group("Sparsity");
  f(sr, "sr",
    "sparsity training: the L1 norm of batch norm's scales is added to the loss, so that `pare "
    "prune --method slimming` finds channels that do not matter");
  f(s, "s", "weight of --sr", {.min = 0});
  f(group_lasso, "group-lasso",
    "weight of the norms of filters, added to the loss so that whole filters become zero; 0: off",
    {.min = 0});
  f(sparsity, "sparsity",
    "share of the weights that becomes zero, the smallest of each layer first; 0: off",
    {.min = 0, .max = 0.999});
  f(sparse_density, "sparse-density",
    "zeros of --sparsity: the same share of each layer (uniform), or fewer of small layers (erk, "
    "Erdős-Rényi-Kernel)",
    {.one_of = {"uniform", "erk"}, .placeholder = "NAME"});
  f(sparse_until, "sparse-until",
    "share of the run after which --sparsity is reached, quickly at first; the rest recovers",
    {.min = 0, .max = 1});
  f(sparse_pattern, "sparse-pattern",
    "instead of --sparsity: N:M, the N largest of M neighbours stay, from the first step on",
    {.placeholder = "N:M"});
  f(dense, "dense", "layers that keep all weights, e.g. conv1+layer3.*", {.placeholder = "LIST"});
  f(gate_s, "gate-s",
    "with --gates l0: weight of the expected share of weights that is left, added to the loss",
    {.min = 0});
  f(gate_target, "gate-target",
    "with --gates resrep: share of the multiply-accumulates to be left, chosen until 60 % of the "
    "run are over",
    {.min = 0, .max = 1, .above_min = true});
  f(gate_lambda, "gate-lambda", "with --gates resrep: how strongly rows are pulled to zero",
    {.min = 0});
}

namespace {

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> all;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('+', at), text.size());
    all.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

}  // namespace

void SparseArgs::check(const cli::Given& given, const std::string& gates, float ema) const {
  PARE_CHECK(gates == "l0" || !given.has("gate-s"), "--gate-s is for --gates l0");
  for (const char* flag : {"gate-target", "gate-lambda"}) {
    PARE_CHECK(gates == "resrep" || !given.has(flag), "--", flag, " is for --gates resrep");
  }
  PARE_CHECK(sr || !given.has("s"), "--s is the weight of --sr, which is not given");
  PARE_CHECK(sparsity == 0 || sparse_pattern.empty(),
             "--sparsity and --sparse-pattern exclude each other");
  for (const char* flag : {"sparse-until", "sparse-density"}) {
    PARE_CHECK(sparsity > 0 || !given.has(flag), "--", flag, " is for --sparsity");
  }
  PARE_CHECK(makes_zeros() || dense.empty(), "--dense is for --sparsity and --sparse-pattern");
  PARE_CHECK(!makes_zeros() || ema == 0, "--ema averages the zeros of ",
             sparsity > 0 ? "--sparsity" : "--sparse-pattern", " away",
             hint("leave one of the two out"));
  if (!sparse_pattern.empty()) prune::parse_pattern(sparse_pattern);
}

std::vector<nn::Penalty> SparseArgs::penalties(const std::string& gates) const {
  std::vector<nn::Penalty> all;
  if (sr) all.push_back(prune::bn_l1(s));
  if (group_lasso > 0) all.push_back(prune::group_lasso(group_lasso));
  if (gates == "l0") all.push_back(prune::l0_penalty(gate_s));
  return all;
}

SparseTraining::SparseTraining(const SparseArgs& a, nn::Layer& model, const ModelCard& card) {
  if (a.makes_zeros()) {
    prune::SparsityOptions o{.target = a.sparsity, .until = a.sparse_until};
    if (a.sparse_density == "erk") o.density = prune::Density::erk;
    if (!a.sparse_pattern.empty()) o.pattern = prune::parse_pattern(a.sparse_pattern);
    o.dense = words(a.dense);
    sparsifier_.emplace(model, std::move(o));
  }
  if (card.args.gates == "resrep") {
    nn::Layer plain = build_float(card);
    const Shape& image = card.image;
    resrep_ = std::make_unique<prune::ResRep>(
        model, prune::Structure(plain, Tensor::zeros({1, image[0], image[1], image[2]})),
        prune::ResRepOptions{.target = a.gate_target, .lambda = a.gate_lambda});
  }
}

void SparseTraining::before_step(double progress) {
  if (resrep_) resrep_->reset_gradients(progress);
}

void SparseTraining::after_step(double progress) {
  if (sparsifier_) sparsifier_->update(progress);
}

}  // namespace pare
