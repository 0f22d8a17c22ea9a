// Winograd's transforms, 16 channels at a time. Included by tile-inl.h. Sums are written out, so
// that every instruction set rounds alike.

/// Sixteen channels, in as many registers as they take.
using Block = float __attribute__((vector_size(kPanel * sizeof(float))));

[[gnu::always_inline]] inline Block block_at(const float* p) {
  Block b;
  std::memcpy(&b, p, sizeof b);
  return b;
}

/// B^T d in place, for the points 0, 1, -1, infinity, and with 2 and -2 among them; `step` apart.
template <int A>
[[gnu::always_inline]] inline void before(Block* d, int step) {
  const Block x0 = d[0], x1 = d[step], x2 = d[2 * step], x3 = d[3 * step];
  if constexpr (A == 4) {
    d[0] = x2 - x0, d[step] = x2 + x1, d[2 * step] = x2 - x1, d[3 * step] = x3 - x1;
  } else {
    const Block x4 = d[4 * step], x5 = d[5 * step];
    const Block even = x4 - 4 * x2, odd = x3 - 4 * x1, near = x4 - x2, far = 2 * (x3 - x1);
    d[0] = (4 * x0 - 5 * x2) + x4;
    d[step] = even + odd, d[2 * step] = even - odd;
    d[3 * step] = near + far, d[4 * step] = near - far;
    d[5 * step] = (4 * x1 - 5 * x3) + x5;
  }
}

/// A^T m in place: the first M are sums then.
template <int A, int M>
[[gnu::always_inline]] inline void after(Block* m, int step) {
  const Block sum = m[step] + m[2 * step], difference = m[step] - m[2 * step];
  if constexpr (A == 4) {
    m[0] = m[0] + sum;
    m[step] = difference + m[3 * step];
  } else {
    const Block far = m[3 * step] + m[4 * step], apart = m[3 * step] - m[4 * step];
    const Block last = m[5 * step];
    m[0] = (m[0] + sum) + far;
    if constexpr (M == 2) {
      m[step] = (difference + 2 * apart) + last;
    } else {
      m[step] = difference + 2 * apart;
      m[2 * step] = sum + 4 * far;
      m[3 * step] = (difference + 8 * apart) + last;
    }
  }
}

template <int A>
void winograd_input_of(const WinogradInput& in) noexcept {
  for (int64_t tile = 0; tile < in.tiles; ++tile) {
    const float* x = in.x + tile * in.m * in.channels;
    for (int64_t c = 0; c < in.channels; c += kPanel) {
      Block d[A * A];
#pragma GCC unroll 6
      for (int j = 0; j < A; ++j) {
#pragma GCC unroll 6
        for (int i = 0; i < A; ++i) {
          d[i * A + j] = block_at(x + i * in.x_row + j * in.channels + c);
        }
        before<A>(d + j, A);
      }
      float* to = in.v + tile * in.v_tile + c;
#pragma GCC unroll 6
      for (int i = 0; i < A; ++i) {
        before<A>(d + i * A, 1);
#pragma GCC unroll 6
        for (int j = 0; j < A; ++j, to += in.plane) {
          std::memcpy(to, &d[i * A + j], sizeof(Block));
        }
      }
    }
  }
}

template <int A, int M>
void winograd_output_of(const WinogradOutput& out) noexcept {
  for (int64_t tile = 0; tile < out.tiles; ++tile) {
    for (int64_t c = 0; c < out.channels; c += kPanel) {
      Block m[A * A];
      const float* from = out.products + tile * out.channels + c;
#pragma GCC unroll 6
      for (int i = 0; i < A; ++i) {
#pragma GCC unroll 6
        for (int j = 0; j < A; ++j) m[i * A + j] = block_at(from + (i * A + j) * out.plane);
        after<A, M>(m + i * A, 1);
      }
      float* to = out.y + tile * M * out.channels + c;
#pragma GCC unroll 6
      for (int j = 0; j < M; ++j) {
        after<A, M>(m + j, A);
#pragma GCC unroll 6
        for (int i = 0; i < M; ++i) {
          std::memcpy(to + i * out.y_row + j * out.channels, &m[i * A + j], sizeof(Block));
        }
      }
    }
  }
}

void winograd_input(const WinogradInput& in) noexcept {
  in.alpha == 4 ? winograd_input_of<4>(in) : winograd_input_of<6>(in);
}

void winograd_output(const WinogradOutput& out) noexcept {
  if (out.alpha == 4) return winograd_output_of<4, 2>(out);
  out.m == 2 ? winograd_output_of<6, 2>(out) : winograd_output_of<6, 4>(out);
}
