#pragma once
// One row per op and configuration. A row alone buys a gradient check, equality for any number of
// threads, agreement of the ISAs, agreement with fusion off, and a benchmark.

#include <vector>

#include "tests/support/op_case.h"

namespace pare::test {

inline const std::vector<OpCase> kArithmeticCases = {
    {"add",
     {{3, 4, 5}, {3, 4, 5}},
     [](In x) { return x[0] + x[1]; },
     {.large = {{64, 2048}, {64, 2048}}}},
    {"add_row",
     {{2, 3, 4, 5}, {5}},
     [](In x) { return x[0] + x[1]; },
     {.large = {{16, 16, 16, 24}, {24}}}},
    {"add_outer",
     {{4, 1, 3}, {5, 1}},
     [](In x) { return x[0] + x[1]; },
     {.large = {{40, 1, 30}, {50, 1}}}},
    {"sub", {{3, 7}, {3, 1}}, [](In x) { return x[0] - x[1]; }, {.large = {{64, 2048}, {64, 1}}}},
    {"mul",
     {{3, 4, 5}, {3, 4, 5}},
     [](In x) { return x[0] * x[1]; },
     {.large = {{64, 2048}, {64, 2048}}}},
    {"mul_per_image",
     {{2, 3, 4, 5}, {2, 1, 1, 5}},
     [](In x) { return x[0] * x[1]; },
     {.large = {{16, 16, 16, 24}, {16, 1, 1, 24}}}},
    {"mul_scalar_tensor",
     {{3, 5}, {1}},
     [](In x) { return x[0] * x[1]; },
     {.large = {{64, 2048}, {1}}}},
    {"div",
     {{3, 4, 5}, {4, 1}},
     [](In x) { return x[0] / x[1]; },
     {.lo = 0.7f, .large = {{16, 64, 64}, {64, 1}}}},
    {"number_add", {{9, 5}}, [](In x) { return 3 - x[0] + 2.0f; }, {.large = {{64, 2048}}}},
    {"number_mul", {{9, 5}}, [](In x) { return 3 * x[0] / 7.0f; }, {.large = {{64, 2048}}}},
    {"number_div", {{9, 5}}, [](In x) { return 2.0f / x[0]; }, {.lo = 0.7f, .large = {{64, 2048}}}},
};

inline const std::vector<OpCase> kRowScaleCases = {
    {"mean_abs",
     {{2, 3, 5, 7}},
     [](In x) { return mean_abs(x[0]); },
     {.avoid = {0}, .large = kLargeImage}},
    {"mean_abs_groups",
     {{2, 3, 5, 6}},
     [](In x) { return mean_abs(x[0], 3); },
     {.avoid = {0}, .large = kLargeImage}},
    {"mean_abs_beside",
     {{2, 3, 5, 7}},
     [](In x) { return square(x[0]) * mean_abs(x[0]); },
     {.avoid = {0}, .large = kLargeImage}},
    {"scale_rows",
     {{2, 3, 5, 7}, {2, 3, 5, 1}},
     [](In x) { return scale_rows(x[0], x[1]); },
     {.avoid = {0}, .large = {{16, 16, 16, 24}, {16, 16, 16, 1}}}},
    {"scale_rows_groups",
     {{4, 6}, {4, 3}},
     [](In x) { return scale_rows(x[0], x[1]); },
     {.avoid = {0}, .large = {{64, 2046}, {64, 3}}}},
    {"scale_rows_of_conv_into_norm",
     {{2, 6, 7, 4}, {5, 3, 3, 4}, {2, 6, 7, 1}, {5}, {5}},
     [](In x) {
       return norm(scale_rows(conv2d(x[0], x[1], {}, {.pad = 1}), x[2]), x[3], x[4], true);
     },
     {.avoid = {0}}},
};

inline const std::vector<OpCase> kPointwiseCases = {
    {"relu", {{2, 3, 5, 7}}, [](In x) { return relu(x[0]); }, {.avoid = {0}, .large = kLargeImage}},
    {"leaky_relu",
     {{2, 3, 5, 7}},
     [](In x) { return leaky_relu(x[0], 0.1f); },
     {.avoid = {0}, .large = kLargeImage}},
    {"relu6",
     {{2, 3, 5, 7}},
     [](In x) { return relu6(x[0]); },
     {.avoid = {0, 6}, .lo = -2, .hi = 8, .large = kLargeImage}},
    {"hard_swish",
     {{2, 3, 5, 7}},
     [](In x) { return hard_swish(x[0]); },
     {.avoid = {-3, 3}, .lo = -4, .hi = 4, .large = kLargeImage}},
    {"clamp",
     {{2, 3, 5, 7}},
     [](In x) { return clamp(x[0], -0.5f, 0.8f); },
     {.avoid = {-0.5f, 0.8f}, .large = kLargeImage}},
    {"silu", {{2, 3, 5, 7}}, [](In x) { return silu(x[0]); }, {.large = kLargeImage}},
    {"gelu", {{2, 3, 5, 7}}, [](In x) { return gelu(x[0]); }, {.large = kLargeImage}},
    {"sigmoid", {{2, 3, 5, 7}}, [](In x) { return sigmoid(x[0]); }, {.large = kLargeImage}},
    {"tanh", {{2, 3, 5, 7}}, [](In x) { return tanh(x[0]); }, {.large = kLargeImage}},
    {"exp", {{2, 3, 5, 7}}, [](In x) { return exp(x[0]); }, {.large = kLargeImage}},
    {"log", {{2, 3, 5, 7}}, [](In x) { return log(x[0]); }, {.lo = 0.5f, .large = kLargeImage}},
    {"sqrt", {{2, 3, 5, 7}}, [](In x) { return sqrt(x[0]); }, {.lo = 0.5f, .large = kLargeImage}},
    {"abs", {{2, 3, 5, 7}}, [](In x) { return abs(x[0]); }, {.avoid = {0}, .large = kLargeImage}},
    {"square", {{2, 3, 5, 7}}, [](In x) { return square(x[0]); }, {.large = kLargeImage}},
    {"sign",
     {{2, 3, 5, 7}},
     [](In x) { return sign(x[0], Ste::poly); },
     {.surrogate = true, .large = kLargeImage}},
    {"round",
     {{2, 3, 5, 7}},
     [](In x) { return round(x[0]); },
     {.surrogate = true, .large = kLargeImage}},
    {"ternary",
     {{2, 3, 5, 7}},
     [](In x) { return apply(kTernary, x[0]); },
     {.surrogate = true, .large = kLargeImage}},
    {"quantize",
     {{2, 3, 5, 7}},
     [](In x) { return apply(kDorefa, x[0]); },
     {.surrogate = true, .large = kLargeImage}},
    {"fake_quant",
     {{2, 3, 5, 7}},
     [](In x) { return fake_quant(x[0], Tensor::of({0.3f}), Tensor::of({4}), kFourBits); },
     {.surrogate = true, .large = kLargeImage}},
    {"fake_quant_learned",
     {{2, 3, 5, 7}, {1}},
     [](In x) { return fake_quant(x[0], x[1], {}, kSignedFourBits); },
     {.lo = 0.2f, .hi = 0.4f, .surrogate = true, .large = {{16, 16, 16, 24}, {1}}}},
};

inline const std::vector<OpCase> kReductionCases = {
    {"sum", {{3, 4, 5}}, [](In x) { return sum(x[0]); }, {.large = {{5, 100, 1000}}}},
    {"sum_last", {{3, 4, 5}}, [](In x) { return sum(x[0], {-1}); }, {.large = {{300, 1000}}}},
    {"sum_first",
     {{3, 4, 5}},
     [](In x) {
       return sum(x[0], {0, 1}, true);
     },
     {.large = {{64, 100, 33}}}},
    {"sum_apart",
     {{3, 4, 5}},
     [](In x) {
       return sum(x[0], {0, 2});
     },
     {.large = {{30, 40, 90}}}},
    {"sum_wide", {{2, 70}}, [](In x) { return sum(x[0], {0}); }, {.large = {{3, 100000}}}},
    {"mean_middle", {{3, 4, 5}}, [](In x) { return mean(x[0], {1}); }, {.large = {{8, 900, 33}}}},
    {"mean_long", {{2, 40}}, [](In x) { return mean(x[0], {1}); }, {.large = {{2, 200000}}}},
    {"var", {{3, 4, 5}}, [](In x) { return var(x[0]); }, {.large = {{5, 100, 1000}}}},
    {"var_first",
     {{6, 2, 5}},
     [](In x) {
       return var(x[0], {0, 1}, true, 0);
     },
     {.large = {{64, 100, 33}}}},
    {"var_apart",
     {{3, 4, 5}},
     [](In x) {
       return var(x[0], {0, 2});
     },
     {.large = {{30, 40, 90}}}},
    {"max",
     {{3, 4, 5}},
     [](In x) { return max(x[0]); },
     {.distinct = true, .large = {{5, 100, 1000}}}},
    {"max_last",
     {{3, 4, 5}},
     [](In x) { return max(x[0], {-1}); },
     {.distinct = true, .large = {{300, 1000}}}},
    {"max_first",
     {{3, 4, 5}},
     [](In x) { return max(x[0], {0}); },
     {.distinct = true, .large = {{1000, 300}}}},
    {"max_apart",
     {{3, 4, 5}},
     [](In x) {
       return max(x[0], {0, 2}, true);
     },
     {.distinct = true, .large = {{30, 40, 90}}}},
};

inline const std::vector<OpCase> kLinearCases = {
    {"matmul",
     {{4, 6}, {6, 5}},
     [](In x) { return matmul(x[0], x[1]); },
     {.large = {{128, 192}, {192, 100}}}},
    {"linear",
     {{4, 6}, {3, 6}, {3}},
     [](In x) { return linear(x[0], x[1], x[2]); },
     {.large = {{128, 192}, {100, 192}, {100}}}},
    {"linear_no_bias",
     {{4, 6}, {3, 6}},
     [](In x) { return linear(x[0], x[1]); },
     {.large = {{128, 192}, {100, 192}}}},
};

inline const std::vector<OpCase> kConvCases = {
    {"conv2d",
     {{2, 6, 7, 4}, {5, 3, 3, 4}, {5}},
     [](In x) { return conv2d(x[0], x[1], x[2], {.pad = 1}); },
     {.large = {{8, 16, 16, 32}, {48, 3, 3, 32}, {48}}}},
    {"conv2d_no_bias",
     {{2, 6, 7, 4}, {5, 3, 3, 4}},
     [](In x) { return conv2d(x[0], x[1]); },
     {.large = {{8, 16, 16, 32}, {48, 3, 3, 32}}}},
    {"conv2d_stride",
     {{2, 9, 7, 3}, {4, 3, 3, 3}, {4}},
     [](In x) { return conv2d(x[0], x[1], x[2], {.stride = 2}); },
     {.large = {{8, 17, 15, 32}, {48, 3, 3, 32}, {48}}}},
    {"conv2d_3_channels",
     {{2, 8, 8, 3}, {6, 5, 5, 3}, {6}},
     [](In x) { return conv2d(x[0], x[1], x[2], {.pad = 2}); },
     {.large = {{8, 32, 32, 3}, {64, 5, 5, 3}, {64}}}},
    {"conv2d_1x1",
     {{2, 5, 5, 6}, {7, 1, 1, 6}, {7}},
     [](In x) { return conv2d(x[0], x[1], x[2]); },
     {.large = {{8, 16, 16, 48}, {40, 1, 1, 48}, {40}}}},
    {"conv2d_1x1_stride",
     {{2, 5, 7, 6}, {7, 1, 1, 6}},
     [](In x) { return conv2d(x[0], x[1], {}, {.stride = 2}); },
     {.large = {{8, 16, 16, 48}, {40, 1, 1, 48}}}},
    {"conv2d_dilation",
     {{1, 9, 9, 3}, {4, 3, 3, 3}, {4}},
     [](In x) { return conv2d(x[0], x[1], x[2], {.pad = 2, .dilation = 2}); },
     {.large = {{4, 20, 20, 16}, {24, 3, 3, 16}, {24}}}},
    {"conv2d_groups",
     {{2, 6, 6, 8}, {12, 3, 3, 2}, {12}},
     [](In x) { return conv2d(x[0], x[1], x[2], {.pad = 1, .groups = 4}); },
     {.large = {{8, 12, 12, 64}, {128, 3, 3, 16}, {128}}}},
    {"conv2d_depthwise",
     {{2, 7, 6, 5}, {5, 3, 3, 1}, {5}},
     [](In x) {
       return conv2d(x[0], x[1], x[2], {.pad = 1, .groups = static_cast<int>(x[0].dim(-1))});
     },
     {.large = {{8, 20, 20, 40}, {40, 3, 3, 1}, {40}}}},
    {"conv2d_uneven",
     {{1, 8, 9, 3}, {4, 2, 3, 3}, {4}},
     [](In x) {
       return conv2d(x[0], x[1], x[2], {.stride = {2, 1}, .pad = {0, 2}});
     },
     {.large = {{8, 17, 18, 20}, {33, 2, 3, 20}, {33}}}},
    {"conv_transpose2d",
     {{2, 4, 5, 4}, {4, 3, 3, 3}, {3}},
     [](In x) {
       return conv_transpose2d(x[0], x[1], x[2], {.stride = 2, .pad = 1, .output_pad = 1});
     },
     {.large = {{8, 8, 8, 32}, {32, 3, 3, 16}, {16}}}},
    {"conv_transpose2d_groups",
     {{2, 4, 4, 4}, {4, 2, 2, 3}},
     [](In x) { return conv_transpose2d(x[0], x[1], {}, {.stride = 2, .groups = 2}); },
     {.large = {{8, 8, 8, 32}, {32, 2, 2, 8}}}},
};

inline const std::vector<OpCase> kNormCases = {
    {"batch_norm",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return norm(x[0], x[1], x[2], true); },
     {.lo = 0.2f, .large = kLargeNorm}},
    {"batch_norm_plain",
     {{3, 4, 5, 6}},
     [](In x) { return norm(x[0], {}, {}, true); },
     {.large = kLargeImage}},
    {"batch_norm_eval",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return norm(x[0], x[1], x[2], false); },
     {.lo = 0.2f, .large = kLargeNorm}},
    {"batch_norm_rows",
     {{9, 6}, {6}, {6}},
     [](In x) { return norm(x[0], x[1], x[2], true); },
     {.lo = 0.2f, .large = {{512, 96}, {96}, {96}}}},
    {"layer_norm",
     {{5, 3, 8}, {8}, {8}},
     [](In x) { return layer_norm(x[0], x[1], x[2]); },
     {.large = {{400, 96}, {96}, {96}}}},
    {"layer_norm_plain",
     {{5, 3, 8}},
     [](In x) { return layer_norm(x[0], {}, {}); },
     {.large = {{400, 96}}}},
};

