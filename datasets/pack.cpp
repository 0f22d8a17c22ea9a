#include "datasets/pack.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/parallel.h"
#include "datasets/codecs.h"
#include "datasets/photo.h"
#include "datasets/photo_files.h"
#include "datasets/resize.h"

namespace pare::datasets {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMagic = "parepack";
constexpr uint32_t kVersion = 1;
constexpr size_t kHead = 12, kTail = 28;  // magic, version; index: begin, bytes, CRC, magic

// --- Numbers and texts in bytes.

struct Packer {
  std::string bytes;
  void number(uint64_t v, int width) {
    for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(v >> 8 * i & 255));
  }
  void text(std::string_view t) {
    number(t.size(), 4);
    bytes += t;
  }
};

struct Unpacker {
  std::string_view bytes;
  const std::string& path;

  uint64_t number(int width) {
    need(static_cast<size_t>(width));
    uint64_t v = 0;
    for (int i = width; i-- > 0;) v = v << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
    bytes.remove_prefix(static_cast<size_t>(width));
    return v;
  }
  std::string text() {
    const uint64_t size = number(4);
    need(size);
    std::string t(bytes.substr(0, size));
    bytes.remove_prefix(size);
    return t;
  }
  void need(uint64_t n) const {
    PARE_CHECK(bytes.size() >= n, path, ": the index ends early", hint("pack the data again"));
  }
};

// --- Files.

[[noreturn]] void fail_with_errno(const std::string& what) {
  throw Error(str(what, ": ", std::strerror(errno)), "pack");
}

class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail_with_errno("cannot open " + path);
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void write(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::write(fd_, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_with_errno("cannot write the pack");
      data.remove_prefix(static_cast<size_t>(n));
    }
  }
  void flush() {
    if (::fsync(fd_) != 0 && errno != EINVAL) fail_with_errno("cannot flush the pack");
  }
  /// `size` bytes from `at`.
  void read(uint64_t at, char* to, size_t size) const {
    while (size > 0) {
      const ssize_t n = ::pread(fd_, to, size, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_with_errno("cannot read the pack");
      PARE_CHECK(n > 0, "the pack ends early");
      at += static_cast<uint64_t>(n), to += n, size -= static_cast<size_t>(n);
    }
  }

 private:
  int fd_;
};

uint32_t crc_of(std::string_view bytes) {
  uLong crc = crc32(0, nullptr, 0);
  while (!bytes.empty()) {
    const size_t n = std::min<size_t>(bytes.size(), size_t{1} << 30);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(n));
    bytes.remove_prefix(n);
  }
  return static_cast<uint32_t>(crc);
}

// --- Reading.

class Pack final : public PhotoFiles {
 public:
  explicit Pack(const std::string& path) : path_(path), file_(path, O_RDONLY) {
    const std::string index = read_index();
    Unpacker in{index, path_};
    for (uint64_t n = in.number(4); n > 0; --n) class_names.push_back(in.text());
    for (uint64_t n = in.number(8); n > 0; --n) {
      const auto label = static_cast<int64_t>(in.number(4));
      PARE_CHECK(label < static_cast<int64_t>(class_names.size()), path_, ": picture ",
                 labels.size(), " has label ", label, ", there are ", class_names.size());
      labels.push_back(static_cast<int32_t>(label));
      names_ += in.text();
      name_ends_.push_back(names_.size());
      ends_.push_back(ends_.back() + in.number(4));
      PARE_CHECK(ends_.back() <= data_end_, path_, ": picture ", labels.size() - 1,
                 " lies beyond the pictures", hint("pack the data again"));
    }
    PARE_CHECK(count() > 0, path_, ": holds no picture");
  }

  std::string name(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    return names_.substr(name_ends_[i], name_ends_[i + 1] - name_ends_[i]);
  }

  std::vector<uint8_t> read(int64_t index) const override {
    const auto i = static_cast<size_t>(index);
    std::vector<uint8_t> bytes(ends_[i + 1] - ends_[i]);
    file_.read(ends_[i], reinterpret_cast<char*>(bytes.data()), bytes.size());
    return bytes;
  }

 private:
  std::string read_index() {
    const uint64_t size = fs::file_size(path_);
    PARE_CHECK(size >= kHead + kTail, path_, ": ", size, " bytes are no pack",
               hint("pack the data again"));
    std::string head(kHead, '\0'), tail(kTail, '\0');
    file_.read(0, head.data(), kHead);
    file_.read(size - kTail, tail.data(), kTail);
    Unpacker from_head{std::string_view(head).substr(kMagic.size()), path_};
    const uint64_t version = from_head.number(4);
    PARE_CHECK(head.starts_with(kMagic) && tail.ends_with(kMagic) && version == kVersion, path_,
               ": not a pack, or cut off, or of another version", hint("pack the data again"));
    Unpacker in{tail, path_};
    const uint64_t begin = in.number(8), length = in.number(8), crc = in.number(4);
    PARE_CHECK(begin >= kHead && begin <= size - kTail && length == size - kTail - begin, path_,
               ": the index is at ", begin, ", ", length, " bytes long, in a file of ", size);
    std::string index(length, '\0');
    file_.read(begin, index.data(), length);
    PARE_CHECK(crc_of(index) == crc, path_, ": the index is damaged", hint("pack the data again"));
    data_end_ = begin;
    return index;
  }

