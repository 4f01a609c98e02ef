#include "base/hasher.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

#include "base/problem.hpp"

namespace cairn {
namespace {

Hasher::Settings cheap() {
  Hasher::Settings settings;
  settings.memory_bytes = 8 * 1024;
  settings.iterations = 1;
  return settings;
}

template<class T>
T result_of(async<T> task) {
  boost::asio::io_context io;
  std::optional<T> result;
  std::exception_ptr failure;
  std::thread::id thread;
  boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr error, T value) {
    failure = error;
    result = std::move(value);
    thread = std::this_thread::get_id();
  });
  io.run();
  EXPECT_EQ(thread, std::this_thread::get_id()) << "continued on a thread of the pool";
  if (failure) std::rethrow_exception(failure);
  return std::move(*result);
}

bool right(Hasher& hasher, std::string_view password, std::optional<std::string> hash) {
  return result_of(hasher.verify(Secret(std::string(password)), std::move(hash))).right;
}

TEST(Hashes, FitTheirPasswordAndNoOther) {
  Hasher hasher(cheap());
  const auto hash = result_of(hasher.hash(Secret("correct horse")));
  EXPECT_LE(hash.size(), 255u);
  EXPECT_TRUE(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$")) << hash;
  EXPECT_NE(hash, result_of(hasher.hash(Secret("correct horse")))) << "no salt";
  EXPECT_TRUE(right(hasher, "correct horse", hash));
  for (const auto* wrong : {"", "correct hors", "correct horse ", "Correct horse"})
    EXPECT_FALSE(right(hasher, wrong, hash)) << wrong;
  // Nothing is cut off, neither at 72 bytes nor at a NUL.
  const std::string longest(Secret::max, 'x'), with_nul("a\0b", 3);
  EXPECT_FALSE(right(hasher, longest.substr(1), result_of(hasher.hash(Secret(longest)))));
  EXPECT_FALSE(right(hasher, "a", result_of(hasher.hash(Secret(with_nul)))));
}

TEST(Hashes, ThatAreNoneFitNothing) {
  Hasher hasher(cheap());
  EXPECT_FALSE(right(hasher, "", std::nullopt));
  for (const auto* hash : {"", "x", "$argon2id$", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA", "$2b$12$abc"})
    EXPECT_FALSE(right(hasher, "", hash)) << hash;
}

TEST(Hashes, OfWeakerParametersAreOutdated) {
  auto stronger = cheap();
  stronger.iterations = 2;
  Hasher weak(cheap()), strong(stronger);
  const auto hash = result_of(weak.hash(Secret("x")));
  EXPECT_FALSE(result_of(weak.verify(Secret("x"), hash)).outdated);
  EXPECT_TRUE(result_of(strong.verify(Secret("x"), hash)).outdated);
  EXPECT_FALSE(result_of(strong.verify(Secret("y"), hash)).outdated) << "nothing to hash again";
}

TEST(Hashes, BeyondTheQueueAreRefused) {
  auto settings = cheap();
  settings.queue = 1;
  Hasher narrow(settings);
  for (int i = 0; i < 3; ++i) EXPECT_NO_THROW(result_of(narrow.hash(Secret("x")))) << "the place was not given back";
  settings.queue = 0;
  Hasher full(settings);
  try {
    result_of(full.hash(Secret("x")));
    FAIL();
  } catch (const Problem& problem) {
    EXPECT_EQ(problem.kind, Kind::unavailable);
    EXPECT_TRUE(problem.retry_after);
  }
}

}  // namespace
}  // namespace cairn
