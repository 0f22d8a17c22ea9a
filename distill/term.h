#pragma once
// A term of a distillation objective: how far a student's answer is from its teacher's. A new one
// is a file in distill/losses/ that defines `TermInfo pare::distill::parts::NAME()`; it is found
// because it is there (CMakeLists.txt).

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"
#include "nn/module.h"

namespace pare::distill {

/// What a network says about a batch.
struct Answer {
  Tensor logits;                 // [N, classes]
  std::vector<Tensor> features;  // [N, H, W, C] or [N, C], of the places of a term, in their order
  Tensor images = {};            // [N, H, W, C]
};

/// Two modules whose outputs are compared.
struct Place {
  std::string student, teacher;  // paths
  bool operator==(const Place&) const = default;
};

class Term {
 public:
  virtual ~Term() = default;
  /// For terms that run parts of the networks themselves; both outlive the term. Comes first.
  virtual void join(nn::Layer& /*student*/, nn::Layer& /*teacher*/,
                    const std::vector<Place>& /*places*/) {}
  /// Sees one answer of each before training: checks shapes, makes what it learns.
  virtual void prepare(const Answer& /*student*/, const Answer& /*teacher*/, Rng& /*rng*/) {}
  /// Scalar; `labels` [N] are class indices. The teacher's answer has no history, and is empty for
  /// terms that do not ask for it.
  virtual Tensor operator()(const Answer& student, const Answer& teacher,
                            const Tensor& labels) const = 0;
  /// What is learned along with the student: regressors, variances.
  virtual void visit(nn::Visitor&) {}
};

/// A number in a term's text: kd:4:0.7 is temperature 4, weight 0.7.
struct Number {
  std::string name;
  double usual = 0, min = 0;  // min itself is allowed
};

struct TermInfo {
  std::string name, summary;
  std::vector<Number> numbers;  // in the order of the text; the last one is the weight
  int min_places = 0, max_places = 0;
  std::function<std::unique_ptr<Term>(const std::vector<double>& numbers)> make;
  bool asks_teacher = true;  // false: it is about the student alone
};

/// Sorted by name.
const std::vector<TermInfo>& terms();
/// Unknown names list the known ones.
const TermInfo& find_term(const std::string& name);

/// A term as it was asked for.
struct TermSpec {
  std::string name;
  std::vector<double> numbers;  // all, the weight last
  std::vector<Place> places;

  double weight() const { return numbers.back(); }
};

/// NAME[:NUMBER ...][:PLACE+PLACE ...], numbers in their order, the rest as usual; a place is a
/// module path, or STUDENT>TEACHER where their paths differ: "kd:4:0.7", "vid:layer1+layer2",
/// "hint:100:layer2>layer4". Throws, saying what is wrong.
TermSpec parse_term(const std::string& text);
/// parse_term(to_string(s)) is s.
std::string to_string(const TermSpec& spec);
/// All terms with their numbers, as --help prints them.
std::string describe_terms();

}  // namespace pare::distill