/// Chains that the deferred normalization may turn into one pass.
inline const std::vector<OpCase> kFusedCases = {
    {"norm_silu",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return silu(norm(x[0], x[1], x[2], true)); },
     {.lo = 0.2f, .large = kLargeNorm}},
    {"norm_relu",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return relu(norm(x[0], x[1], x[2], true)); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_eval_hard_swish",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return hard_swish(norm(x[0], x[1], x[2], false)); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_sign",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return sign(norm(x[0], x[1], x[2], true), Ste::triangle); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_quantize",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return apply(kDorefa, norm(x[0], x[1], x[2], true)); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_relu_quantize",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return apply(kDorefa, relu(norm(x[0], x[1], x[2], true))); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_relu_fake_quant",
     {{3, 4, 5, 6}, {6}, {6}, {1}},
     [](In x) { return fake_quant(relu(norm(x[0], x[1], x[2], true)), x[3], {}, kFourBits); },
     {.lo = 0.1f, .surrogate = true, .large = {{16, 16, 16, 24}, {24}, {24}, {1}}}},
    {"norm_fake_quant_zero",
     {{3, 4, 5, 6}, {6}, {6}, {1}, {1}},
     [](In x) { return fake_quant(norm(x[0], x[1], x[2], true), x[3], x[4], kFourBits); },
     {.lo = 0.1f, .surrogate = true, .large = {{16, 16, 16, 24}, {24}, {24}, {1}, {1}}}},
    {"norm_add_relu_clip",
     {{3, 4, 5, 6}, {6}, {6}, {3, 4, 5, 6}, {1}},
     [](In x) { return fake_quant(relu(norm(x[0], x[1], x[2], true) + x[3]), x[4], {}, kClipped); },
     {.lo = 0.1f,
      .surrogate = true,
      .large = {{16, 16, 16, 24}, {24}, {24}, {16, 16, 16, 24}, {1}}}},
    {"norm_add",
     {{3, 4, 5, 6}, {6}, {6}, {3, 4, 5, 6}},
     [](In x) { return norm(x[0], x[1], x[2], true) + x[3]; },
     {.lo = 0.2f, .large = {{16, 16, 16, 24}, {24}, {24}, {16, 16, 16, 24}}}},
    {"add_norm_relu",
     {{3, 4, 5, 6}, {6}, {6}, {3, 4, 5, 6}},
     [](In x) { return relu(x[3] + norm(x[0], x[1], x[2], true)); },
     {.surrogate = true, .large = {{16, 16, 16, 24}, {24}, {24}, {16, 16, 16, 24}}}},
    {"norm_norm_relu",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) { return relu(norm(x[0], x[1], x[2], true) + norm(2 * x[0], x[2], x[1], false)); },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_relu_twice_used",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) {
       const Tensor z = norm(x[0], x[1], x[2], true);
       return relu(z) * z;
     },
     {.surrogate = true, .large = kLargeNorm}},
    {"norm_doubled",
     {{3, 4, 5, 6}, {6}, {6}},
     [](In x) {
       const Tensor z = norm(x[0], x[1], x[2], true);
       return z + z;
     },
     {.lo = 0.2f, .large = kLargeNorm}},
    {"norm_relu_conv",
     {{2, 5, 5, 6}, {6}, {6}, {4, 3, 3, 6}},
     [](In x) { return conv2d(relu(norm(x[0], x[1], x[2], true)), x[3], {}, {.pad = 1}); },
     {.surrogate = true, .large = {{8, 16, 16, 32}, {32}, {32}, {32, 3, 3, 32}}}},
    {"fake_quant_conv",
     {{2, 5, 5, 6}, {1}, {4, 3, 3, 6}},
     [](In x) { return conv2d(fake_quant(x[0], x[1], {}, kSignedFourBits), x[2], {}, {.pad = 1}); },
     {.lo = 0.1f, .surrogate = true, .large = {{8, 16, 16, 32}, {1}, {32, 3, 3, 32}}}},
    {"norm_relu_fake_quant_conv",
     {{2, 5, 5, 6}, {6}, {6}, {1}, {4, 3, 3, 6}},
     [](In x) {
       const Tensor a = relu(norm(x[0], x[1], x[2], true));
       return conv2d(fake_quant(a, x[3], {}, kFourBits), x[4], {}, {.pad = 1});
     },
     {.lo = 0.1f, .surrogate = true, .large = {{8, 16, 16, 32}, {32}, {32}, {1}, {32, 3, 3, 32}}}},
    {"block_fake_quant",
     {{2, 5, 5, 6}, {6}, {6}, {2, 5, 5, 6}, {1}, {6, 3, 3, 6}},
     [](In x) {
       const Tensor y = relu(norm(x[0], x[1], x[2], true) + x[3]);
       return conv2d(fake_quant(y, x[4], {}, kFourBits), x[5], {}, {.pad = 1}) + y;
     },
     {.lo = 0.1f,
      .surrogate = true,
      .large = {{8, 16, 16, 32}, {32}, {32}, {8, 16, 16, 32}, {1}, {32, 3, 3, 32}}}},
    {"norm_relu_pool",
     {{2, 6, 6, 6}, {6}, {6}},
     [](In x) { return max_pool2d(relu(norm(x[0], x[1], x[2], true)), {}); },
     {.surrogate = true, .large = kLargeNorm}},
};

