// The losses against their definitions in double, and their gradients against differences.

#include "distill/losses.h"

#include <doctest/doctest.h>

#include <cmath>

#include "distill/relations.h"
#include "tests/support/gradcheck.h"
#include "tests/support/message.h"

using namespace pare;
using namespace pare::test;

namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix matrix(const Tensor& x) {
  const int64_t n = x.dim(0), d = x.numel() / n;
  Matrix m(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < d; ++j) m[static_cast<size_t>(i)].push_back(x.data()[i * d + j]);
  }
  return m;
}

std::vector<double> softmax_of(const std::vector<double>& z, double temperature) {
  std::vector<double> p;
  double sum = 0;
  for (double v : z) sum += p.emplace_back(std::exp(v / temperature));
  for (double& v : p) v /= sum;
  return p;
}

double kl(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] * std::log(p[i] / q[i]);
  return sum;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double huber(double x) { return std::abs(x) < 1 ? x * x / 2 : std::abs(x) - 0.5; }

/// E_ij = ||x_i - x_j||^2 / max
Matrix edges(const Tensor& x) {
  const Matrix m = matrix(x);
  Matrix e(m.size(), std::vector<double>(m.size()));
  double most = 0;
  for (size_t i = 0; i < m.size(); ++i) {
    for (size_t j = 0; j < m.size(); ++j) most = std::max(most, e[i][j] = distance(m[i], m[j]));
  }
  for (auto& row : e) {
    for (double& v : row) v /= most;
  }
  return e;
}

double mse(const Matrix& a, const Matrix& b) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += distance(a[i], b[i]), count += static_cast<double>(a[i].size());
  }
  return sum / count;
}

void check_gradient(const std::vector<Shape>& shapes, const std::function<Tensor(In)>& f) {
  Rng rng(21);
  const Gap gap = gradcheck({.name = "loss", .inputs = shapes, .f = f}, rng);
  CAPTURE(gap);
  CHECK(gap.relative < 2e-2);
}

}  // namespace

TEST_CASE("kd is the divergence of softened classes") {
  Rng rng(1);
  const Tensor z = Tensor::normal({5, 7}, rng, 0, 3), t = Tensor::normal({5, 7}, rng, 0, 3);
  for (double T : {1.0, 4.0}) {
    double want = 0;
    const Matrix zs = matrix(z), ts = matrix(t);
    for (size_t n = 0; n < 5; ++n) want += kl(softmax_of(ts[n], T), softmax_of(zs[n], T)) / 5;
    const float got = distill::kd(z, t, {.temperature = static_cast<float>(T)}).item();
    CHECK(got == doctest::Approx(T * T * want).epsilon(1e-5));
  }
  CHECK(distill::kd(z, z).item() == doctest::Approx(0).epsilon(1e-6));
  check_gradient({{4, 6}},
                 [t = Tensor::normal({4, 6}, rng)](In x) { return distill::kd(x[0], t); });
  CHECK(contains(message_of([&] {
                   distill::kd(z, Tensor::zeros({5, 6}));
                 }),
                 "kd: the student's logits are [5, 7], the teacher's [5, 6]"));
}

TEST_CASE("dkd splits the divergence into the true class and the others") {
  Rng rng(2);
  const Tensor z = Tensor::normal({6, 5}, rng, 0, 2), t = Tensor::normal({6, 5}, rng, 0, 2);
  const Tensor y = labels(6, 5);
  constexpr double T = 2, kAlpha = 1.5, kBeta = 3;
  double want = 0, whole = 0;
  for (size_t n = 0; n < 6; ++n) {
    const size_t label = n % 5;
    auto p = softmax_of(matrix(t)[n], T), q = softmax_of(matrix(z)[n], T);
    const double pt = p[label], qt = q[label];
    const double target = kl({pt, 1 - pt}, {qt, 1 - qt});
    whole += kl(p, q);
    p.erase(p.begin() + static_cast<int64_t>(label)),
        q.erase(q.begin() + static_cast<int64_t>(label));
    for (double& v : p) v /= 1 - pt;
    for (double& v : q) v /= 1 - qt;
    want += kAlpha * target + kBeta * kl(p, q);
    whole -= target + (1 - pt) * kl(p, q);  // the identity that the paper starts from
  }
  CHECK(whole == doctest::Approx(0).epsilon(1e-9));
  const float got = distill::dkd(z, t, y, {T, kAlpha, kBeta}).item();
  CHECK(got == doctest::Approx(T * T * want / 6).epsilon(1e-4));
  check_gradient({{4, 6}}, [t = Tensor::normal({4, 6}, rng)](In x) {
    return distill::dkd(x[0], t, labels(4, 6));
  });
  CHECK(contains(message_of([&] { distill::dkd(z, t, Tensor::full({6}, 9)); }), "label 9 of 5"));
}

