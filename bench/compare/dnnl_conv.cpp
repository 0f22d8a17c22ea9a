// The three passes of one convolution in oneDNN, in the protocol of `pare bench conv --serve`:
//   dnnl_conv THREADS BATCH HEIGHT WIDTH IN OUT KH KW SH SW PH PW DH DW GROUPS
//
// oneDNN gets every freedom: images and weights in layouts of its own choice or images in NHWC,
// direct convolution or what "auto" picks (Winograd). The fastest in the warm-up is timed. Changing
// layouts is not counted.

#include <dnnl.hpp>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <omp.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using dnnl::algorithm, dnnl::engine, dnnl::memory, dnnl::prop_kind, dnnl::stream;
using Json = nlohmann::ordered_json;

memory::desc describe(const memory::dims& dims, memory::format_tag tag) {
  return {dims, memory::data_type::f32, tag};
}

struct Shape {
  memory::dims x, w, y, stride, dilation, pad_begin, pad_end;

  explicit Shape(const std::vector<int64_t>& v) {
    const int64_t batch = v[0], in = v[3], out = v[4], groups = v[13];
    stride = {v[7], v[8]};
    pad_begin = {v[9], v[10]};
    dilation = {v[11] - 1, v[12] - 1};  // oneDNN counts the pixels between taps
    x = {batch, in, v[1], v[2]};
    y = {batch, out, 0, 0};
    w = {out / groups, in / groups, v[5], v[6]};
    if (groups > 1) w.insert(w.begin(), groups);
    for (size_t i = 0; i < 2; ++i) {
      const int64_t size = v[1 + i], window = v[11 + i] * (v[5 + i] - 1) + 1;
      y[2 + i] = (size + 2 * pad_begin[i] - window) / stride[i] + 1;
      pad_end.push_back((y[2 + i] - 1) * stride[i] + window - size - pad_begin[i]);
    }
  }
};

/// A way to compute a pass.
struct Way {
  std::string name;
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;
};

class Library {
 public:
  Library() : engine_(engine::kind::cpu, 0), stream_(engine_) {}

  std::vector<Way> forward(const Shape& s) {
    return ways([&](algorithm a, memory::format_tag images) {
      const auto pd = forward_desc(s, a, images);
      return Way{pd.impl_info_str(),
                 dnnl::convolution_forward(pd),
                 {{DNNL_ARG_SRC, noise(pd.src_desc())},
                  {DNNL_ARG_WEIGHTS, noise(pd.weights_desc())},
                  {DNNL_ARG_DST, noise(pd.dst_desc())}}};
    });
  }

  std::vector<Way> data_gradient(const Shape& s) {
    return ways([&](algorithm a, memory::format_tag images) {
      using Pass = dnnl::convolution_backward_data;
      const Pass::desc desc(a, describe(s.x, images), describe(s.w, memory::format_tag::any),
                            describe(s.y, images), s.stride, s.dilation, s.pad_begin, s.pad_end);
      const Pass::primitive_desc pd(desc, engine_, forward_desc(s, a, images));
      return Way{pd.impl_info_str(),
                 Pass(pd),
                 {{DNNL_ARG_DIFF_SRC, noise(pd.diff_src_desc())},
                  {DNNL_ARG_WEIGHTS, noise(pd.weights_desc())},
                  {DNNL_ARG_DIFF_DST, noise(pd.diff_dst_desc())}}};
    });
  }

  std::vector<Way> weight_gradient(const Shape& s) {
    return ways([&](algorithm a, memory::format_tag images) {
      using Pass = dnnl::convolution_backward_weights;
      const Pass::desc desc(a, describe(s.x, images), describe(s.w, memory::format_tag::any),
                            describe(s.y, images), s.stride, s.dilation, s.pad_begin, s.pad_end);
      const Pass::primitive_desc pd(desc, engine_, forward_desc(s, a, images));
      return Way{pd.impl_info_str(),
                 Pass(pd),
                 {{DNNL_ARG_SRC, noise(pd.src_desc())},
                  {DNNL_ARG_DIFF_WEIGHTS, noise(pd.diff_weights_desc())},
                  {DNNL_ARG_DIFF_DST, noise(pd.diff_dst_desc())}}};
    });
  }

