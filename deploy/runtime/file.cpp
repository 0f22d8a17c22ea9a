#include "deploy/runtime/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "core/error.h"
#include "deploy/runtime/huffman.h"

static_assert(std::endian::native == std::endian::little, "model.pare is read as it lies");

namespace pare::runtime {

namespace {

constexpr std::array<char, 8> kMagic = {'p', 'a', 'r', 'e', '\r', '\n', 26, '\n'};
constexpr uint32_t kVersion = 2;
constexpr int64_t kHeader = 32;  // magic, version, flags, size, checksum
constexpr int64_t kAlign = 8;    // of weights

/// CRC-32 as in zlib.
uint32_t checksum(const uint8_t* data, int64_t size) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = ~0u;
  for (int64_t i = 0; i < size; ++i) c = table[(c ^ data[i]) & 255] ^ (c >> 8);
  return ~c;
}

// One list of fields for both directions: Writer and Reader have the same calls.

class Writer {
 public:
  std::vector<uint8_t> bytes = std::vector<uint8_t>(kHeader);  // which is filled in last

  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void value(const T& v) { raw(&v, sizeof v); }
  void text(const std::string& s) {
    value(static_cast<uint32_t>(s.size()));
    raw(s.data(), s.size());
  }
  template <class T>
  void list(const std::vector<T>& v) {
    value(static_cast<uint32_t>(v.size()));
    raw(v.data(), v.size() * sizeof(T));
  }
  template <class T, class Each>
  void items(const std::vector<T>& v, Each&& each) {
    value(static_cast<uint32_t>(v.size()));
    for (const T& item : v) each(item);
  }
  /// Floats stay as they lie, so that they can be mapped.
  void weights(const Coding& coding, const Bytes& b) {
    value(static_cast<uint64_t>(b.size));
    const HuffmanCode code = coding == Coding::f32 ? HuffmanCode{} : huffman_encode(b.data, b.size);
    const bool shorter = !code.bits.empty() && code.size() < b.size;
    value(shorter);
    if (!shorter) {
      while (bytes.size() % kAlign) bytes.push_back(0);
      return raw(b.data, static_cast<size_t>(b.size));
    }
    for (size_t i = 0; i < code.length.size(); i += 2) {
      value(static_cast<uint8_t>(code.length[i] | code.length[i + 1] << 4));
    }
    list(code.bits);
  }

 private:
  void raw(const void* p, size_t n) {
    const auto* from = static_cast<const uint8_t*>(p);
    bytes.insert(bytes.end(), from, from + n);
  }
};

class Reader {
 public:
  Reader(const Bytes& all, int64_t at, const std::string& name) : all_(all), at_(at), name_(name) {}

  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void value(T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      value(byte);
      PARE_CHECK(byte <= 1, name_, ": a yes or no is ", int{byte}, " at byte ", at_ - 1);
      v = byte != 0;
    } else {
      std::memcpy(&v, take(sizeof v), sizeof v);
    }
  }
  void text(std::string& s) {
    const int64_t n = count(1);
    s.assign(reinterpret_cast<const char*>(take(n)), static_cast<size_t>(n));
  }
  template <class T>
  void list(std::vector<T>& v) {
    const int64_t n = count(sizeof(T));
    v.resize(static_cast<size_t>(n));
    const uint8_t* from = take(n * static_cast<int64_t>(sizeof(T)));
    if (n > 0) std::memcpy(v.data(), from, static_cast<size_t>(n) * sizeof(T));
  }
  template <class T, class Each>
  void items(std::vector<T>& v, Each&& each) {
    v.resize(static_cast<size_t>(count(1)));
    for (T& item : v) each(item);
  }
  void weights(const Coding&, Bytes& b) {
    uint64_t n = 0;
    bool shorter = false;
    value(n);
    value(shorter);
    if (shorter) return decode(n, b);
    take((kAlign - at_ % kAlign) % kAlign);
    PARE_CHECK(n <= static_cast<uint64_t>(all_.size - at_), name_, ": ends within weights, ", n,
               " bytes of which were to begin at byte ", at_);
    b = {all_.owner, take(static_cast<int64_t>(n)), static_cast<int64_t>(n)};
  }
  void finish() const {
    PARE_CHECK(at_ == all_.size, name_, ": has ", all_.size - at_, " bytes behind its end");
  }

 private:
  void decode(uint64_t n, Bytes& b) {
    HuffmanCode code;
    for (size_t i = 0; i < code.length.size(); i += 2) {
      uint8_t two = 0;
      value(two);
      code.length[i] = two & 15, code.length[i + 1] = two >> 4;
    }
    list(code.bits);
    // A byte takes one bit at least.
    const bool possible = n <= 8 * code.bits.size();
    std::vector<uint8_t> bytes(possible ? static_cast<size_t>(n) : 0);
    PARE_CHECK(possible && huffman_decode(code, bytes.data(), static_cast<int64_t>(n)), name_,
               ": the weights in front of byte ", at_, " are no ", n, " bytes");
    b = Bytes::of(std::move(bytes));
  }
  const uint8_t* take(int64_t n) {
    PARE_CHECK(n <= all_.size - at_, name_, ": ends at byte ", all_.size, ", within a field of ", n,
               " bytes");
    const uint8_t* p = all_.data + at_;
    at_ += n;
    return p;
  }
  /// A number of things that take `each` bytes at least.
  int64_t count(size_t each) {
    uint32_t n = 0;
    value(n);
    PARE_CHECK(n <= static_cast<uint64_t>(all_.size - at_) / each, name_, ": says ", n,
               " items follow byte ", at_, ", which is more than the file holds");
    return n;
  }