TEST_CASE("attention transfer compares where maps are large") {
  Rng rng(3);
  const Tensor s = Tensor::normal({3, 4, 4, 5}, rng), t = Tensor::normal({3, 4, 4, 8}, rng);
  const auto attention = [](const Tensor& x) {
    Matrix all;
    const int64_t c = x.dim(3);
    for (int64_t n = 0; n < x.dim(0); ++n) {
      std::vector<double> a;
      double norm = 0;
      for (int64_t p = 0; p < 16; ++p) {
        double sum = 0;
        for (int64_t k = 0; k < c; ++k) sum += std::pow(x.data()[(n * 16 + p) * c + k], 2);
        a.push_back(sum / static_cast<double>(c));
        norm += a.back() * a.back();
      }
      for (double& v : a) v /= std::sqrt(norm);
      all.push_back(a);
    }
    return all;
  };
  CHECK(distill::attention_transfer(s, t).item() ==
        doctest::Approx(mse(attention(s), attention(t))).epsilon(1e-5));
  CHECK(distill::attention_transfer(t, t).item() == doctest::Approx(0));
  // A larger map is averaged first.
  const Tensor wide = Tensor::normal({3, 8, 8, 2}, rng);
  const Tensor small = avg_pool2d(wide, {.kernel = 2, .stride = 2});
  CHECK(distill::attention_transfer(wide, t).item() ==
        doctest::Approx(distill::attention_transfer(small, t).item()));
  CHECK(contains(message_of([&] {
                   distill::attention_transfer(Tensor::ones({3, 6, 6, 2}), t);
                 }),
                 "maps of 6x6 cannot be averaged to 4x4"));
  check_gradient({{2, 3, 3, 4}}, [t = Tensor::normal({2, 3, 3, 2}, rng)](In x) {
    return 10.0f * distill::attention_transfer(x[0], t);
  });
}

TEST_CASE("similarity-preserving compares which images are alike") {
  Rng rng(4);
  const Tensor s = Tensor::normal({4, 3, 3, 2}, rng), t = Tensor::normal({4, 2, 2, 5}, rng);
  const auto similarities = [](const Tensor& x) {
    const Matrix m = matrix(x);
    Matrix g(m.size(), std::vector<double>(m.size()));
    for (size_t i = 0; i < m.size(); ++i) {
      double norm = 0;
      for (size_t j = 0; j < m.size(); ++j) {
        for (size_t k = 0; k < m[i].size(); ++k) g[i][j] += m[i][k] * m[j][k];
        norm += g[i][j] * g[i][j];
      }
      for (double& v : g[i]) v /= std::sqrt(norm);
    }
    return g;
  };
  CHECK(distill::similarity_preserving(s, t).item() ==
        doctest::Approx(mse(similarities(s), similarities(t))).epsilon(1e-5));
  check_gradient({{4, 6}}, [t = Tensor::normal({4, 3}, rng)](In x) {
    return 10.0f * distill::similarity_preserving(x[0], t);
  });
}

