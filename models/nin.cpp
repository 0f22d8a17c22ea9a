// Network in Network, arXiv:1312.4400, in the two forms that are known from binary networks: plain,
// and with grouped convolutions and channel shuffle (ShuffleNet, arXiv:1707.01083).
//
// Nine blocks of convolution, batch norm and activation; a pool behind the third and the sixth, the
// average over the image behind the last. Options::order says how a block is built. B batch norm,
// A activation (child `act`, a ReLU until a rewrite replaces it), C convolution, P pool:
//
//   cbap  C-B-A, pools last. Even the logits pass batch norm and ReLU. The default.
//   cbpa  C-B-A, but in front of a pool A moves behind it: C-B-P-A. The last block stays C-B-A.
//   acbp  A-C-B: the activation stands in front of each convolution but the first, which sees
//         pixels; pools follow batch norm directly, the logits are the last batch norm's output.
//   bacp  B-A-C-ReLU, pools last, as in XNOR-Net (arXiv:1603.05279). The first block is C-B-ReLU,
//         because it sees pixels; the logits are the last convolution's output, without ReLU. These
//         ReLUs are part of the block, not `act`: what binarizes is the activation behind B.
//
// In each order the last `act` is the one that binary networks leave alone: it works on the logits
// (cbap, cbpa) or feeds the last convolution, which stays float (acbp, bacp).

#include <array>

#include "models/builders.h"
#include "nn/layers.h"

namespace pare::models {

namespace {

using nn::Layer, nn::Module, nn::Visitor;

enum class Order { cbap, cbpa, acbp, bacp };

Order parse_order(const std::string& text) {
  if (text.empty() || text == "cbap") return Order::cbap;
  if (text == "cbpa") return Order::cbpa;
  if (text == "acbp") return Order::acbp;
  if (text == "bacp") return Order::bacp;
  throw Error(str("nin: unknown block order '", text, "'", hint("cbap, cbpa, acbp or bacp")),
              "parse_order");
}

/// One convolution with all that belongs to it; empty layers are skipped.
struct Block final : Module {
  enum class Steps { conv_bn_act, act_conv_bn, bn_act_conv };

  Tensor forward(const Tensor& x) override {
    const Tensor h = shuffle(x);
    const Tensor y = steps == Steps::conv_bn_act   ? act(bn(conv(drop(h))))
                     : steps == Steps::act_conv_bn ? bn(conv(drop(act(h))))
                                                   : conv(drop(act(bn(h))));
    return relu_last ? relu(y) : y;
  }
  void visit(Visitor& v) override {
    v("shuffle", shuffle)("drop", drop)("conv", conv)("bn", bn)("act", act);
  }
  std::string describe() const override { return "Block"; }

  Steps steps = Steps::conv_bn_act;
  bool relu_last = false;
  Layer shuffle, drop, conv, bn, act;
};

/// Max pool, then the activation that the block in front of it left out.
struct PoolAct final : Module {
  explicit PoolAct(const PoolOptions& options) : pool(nn::MaxPool2d(options)), act(nn::ReLU()) {}
  Tensor forward(const Tensor& x) override { return act(pool(x)); }
  void visit(Visitor& v) override { v("pool", pool)("act", act); }
  std::string describe() const override { return "PoolAct"; }

  Layer pool, act;
};

/// Children are numbered through, pools included: model.0.conv, ..., model.3 a pool, model.4.conv.
struct Nin final : Module {
  explicit Nin(std::vector<Layer> layers) : model(nn::Sequential(std::move(layers))) {}
  Tensor forward(const Tensor& x) override { return flatten(model(x)); }
  void visit(Visitor& v) override { v("model", model); }
  std::string describe() const override { return "Nin"; }

  Layer model;
};

struct ConvPlan {
  int kernel, groups = 1, shuffle = 1;
};

constexpr size_t kBlocks = 9;

struct Plan {
  const char* name;
  std::vector<int64_t> widths;  // of all blocks but the last, which has one filter per class
  std::array<ConvPlan, kBlocks> convs;
  PoolOptions pool;
};

bool before_pool(size_t block) { return block == 2 || block == 5; }

void set_order(Block& block, Order order, size_t index) {
  const bool first = index == 0, last = index == kBlocks - 1;
  if (order == Order::acbp) {
    block.steps = Block::Steps::act_conv_bn;
    if (first) block.act = {};
  } else if (order == Order::bacp) {
    block.steps = first ? Block::Steps::conv_bn_act : Block::Steps::bn_act_conv;
    if (first) block.act = {};
    block.relu_last = !last;
  } else if (order == Order::cbpa && before_pool(index)) {
    block.act = {};
  }
}

Block build_block(const Plan& plan, size_t index, int64_t in, int64_t out, const Options& o) {
  const ConvPlan& c = plan.convs[index];
  const Order order = parse_order(o.order);
  PARE_CHECK(in % c.groups == 0 && out % c.groups == 0 && in % c.shuffle == 0, plan.name,
             ": convolution ", index + 1, " has ", c.groups, " groups, widths ", in, " -> ", out,
             " do not divide by it");
  Block block;
  if (c.shuffle > 1) block.shuffle = nn::ChannelShuffle(c.shuffle);
  if (o.dropout > 0 && index > 0 && before_pool(index - 1)) block.drop = nn::Dropout(o.dropout);
  block.conv = nn::Conv2d(
      {.in = in, .out = out, .kernel = c.kernel, .pad = c.kernel / 2, .groups = c.groups});
  const bool bn_in_front = order == Order::bacp && index > 0;
  block.bn = nn::BatchNorm2d(bn_in_front ? in : out, {.momentum = o.bn_momentum});
  block.act = nn::ReLU();
  set_order(block, order, index);
  return block;
}

Layer build(const Plan& plan, const Options& o) {
  std::vector<int64_t> widths = o.widths.empty() ? plan.widths : o.widths;
  widths.push_back(o.classes);
  const bool pool_act = parse_order(o.order) == Order::cbpa;
  std::vector<Layer> layers;
  int64_t in = o.image[2];
  for (size_t i = 0; i < kBlocks; ++i) {
    layers.push_back(build_block(plan, i, in, widths[i], o));
    in = widths[i];
    if (!before_pool(i)) continue;
    layers.push_back(pool_act ? Layer(PoolAct(plan.pool)) : Layer(nn::MaxPool2d(plan.pool)));
  }
  layers.push_back(nn::GlobalAvgPool2d());
  return Nin(std::move(layers));
}

Layer plain(const char* name, int second_kernel, const Options& o) {
  return build({.name = name,
                .widths = {192, 160, 96, 192, 192, 192, 192, 192},
                .convs = {{{5}, {1}, {1}, {second_kernel}, {1}, {1}, {3}, {1}, {1}}},
                .pool = {.kernel = 3, .stride = 2, .pad = 1}},
               o);
}

}  // namespace

Layer nin(const Options& o) { return plain("nin", 5, o); }

Layer nin_3x3(const Options& o) { return plain("nin_3x3", 3, o); }

// A block shuffles by the groups of the convolution before it, if both are grouped.
Layer nin_gc(const Options& o) {
  return build({.name = "nin_gc",
                .widths = {256, 256, 256, 512, 512, 512, 1024, 1024},
                .convs = {{{5},
                           {1, 2},
                           {1, 2, 2},
                           {3, 16, 2},
                           {1, 4, 16},
                           {1, 4, 4},
                           {3, 32, 4},
                           {1, 8, 32},
                           {1}}},
                .pool = {.kernel = 2, .stride = 2}},
               o);
}

}  // namespace pare::models