  const Bytes& all_;
  int64_t at_;
  const std::string& name_;
};

template <class Io, class T>
void window(Io& io, T& w) {
  for (auto* v : {&w.kh, &w.kw, &w.sh, &w.sw, &w.ph, &w.pw, &w.dh, &w.dw}) io.value(*v);
  io.value(w.count_pad);
}

template <class Io, class T>
void finish(Io& io, T& f) {
  io.list(f.scale);
  io.list(f.bias);
  io.list(f.threshold);
  io.list(f.falls);
  io.value(f.min);
  io.value(f.max);
  io.value(f.half_away);
  io.value(f.shift_first);
}

template <class Io, class T>
void fields(Io& io, T& p) {
  io.text(p.name);
  io.items(p.labels, [&](auto& label) { io.text(label); });
  io.list(p.mean);
  io.list(p.std);
  io.items(p.buffers, [&](auto& b) {
    io.text(b.name);
    io.value(b.type);
    for (auto* v : {&b.h, &b.w, &b.c}) io.value(*v);
    io.value(b.scale);
    io.value(b.zero);
  });
  io.value(p.input);
  io.value(p.output);
  io.items(p.ops, [&](auto& op) {
    io.text(op.name);
    io.value(op.kind);
    io.list(op.inputs);
    io.value(op.output);
    window(io, op.window);
    io.value(op.groups);
    io.value(op.pad_before);
    io.value(op.encoding);
    io.value(op.function);
    finish(io, op.finish);
    io.value(op.coding);
    io.weights(op.coding, op.weights);
  });
}

void check_enums(const Program& p, const std::string& name) {
  const auto known = [&](auto value, auto last, const char* what) {
    PARE_CHECK(value <= last, name, ": has the unknown ", what, " ", static_cast<int>(value));
  };
  for (const Buffer& b : p.buffers) known(b.type, Type::bits, "type");
  for (const Op& op : p.ops) {
    known(op.kind, OpKind::function, "op");
    known(op.encoding, Encoding::ternary, "encoding");
    known(op.function, Function::tanh, "function");
    known(op.coding, Coding::o2, "coding");
  }
}

struct Mapping {
  void* at = MAP_FAILED;
  size_t size = 0;
  ~Mapping() {
    if (at != MAP_FAILED) munmap(at, size);
  }
};

struct OpenFile {
  int fd;
  ~OpenFile() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

std::vector<uint8_t> to_bytes(const Program& program) {
  check(program);
  Writer body;
  fields(body, program);
  std::vector<uint8_t>& all = body.bytes;
  const auto size = static_cast<int64_t>(all.size());
  const uint32_t sum = checksum(all.data() + kHeader, size - kHeader);
  std::memcpy(all.data(), kMagic.data(), kMagic.size());
  std::memcpy(all.data() + 8, &kVersion, 4);
  std::memcpy(all.data() + 16, &size, 8);
  std::memcpy(all.data() + 24, &sum, 4);
  return std::move(all);
}

Program from_bytes(const Bytes& bytes, const std::string& name) {
  PARE_CHECK(bytes.size >= kHeader && !std::memcmp(bytes.data, kMagic.data(), kMagic.size()), name,
             ": is no model.pare file",
             hint("pare export --to pare writes them; other files are for pare eval"));
  uint32_t version, flags, sum, reserved;
  int64_t size;
  std::memcpy(&version, bytes.data + 8, 4);
  std::memcpy(&flags, bytes.data + 12, 4);
  std::memcpy(&size, bytes.data + 16, 8);
  std::memcpy(&sum, bytes.data + 24, 4);
  std::memcpy(&reserved, bytes.data + 28, 4);
  PARE_CHECK(version == kVersion, name, ": is version ", version, " of the format, this program ",
             "reads version ", kVersion);
  PARE_CHECK(flags == 0 && reserved == 0, name, ": has flags this program does not know");
  PARE_CHECK(size == bytes.size, name, ": is ", bytes.size, " bytes long, and says it has ", size,
             hint("the copy was cut short, or is of another file"));
  PARE_CHECK(sum == checksum(bytes.data + kHeader, bytes.size - kHeader), name,
             ": its checksum does not agree with its contents", hint("copy it again"));
  Program program;
  Reader reader(bytes, kHeader, name);
  fields(reader, program);
  reader.finish();
  check_enums(program, name);
  check(program);
  return program;
}

Program load(const std::string& path) {
  const OpenFile file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info {};
  PARE_CHECK(file.fd >= 0 && fstat(file.fd, &info) == 0, path, ": ", std::strerror(errno));
  PARE_CHECK(S_ISREG(info.st_mode), path, ": is not a file");
  PARE_CHECK(info.st_size > 0, path, ": is empty");
  auto mapping = std::make_shared<Mapping>();
  mapping->size = static_cast<size_t>(info.st_size);
  mapping->at = mmap(nullptr, mapping->size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  PARE_CHECK(mapping->at != MAP_FAILED, path, ": ", std::strerror(errno));
  const auto* data = static_cast<const uint8_t*>(mapping->at);
  return from_bytes({mapping, data, static_cast<int64_t>(info.st_size)}, path);
}

}  // namespace pare::runtime