inline const std::vector<OpCase> kPoolCases = {
    {"max_pool",
     {{2, 6, 8, 3}},
     [](In x) { return max_pool2d(x[0], {}); },
     {.distinct = true, .large = kLargeImage}},
    {"max_pool_3_2_1",
     {{2, 9, 7, 3}},
     [](In x) { return max_pool2d(x[0], {.kernel = 3, .stride = 2, .pad = 1}); },
     {.distinct = true, .large = kLargeImage}},
    {"max_pool_ceil",
     {{2, 6, 8, 3}},
     [](In x) { return max_pool2d(x[0], {.kernel = 3, .stride = 2, .ceil_mode = true}); },
     {.distinct = true, .large = kLargeImage}},
    {"avg_pool", {{2, 6, 8, 3}}, [](In x) { return avg_pool2d(x[0], {}); }, {.large = kLargeImage}},
    {"avg_pool_3_2_1",
     {{2, 9, 7, 3}},
     [](In x) { return avg_pool2d(x[0], {.kernel = 3, .stride = 2, .pad = 1}); },
     {.large = kLargeImage}},
    {"avg_pool_ceil",
     {{2, 6, 8, 3}},
     [](In x) {
       return avg_pool2d(x[0], {.kernel = {3, 4},
                                .stride = {2, 3},
                                .pad = {1, 2},
                                .ceil_mode = true,
                                .count_include_pad = false});
     },
     {.large = kLargeImage}},
    {"global_avg_pool",
     {{2, 5, 4, 3}},
     [](In x) { return global_avg_pool2d(x[0]); },
     {.large = kLargeImage}},
};