  double seconds(const Way& way) {
    const auto start = std::chrono::steady_clock::now();
    way.primitive.execute(stream_, way.arguments);
    stream_.wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  template <class Make>
  static std::vector<Way> ways(Make&& make) {
    std::vector<Way> all;
    for (algorithm a : {algorithm::convolution_direct, algorithm::convolution_auto}) {
      for (auto images : {memory::format_tag::any, memory::format_tag::nhwc}) {
        try {
          all.push_back(make(a, images));
          all.back().name += images == memory::format_tag::any ? ", own layout" : ", NHWC";
        } catch (const dnnl::error&) {
          // oneDNN has no such implementation
        }
      }
    }
    return all;
  }

  dnnl::convolution_forward::primitive_desc forward_desc(const Shape& s, algorithm a,
                                                         memory::format_tag images) const {
    return {{prop_kind::forward_training, a, describe(s.x, images),
             describe(s.w, memory::format_tag::any), describe(s.y, images), s.stride, s.dilation,
             s.pad_begin, s.pad_end},
            engine_};
  }

  /// Filled in the plain layout first: blocked layouts want zeros where they are padded.
  memory noise(const memory::desc& desc) {
    const auto dims = desc.dims();
    memory plain(
        describe(dims, dims.size() == 4 ? memory::format_tag::abcd : memory::format_tag::abcde),
        engine_);
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    auto* values = static_cast<float*>(plain.get_data_handle());
    for (size_t i = 0; i < plain.get_desc().get_size() / sizeof(float); ++i) {
      values[i] = normal(random);
    }
    memory filled(desc, engine_);
    dnnl::reorder(plain, filled).execute(stream_, plain, filled);
    stream_.wait();
    return filled;
  }

  engine engine_;
  stream stream_;
};

/// The fastest way, warm.
Way choose(Library& library, std::vector<Way> ways) {
  if (ways.empty()) throw std::runtime_error("oneDNN has no implementation of this convolution");
  constexpr int kTrials = 4;
  std::vector<double> best(ways.size(), 1e30);
  for (int trial = 0; trial < kTrials; ++trial) {
    for (size_t i = 0; i < ways.size(); ++i) {
      best[i] = std::min(best[i], library.seconds(ways[i]));
    }
  }
  return ways[static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin())];
}

/// Denormals count as zero, on every thread.
void flush_denormals() {
#if defined(__SSE__)
#pragma omp parallel
  _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

}  // namespace

int main(int argc, char** argv) try {
  constexpr int kNumbers = 15;
  if (argc != 1 + kNumbers) {
    throw std::runtime_error(
        "expected THREADS BATCH HEIGHT WIDTH IN OUT KH KW SH SW PH PW DH DW GROUPS");
  }
  std::vector<int64_t> numbers;
  for (int i = 1; i < argc; ++i) numbers.push_back(std::stoll(argv[i]));
  omp_set_num_threads(static_cast<int>(numbers.front()));
  numbers.erase(numbers.begin());
  flush_denormals();

  Library library;
  const Shape shape(numbers);
  const std::vector<std::pair<std::string, Way>> passes{
      {"forward", choose(library, library.forward(shape))},
      {"data_gradient", choose(library, library.data_gradient(shape))},
      {"weight_gradient", choose(library, library.weight_gradient(shape))}};
  for (int64_t count; std::cin >> count;) {
    Json answer = Json::object();
    for (const auto& [name, way] : passes) {
      for (int64_t i = 0; i < count; ++i) answer[name].push_back(library.seconds(way));
    }
    std::cout << answer.dump() << std::endl;
  }
  const dnnl_version_t* v = dnnl_version();
  Json result{{"version", std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
                              std::to_string(v->patch)}};
  for (const auto& [name, way] : passes) result["ways"][name] = way.name;
  std::cout << result.dump() << std::endl;
  return 0;
} catch (const std::exception& e) {
  std::cerr << "dnnl_conv: " << e.what() << '\n';
  return 1;
}
