#include "core/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace pare {

namespace {

[[noreturn]] void fail_write(const std::string& path, const char* step) {
  throw Error(str("cannot write ", path, ": ", step, ": ", std::strerror(errno)), "files");
}

void write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw errno;
    data.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

void write_file_atomically(const std::string& path, const std::vector<std::string_view>& parts) {
  const std::string temporary = path + ".tmp-" + std::to_string(::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail_write(path, "open");
  const auto give_up = [&](const char* step) {
    const int saved = errno;
    ::close(fd);
    ::unlink(temporary.c_str());
    errno = saved;
    fail_write(path, step);
  };
  try {
    for (std::string_view part : parts) write_all(fd, part);
  } catch (int code) {
    errno = code;
    give_up("write");
  }
  if (::fsync(fd) != 0 && errno != EINVAL && errno != EROFS) give_up("flush");
  ::close(fd);
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int saved = errno;
    ::unlink(temporary.c_str());
    errno = saved;
    fail_write(path, "rename");
  }
}

std::string read_file(const std::string& path) {
  PARE_CHECK(!std::filesystem::is_directory(path), "cannot read ", path, ": it is a folder");
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  PARE_CHECK(in, "cannot read ", path, ": ", std::strerror(errno));
  std::string content(static_cast<size_t>(in.tellg()), '\0');
  in.seekg(0);
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  PARE_CHECK(in, "cannot read ", path, ": the file ended early");
  return content;
}

}  // namespace pare
