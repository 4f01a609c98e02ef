#include "base/log.hpp"

#include "base/text.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <sstream>
#include <thread>
#include <vector>

namespace cairn::log {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

// A file in memory that lines are written to.
class Captured {
 public:
  Captured() : fd_(::memfd_create("log", MFD_CLOEXEC)) {}
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() { ::close(fd_); }

  int fd() const { return fd_; }
  std::string text() const {
    struct stat info {};
    EXPECT_EQ(::fstat(fd_, &info), 0);
    std::string all(static_cast<std::size_t>(info.st_size), '\0');
    EXPECT_EQ(::pread(fd_, all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
    return all;
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> list;
    std::istringstream in(text());
    for (std::string line; std::getline(in, line);) list.push_back(line);
    return list;
  }

 private:
  int fd_;
};

static_assert(!std::is_convertible_v<Secret, Value>, "a secret must not be loggable");

TEST(Log, WritesOneJsonObjectPerLine) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  const std::string text = "x";
  sink.write(Level::warn, "started",
             {{"listen", "127.0.0.1:80"},
              {"text", text},
              {"ms", 12},
              {"size", 18446744073709551615U},
              {"ok", true},
              {"share", 0.5},
              {"low", std::int64_t{-5}}});
  ASSERT_EQ(out.lines().size(), 1U);
  const auto line = boost::json::parse(out.lines()[0]).as_object();
  EXPECT_THAT(line.at("time").as_string().c_str(),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{6})?Z"));
  EXPECT_EQ(line.at("level"), "warn");
  EXPECT_EQ(line.at("message"), "started");
  EXPECT_EQ(line.at("listen"), "127.0.0.1:80");
  EXPECT_EQ(line.at("text"), "x");
  EXPECT_EQ(line.at("ms"), 12);
  EXPECT_EQ(line.at("size"), 18446744073709551615U);
  EXPECT_EQ(line.at("ok"), true);
  EXPECT_EQ(line.at("share"), 0.5);
  EXPECT_EQ(line.at("low"), -5);
}

TEST(Log, LeavesOutWhatIsBelowItsLevel) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::warn);
  sink.write(Level::info, "quiet");
  EXPECT_TRUE(out.text().empty());
  sink.set_level(Level::debug);
  sink.write(Level::debug, "loud");
  EXPECT_THAT(out.text(), HasSubstr("loud"));
}

TEST(Log, KeepsEveryTextOnItsLineAndInItsString) {
  const std::string nasty = "a\"b\\c\nd\te\x1b[31m\x7f\xc2\x85 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xff\xc3";
  for (const Format format : {Format::json, Format::console}) {
    const Captured out;
    Sink sink(out.fd(), format, Level::info);
    sink.write(Level::info, nasty, {{"field", nasty}});
    ASSERT_EQ(out.lines().size(), 1U);
    EXPECT_THAT(out.text(), Not(HasSubstr("\x1b")));
    EXPECT_THAT(out.text(), Not(HasSubstr("\xc2\x85")));
    if (format == Format::console) continue;
    const auto line = boost::json::parse(out.text()).as_object();
    EXPECT_EQ(line.at("field"),
              "a\"b\\c\nd\te\x1b[31m\x7f\xc2\x85 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 "
              "\xef\xbf\xbd\xef\xbf\xbd");
  }
}

