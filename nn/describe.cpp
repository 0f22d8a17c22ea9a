#include "nn/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/autograd.h"
#include "nn/layers.h"

namespace pare::nn {

namespace {

constexpr int64_t kFloatBits = 32;

bool is_socket(std::string_view name) { return name == "weight_fn" || name == "input_fn"; }

/// What a module holds itself.
class Own final : public Visitor {
 public:
  int64_t params = 0, buffers = 0;
  bool has_children = false;

 private:
  void on_parameter(std::string_view, Tensor& t) override { params += t.numel(); }
  void on_buffer(std::string_view, Tensor& t) override { buffers += t.numel(); }
  void on_child(std::string_view name, Layer& child) override {
    has_children = has_children || (child && !is_socket(name));
  }
};

/// The weight of a layer with sockets, and what it is passed through.
struct Weight {
  const Tensor* values = nullptr;
  const Layer* transform = nullptr;

  const StoredBits* packed() const {
    return transform && *transform ? transform->as<StoredBits>() : nullptr;
  }
};

Weight weight_of(const Layer& layer) {
  if (auto* conv = layer.as<Conv2d>()) return {&conv->weight, &conv->weight_fn};
  if (auto* up = layer.as<ConvTranspose2d>()) return {&up->weight, &up->weight_fn};
  if (auto* full = layer.as<Linear>()) return {&full->weight, &full->weight_fn};
  return {};
}

int64_t macs_of(Module& module, const Tensor& x, const Tensor& y) {
  // Each output, or for a transposed convolution each input, meets one filter.
  if (auto* conv = dynamic_cast<Conv2d*>(&module)) {
    return y.numel() / y.dim(0) * (conv->weight.numel() / conv->weight.dim(0));
  }
  if (auto* up = dynamic_cast<ConvTranspose2d*>(&module)) {
    return x.numel() / x.dim(0) * (up->weight.numel() / up->weight.dim(0));
  }
  if (auto* full = dynamic_cast<Linear*>(&module)) return full->weight.numel();
  return 0;
}

/// Knows every module before the forward, fills shapes and MACs during it.
class Inspector final : public ForwardObserver {
 public:
  explicit Inspector(Layer& model) {
    for_each_layer(model, [&](const std::string& path, Layer& layer) { enter(path, layer); });
  }

  void after(Module& module, const Tensor& x, const Tensor& y) override {
    const auto it = index_.find(&module);
    if (it == index_.end()) return;
    LayerRow& row = known_[it->second];
    if (row.output.dims() == 0) called_.push_back(it->second);
    row.output = y.shape();
    row.macs += macs_of(module, x, y);
  }

  Summary finish() {
    for (size_t i = 0; i < known_.size(); ++i) {
      if (known_[i].output.dims() == 0) called_.push_back(i);
    }
    for (size_t i : called_) {
      total_.macs += known_[i].macs;
      total_.rows.push_back(std::move(known_[i]));
    }
    return std::move(total_);
  }

 private:
  void enter(const std::string& path, Layer& layer) {
    Own own;
    layer.visit(own);
    total_.params += own.params;
    const bool in_socket = is_socket(path.substr(path.rfind('.') + 1));
    // A quantizer's own tensors are its scales, which stored_bits() has counted.
    const bool packer = in_socket && layer.as<StoredBits>();
    LayerRow row{path, layer->describe(), {}, own.params, 0, 0};
    if (!packer) count_bytes(row, own, weight_of(layer));
    if (own.params > 0 || (!own.has_children && !in_socket)) {
      index_[&*layer] = known_.size();
      known_.push_back(std::move(row));
    }
  }

  void count_bytes(LayerRow& row, const Own& own, const Weight& weight) {
    const int64_t numbers = own.params + own.buffers;
    int64_t weight_bytes = 0, rest = numbers;
    if (const StoredBits* packed = weight.packed()) {
      weight_bytes = (packed->stored_bits(*weight.values) + 7) / 8;
      rest -= weight.values->numel();
    }
    total_.bytes_fp32 += numbers * kFloatBits / 8;
    total_.bytes_quantized += weight_bytes + rest * kFloatBits / 8;
    row.bits = weight_bytes * 8 + rest * kFloatBits;
  }

  std::vector<LayerRow> known_;
  std::vector<size_t> called_;  // in calling order
  std::unordered_map<const Module*, size_t> index_;
  Summary total_;
};

}  // namespace

Summary summarize(Layer& model, const Shape& image) {
  PARE_CHECK(image.dims() == 3, "summarize: an image is [H, W, C], got ", image);
  const EvalMode eval(model);
  const NoGrad guard;
  Inspector inspector(model);
  model(Tensor::zeros({1, image[0], image[1], image[2]}));
  return inspector.finish();
}

namespace {

/// 1,234,567
std::string grouped(int64_t n) {
  std::string text = std::to_string(n);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<size_t>(at), ",");
  }
  return text;
}

/// 969.8 k, 14.7 M; with a unit 3.88 MB.
std::string scaled(int64_t n, const char* unit) {
  double value = static_cast<double>(n);
  const char* prefix = "";
  for (const char* next : {"k", "M", "G", "T"}) {
    if (value < 999.95) break;
    value /= 1000;
    prefix = next;
  }
  const std::string suffix = std::string(prefix) + unit;
  const int decimals = *prefix == '\0' ? 0 : value < 9.995 ? 2 : 1;
  return fmt::format("{:.{}f}{}{}", value, decimals, suffix.empty() ? "" : " ", suffix);
}

/// The shape without the batch.
std::string per_image(const Shape& output) {
  if (output.dims() == 0) return "not called";
  return Shape(std::span(output.begin() + 1, output.end())).str();
}

using Cells = std::vector<std::string>;

std::string align(const std::vector<Cells>& lines) {
  constexpr size_t kLeftAligned = 3;
  std::vector<size_t> widths(lines.front().size());
  for (const Cells& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], line[c].size());
  }
  std::string text;
  for (const Cells& line : lines) {
    std::string out;
    for (size_t c = 0; c < line.size(); ++c) {
      const char* gap = c == 0 ? "" : "  ";
      out += c < kLeftAligned ? fmt::format("{}{:<{}}", gap, line[c], widths[c])
                              : fmt::format("{}{:>{}}", gap, line[c], widths[c]);
    }
    text += out.substr(0, out.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::string table(const Summary& summary) {
  std::vector<Cells> lines{{"layer", "type", "output", "params", "MACs", "size"}};
  for (const LayerRow& row : summary.rows) {
    lines.push_back({row.path.empty() ? "(model)" : row.path, row.type, per_image(row.output),
                     row.params ? grouped(row.params) : "", row.macs ? scaled(row.macs, "") : "",
                     row.bits ? scaled((row.bits + 7) / 8, "B") : ""});
  }
  lines.push_back({"total", "", "", grouped(summary.params), scaled(summary.macs, ""),
                   scaled(summary.bytes_quantized, "B")});
  std::string text = align(lines);
  if (summary.bytes_quantized != summary.bytes_fp32) {
    text += fmt::format("float32 size {}, {:.1f} times smaller when packed\n",
                        scaled(summary.bytes_fp32, "B"),
                        static_cast<double>(summary.bytes_fp32) /
                            static_cast<double>(std::max<int64_t>(summary.bytes_quantized, 1)));
  }
  return text;
}

}  // namespace pare::nn