  std::string path_;
  File file_;
  uint64_t data_end_ = 0;
  std::string names_;
  std::vector<size_t> name_ends_ = {0};
  std::vector<uint64_t> ends_ = {kHead};
};

// --- Writing.

struct Picture {
  std::vector<uint8_t> bytes;
  int64_t before = 0;  // bytes
  bool shrunk = false;
  std::string reason = {};  // it was left out
};

/// The file itself if it is small enough and upright; else a new JPEG.
Picture make_picture(const PhotoFiles& files, int64_t index, const PackOptions& o) {
  Picture p;
  try {
    p.bytes = files.read(index);
    p.before = static_cast<int64_t>(p.bytes.size());
    const Photo photo(p.bytes);
    const int64_t h = photo.height(), w = photo.width(), shorter = std::min(h, w);
    Bitmap image = photo.decode();  // also shows that it can be
    if (o.size == 0 || shorter <= o.size) return p;
    const Box all{0, 0, static_cast<double>(h), static_cast<double>(w)};
    image = resize(image, all, {h * o.size / shorter, w * o.size / shorter, Filter::bicubic});
    const bool turbo = !turbo::version().empty();
    p.bytes = turbo ? turbo::encode_jpeg(image, o.quality) : stb::encode_jpeg(image, o.quality);
    p.shrunk = true;
  } catch (const Error& e) {
    p.reason = e.what();
  }
  return p;
}

class PackWriter {
 public:
  PackWriter(const std::string& path, const PhotoFiles& files, const PackOptions& options)
      : files_(files), opt_(options), file_(path, O_WRONLY | O_CREAT | O_TRUNC) {
    Packer head;
    head.bytes = kMagic;
    head.number(kVersion, 4);
    file_.write(head.bytes);
    packed_.classes = static_cast<int64_t>(files.class_names.size());
    packed_.left_out = files.ignored;
  }

  Packed run() {
    constexpr int64_t kTogether = 64;  // pictures in memory
    const int64_t n = files_.count();
    for (int64_t begin = 0; begin < n; begin += kTogether) {
      std::vector<Picture> pictures(static_cast<size_t>(std::min(kTogether, n - begin)));
      parallel_for(static_cast<int64_t>(pictures.size()), 1, [&](Range r) {
        for (int64_t i = r.begin; i < r.end; ++i) {
          pictures[static_cast<size_t>(i)] = make_picture(files_, begin + i, opt_);
        }
      });
      for (size_t i = 0; i < pictures.size(); ++i) {
        add(begin + static_cast<int64_t>(i), pictures[i]);
      }
      if (opt_.progress) opt_.progress(std::min(n, begin + kTogether), n);
    }
    PARE_CHECK(packed_.pictures > 0, "pack: none of ", n, " pictures could be read; ",
               packed_.left_out.back().file, ": ", packed_.left_out.back().reason);
    finish();
    return packed_;
  }

 private:
  void add(int64_t index, const Picture& p) {
    if (!p.reason.empty()) {
      packed_.left_out.push_back({files_.name(index), p.reason});
      return;
    }
    file_.write({reinterpret_cast<const char*>(p.bytes.data()), p.bytes.size()});
    entries_.number(static_cast<uint64_t>(files_.labels[static_cast<size_t>(index)]), 4);
    entries_.text(files_.name(index));
    entries_.number(p.bytes.size(), 4);
    data_ += p.bytes.size();
    ++packed_.pictures;
    packed_.shrunk += p.shrunk;
    packed_.bytes_before += p.before;
  }

  void finish() {
    Packer index;
    index.number(files_.class_names.size(), 4);
    for (const std::string& name : files_.class_names) index.text(name);
    index.number(static_cast<uint64_t>(packed_.pictures), 8);
    index.bytes += entries_.bytes;
    const uint32_t crc = crc_of(index.bytes);
    const size_t length = index.bytes.size();
    index.number(kHead + data_, 8);
    index.number(length, 8);
    index.number(crc, 4);
    index.bytes += kMagic;
    file_.write(index.bytes);
    file_.flush();
    packed_.bytes = static_cast<int64_t>(kHead + data_ + index.bytes.size());
  }

  const PhotoFiles& files_;
  const PackOptions& opt_;
  File file_;
  Packer entries_;
  uint64_t data_ = 0;
  Packed packed_;
};

}  // namespace

std::unique_ptr<PhotoFiles> open_pack(const std::string& path) {
  return std::make_unique<Pack>(path);
}

Packed pack(const PackOptions& o) {
  PARE_CHECK(o.size >= 0, "pack: size must be >= 0, got ", o.size);
  PARE_CHECK(o.quality >= 1 && o.quality <= 100, "pack: quality must be in 1 .. 100, got ",
             o.quality);
  const auto files = find_photos(o.dir, o.split);
  std::error_code failed;
  fs::create_directories(o.out, failed);
  PARE_CHECK(!failed, "pack: cannot create '", o.out, "': ", failed.message());
  const std::string path = (fs::path(o.out) / (std::string(name_of(o.split)) + ".pack")).string();
  PARE_CHECK(!fs::exists(path), "pack: '", path, "' is there already",
             hint("remove it, or choose another folder"));
  const std::string temporary = str(path, ".tmp-", ::getpid());
  try {
    Packed packed = PackWriter(temporary, *files, o).run();
    fs::rename(temporary, path);
    packed.path = path;
    return packed;
  } catch (...) {
    fs::remove(temporary, failed);
    throw;
  }
}

}  // namespace pare::datasets