TEST_CASE("rkd compares distances and angles") {
  Rng rng(5);
  const Tensor s = Tensor::normal({5, 4}, rng), t = Tensor::normal({5, 6}, rng);
  const auto distances = [](const Matrix& m) {
    Matrix d(m.size(), std::vector<double>(m.size()));
    double sum = 0, count = 0;
    for (size_t i = 0; i < m.size(); ++i) {
      for (size_t j = 0; j < m.size(); ++j) {
        sum += d[i][j] = std::sqrt(distance(m[i], m[j]));
        count += i != j;
      }
    }
    for (auto& row : d) {
      for (double& v : row) v /= sum / count;
    }
    return d;
  };
  const auto cosine = [](const Matrix& m, size_t i, size_t j, size_t k) {
    double dot = 0;
    for (size_t c = 0; c < m[i].size(); ++c) dot += (m[i][c] - m[j][c]) * (m[k][c] - m[j][c]);
    const double norm = std::sqrt(distance(m[i], m[j]) * distance(m[k], m[j]));
    return norm > 0 ? dot / norm : 0.0;
  };
  const Matrix sm = matrix(s), tm = matrix(t), sd = distances(sm), td = distances(tm);
  double apart = 0, angle = 0;
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      apart += huber(sd[i][j] - td[i][j]) / 25;
      for (size_t k = 0; k < 5; ++k)
        angle += huber(cosine(sm, i, j, k) - cosine(tm, i, j, k)) / 125;
    }
  }
  CHECK(distill::rkd(s, t, {2, 0}).item() == doctest::Approx(2 * apart).epsilon(1e-4));
  CHECK(distill::rkd(s, t, {2, 3}).item() == doctest::Approx(2 * apart + 3 * angle).epsilon(1e-4));
  CHECK(distill::rkd(t, t).item() == doctest::Approx(0).epsilon(1e-5));
  check_gradient({{4, 3}}, [t = Tensor::normal({4, 5}, rng)](In x) {
    return distill::rkd(x[0], t, {5, 5});
  });
}

TEST_CASE("irg compares logits, edges and what happens between two places") {
  Rng rng(6);
  const auto answer = [&](int64_t wide) {
    return distill::Answer{
        Tensor::normal({4, 3}, rng),
        {Tensor::normal({4, 4, 4, wide}, rng), Tensor::normal({4, 2, 2, 2 * wide}, rng)}};
  };
  const distill::Answer s = answer(2), t = answer(3);
  const auto transforms = [](const distill::Answer& a) {
    const Tensor f2 = avg_pool2d(a.features[0], {.kernel = 2, .stride = 2}), f3 = a.features[1];
    const int64_t c = f2.dim(3);
    std::vector<double> d;
    double most = 0;
    for (int64_t n = 0; n < 4; ++n) {
      double sum = 0;
      for (int64_t p = 0; p < 4; ++p) {
        for (int64_t k = 0; k < c; ++k) {
          const float* pair = f3.data() + (n * 4 + p) * 2 * c + 2 * k;
          sum += std::pow(f2.data()[(n * 4 + p) * c + k] - (double{pair[0]} + pair[1]) / 2, 2);
        }
      }
      most = std::max(most, d.emplace_back(sum));
    }
    for (double& v : d) v /= most;
    return Matrix{d};
  };
  const double vertex = mse(matrix(s.logits), matrix(t.logits));
  double edge = mse(edges(s.features[0]), edges(t.features[0])) +
                mse(edges(s.features[1]), edges(t.features[1]));
  edge += mse(edges(global_avg_pool2d(s.features[1])), edges(global_avg_pool2d(t.features[1])));
  const double transform = mse(transforms(s), transforms(t));
  CHECK(distill::irg(s, t, {1, 0, 0}).item() == doctest::Approx(vertex).epsilon(1e-5));
  CHECK(distill::irg(s, t, {0, 3, 0}).item() == doctest::Approx(edge).epsilon(1e-4));
  CHECK(distill::irg(s, t, {0, 0, 1}).item() == doctest::Approx(transform).epsilon(1e-4));
  check_gradient({{3, 4}, {3, 4, 4, 2}, {3, 2, 2, 4}},
                 [t = distill::Answer{Tensor::normal({3, 4}, rng),
                                      {Tensor::normal({3, 4, 4, 2}, rng),
                                       Tensor::normal({3, 2, 2, 4}, rng)}}](In x) {
                   return distill::irg({x[0], {x[1], x[2]}}, t);
                 });
}

TEST_CASE("constant features give no NaN") {
  const Tensor flat = Tensor::ones({3, 2, 2, 4}), logits = Tensor::zeros({3, 5});
  const distill::Answer a{logits, {flat, flat}};
  for (const Tensor& loss :
       {distill::attention_transfer(Tensor::zeros({3, 2, 2, 4}), flat),
        distill::similarity_preserving(Tensor::zeros({3, 2, 2, 4}), flat),
        distill::rkd(logits, logits), distill::irg(a, a), distill::kd(logits, logits)}) {
    CHECK(std::isfinite(loss.item()));
  }
}