TEST(Log, SaysNullForNumbersThatJsonDoesNotKnow) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  sink.write(Level::info, "x",
             {{"a", std::numeric_limits<double>::infinity()}, {"b", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_THAT(out.text(), HasSubstr(R"("a":null,"b":null)"));
}

TEST(Log, IsReadableOnAConsole) {
  const Captured out;
  Sink sink(out.fd(), Format::console, Level::info);
  sink.write(Level::info, "started", {{"listen", "127.0.0.1:80"}, {"note", "two words"}, {"ms", 12}});
  EXPECT_THAT(out.text(), HasSubstr("Z INFO  started listen=127.0.0.1:80 note=\"two words\" ms=12\n"));
}

TEST(Log, IsJsonWhereThereIsNoTerminal) {
  const Captured out;
  const Sink sink(out.fd(), Format::automatic, Level::info);
  EXPECT_EQ(sink.format(), Format::json);
  EXPECT_FALSE(sink.colour());
}

TEST(Log, IsTextOnATerminal) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const int side = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(side, 0);
  EXPECT_EQ(Sink(side, Format::automatic, Level::info).format(), Format::console);
  ::close(side);
  ::close(terminal);
}

TEST(Log, KeepsLinesOfSeveralThreadsApart) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  constexpr std::size_t threads = 4, lines = 500;
  {
    std::vector<std::jthread> writers;
    for (std::size_t i = 0; i < threads; ++i) {
      writers.emplace_back([&sink] {
        for (std::size_t n = 0; n < lines; ++n) sink.write(Level::info, "line", {{"n", n}});
      });
    }
  }
  const auto written = out.lines();
  ASSERT_EQ(written.size(), threads * lines);
  for (const auto& line : written) EXPECT_NO_THROW(boost::json::parse(line)) << line;
}

TEST(Log, OutlivesAReaderThatIsGone) {
  Sink closed(-1, Format::json, Level::info);
  closed.write(Level::error, "nobody reads this");
  SUCCEED();
}

TEST(AccessLog, WritesNothingBeforeItIsFlushed) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  AccessLog log(AccessMode::all, sink);
  log.append({.request_id = "r1",
              .method = "GET",
              .route = "/v1/tasks/{task}",
              .status = 200,
              .duration = std::chrono::microseconds{417},
              .bytes = 1234,
              .actor = "u1",
              .organization = "o1",
              .ip = "192.0.2.1"});
  EXPECT_TRUE(out.text().empty());
  log.flush();
  const auto line = boost::json::parse(out.text()).as_object();
  EXPECT_EQ(line.at("message"), "request");
  EXPECT_EQ(line.at("request_id"), "r1");
  EXPECT_EQ(line.at("method"), "GET");
  EXPECT_EQ(line.at("route"), "/v1/tasks/{task}");
  EXPECT_EQ(line.at("status"), 200);
  EXPECT_EQ(line.at("duration_us"), 417);
  EXPECT_EQ(line.at("bytes"), 1234);
  EXPECT_EQ(line.at("actor"), "u1");
  EXPECT_EQ(line.at("organization"), "o1");
  EXPECT_EQ(line.at("ip"), "192.0.2.1");
  log.flush();
  EXPECT_EQ(out.lines().size(), 1U);
}

TEST(AccessLog, LeavesOutWhoIsNotKnown) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  AccessLog(AccessMode::all, sink).append({.request_id = "r1", .method = "GET", .route = "/healthz", .status = 200});
  EXPECT_THAT(out.text(), Not(HasSubstr("actor")));
  EXPECT_THAT(out.text(), Not(HasSubstr("\"ip\"")));
}

TEST(AccessLog, WritesWhenItsBufferIsFull) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  AccessLog log(AccessMode::all, sink);
  std::size_t appended = 0;
  while (out.text().empty() && appended < 10'000) {
    log.append({.request_id = "r", .method = "GET", .route = "/", .status = 200});
    ++appended;
  }
  EXPECT_EQ(out.lines().size(), appended);
  EXPECT_GE(out.text().size(), AccessLog::flush_bytes);
  EXPECT_LT(out.text().size(), AccessLog::flush_bytes + 1024);
}

TEST(AccessLog, KeepsOnlyFailuresWhenAskedTo) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  {
    AccessLog log(AccessMode::errors, sink);
    for (const unsigned status : {200U, 304U, 404U, 500U}) log.append({.request_id = "r", .status = status});
  }
  ASSERT_EQ(out.lines().size(), 2U);
  EXPECT_THAT(out.lines()[0], HasSubstr("\"status\":404"));
  EXPECT_THAT(out.lines()[1], HasSubstr("\"level\":\"error\""));
}

TEST(AccessLog, IsSilentWhenOff) {
  const Captured out;
  Sink sink(out.fd(), Format::json, Level::info);
  AccessLog(AccessMode::off, sink).append({.request_id = "r", .status = 500});
  EXPECT_TRUE(out.text().empty());
}

}  // namespace
}  // namespace cairn::log