inline const std::vector<OpCase> kLossCases = {
    {"softmax", {{4, 7}}, [](In x) { return softmax(x[0]); }, {.large = {{512, 100}}}},
    {"log_softmax", {{4, 7}}, [](In x) { return log_softmax(x[0]); }, {.large = {{512, 100}}}},
    {"cross_entropy",
     {{5, 7}},
     [](In x) { return cross_entropy(x[0], labels(x[0].dim(0), 7)); },
     {.large = {{512, 100}}}},
    {"cross_entropy_smooth",
     {{5, 7}},
     [](In x) { return cross_entropy(x[0], labels(x[0].dim(0), 7), 0.1f); },
     {.large = {{512, 100}}}},
    {"cross_entropy_soft",
     {{5, 7}},
     [](In x) { return cross_entropy(x[0], probabilities(x[0].shape()), 0.05f); },
     {.large = {{512, 100}}}},
    {"mse_loss",
     {{4, 7}, {4, 7}},
     [](In x) { return mse_loss(x[0], x[1]); },
     {.large = {{300, 1000}, {300, 1000}}}},
};

inline const std::vector<OpCase> kShapeCases = {
    {"reshape",
     {{2, 3, 4}},
     [](In x) {
       return reshape(x[0], {4, 6});
     }},
    {"flatten", {{2, 3, 4, 5}}, [](In x) { return flatten(x[0]); }, {.large = kLargeImage}},
    {"transpose", {{3, 5}}, [](In x) { return transpose(x[0]); }, {.large = {{500, 300}}}},
    {"concat",
     {{2, 3, 4}, {2, 3, 1}, {2, 3, 2}},
     [](In x) {
       return concat({x[0], x[1], x[2]});
     },
     {.large = {{32, 64, 40}, {32, 64, 8}, {32, 64, 16}}}},
    {"concat_rows",
     {{2, 3}, {4, 3}},
     [](In x) {
       return concat({x[0], x[1]}, 0);
     },
     {.large = {{200, 300}, {100, 300}}}},
    {"split",
     {{2, 6, 3}},
     [](In x) {
       const auto parts = split(x[0], {1, 3, 2}, 1);
       return concat({2 * parts[1], parts[0], parts[2]}, 1);
     }},
    {"slice", {{3, 6, 2}}, [](In x) { return slice(x[0], 1, 2, 5); }, {.large = {{64, 30, 96}}}},
    {"pad", {{3, 2, 4}}, [](In x) { return pad(x[0], 1, 1, 2, 0.5f); }, {.large = {{64, 30, 96}}}},
    {"channel_shuffle",
     {{2, 3, 12}},
     [](In x) { return channel_shuffle(x[0], 3); },
     {.large = kLargeImage}},
    {"dropout",
     {{6, 7}},
     [](In x) {
       Rng rng(5);
       return dropout(x[0], 0.4f, rng);
     },
     {.large = {{300, 1000}}}},
};

inline std::vector<OpCase> all_op_cases() {
  std::vector<OpCase> all;
  for (const auto* cases :
       {&kArithmeticCases, &kRowScaleCases, &kPointwiseCases, &kReductionCases, &kLinearCases,
        &kConvCases, &kNormCases, &kFusedCases, &kPoolCases, &kLossCases, &kShapeCases}) {
    all.insert(all.end(), cases->begin(), cases->end());
  }
  return all;
}

/// The table.
inline const std::vector<OpCase> kOpCases = all_op_cases();

}  // namespace pare::test
