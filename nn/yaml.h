#pragma once
// YAML as configs, plans and recipes read it: a tree of values that know their line, so that what
// is refused is refused with the place, and a mistyped key with the nearest known one.
//
//   const Yaml file = Yaml::load("q.yaml");
//   file.check_keys({"W", "A"});               // q.yaml:7: unknown key Q. Did you mean ...?
//   const int64_t bits = file.at("W").at("BIT").integer(2, 16);
//
// Anchors and aliases work; a key that is there twice is an error, and so is a second document.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pare::nn {

class Yaml {
 public:
  enum class Kind : uint8_t { null, scalar, list, map };
  struct Entry;

  static Yaml load(const std::string& path);
  /// `name` stands for the file in messages.
  static Yaml parse(const std::string& text, const std::string& name);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_scalar() const { return kind_ == Kind::scalar; }
  bool is_list() const { return kind_ == Kind::list; }
  bool is_map() const { return kind_ == Kind::map; }
  /// From 1.
  int line() const { return line_; }
  /// "W.SPECIFIC[0]"; empty at the top.
  const std::string& path() const { return path_; }

  /// Of a map; nothing at all (null) counts as an empty one. In the order of the file.
  const std::vector<Entry>& entries() const;
  /// The value of a key, or null if it is not there.
  const Yaml* find(const std::string& key) const;
  /// The value of a key that must be there.
  const Yaml& at(const std::string& key) const;
  /// Refuses the first key that is none of these.
  void check_keys(const std::vector<std::string>& known) const;

  /// Of a list.
  const std::vector<Yaml>& items() const;

  /// Of a scalar, as it is written.
  const std::string& text() const;
  /// One of these words.
  const std::string& word(const std::vector<std::string>& words) const;
  /// true, false, yes, no, on, off
  bool boolean() const;
  int64_t integer(int64_t min, int64_t max) const;
  double number(double min, double max) const;

  /// "q.yaml:7: W.BIT: problem"
  [[noreturn]] void fail(const std::string& problem, const std::string& advice = {}) const;

 private:
  friend class YamlReader;
  std::string shown() const;

  Kind kind_ = Kind::null;
  int line_ = 1;
  std::shared_ptr<const std::string> file_;
  std::string path_, text_;
  std::vector<Yaml> items_;
  std::vector<Entry> entries_;
};

struct Yaml::Entry {
  std::string key;
  int line;  // of the key
  Yaml value;
};

}  // namespace pare::nn
