#include "base/hasher.hpp"

#include <sodium.h>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <array>
#include <stdexcept>

#include "base/problem.hpp"

namespace cairn {
namespace {

std::string argon2id(const std::string& password, const Hasher::Settings& settings) {
  std::array<char, crypto_pwhash_STRBYTES> text{};
  if (crypto_pwhash_argon2id_str(text.data(), password.data(), password.size(), settings.iterations,
                                 settings.memory_bytes) != 0)
    throw Problem(Kind::unavailable, "The server is out of memory for password hashing.");
  return text.data();
}

}  // namespace

Hasher::Hasher(Settings settings) : settings_(settings) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be initialised");
  std::array<char, 32> random;
  randombytes_buf(random.data(), random.size());
  decoy_ = argon2id({random.data(), random.size()}, settings_);
}

Hasher::~Hasher() {
  pool_.stop();
  pool_.join();
}

template<class Work>
auto Hasher::in_pool(Work work) -> async<std::invoke_result_t<Work&>> {
  using Result = std::invoke_result_t<Work&>;
  if (waiting_.fetch_add(1) >= settings_.queue) {
    --waiting_;
    Problem busy(Kind::unavailable, "Too many sign-ins at once.");
    busy.retry_after = 1;
    throw std::move(busy);
  }
  const auto home = co_await boost::asio::this_coro::executor;
  std::optional<Result> result;
  std::exception_ptr failure;
  auto start = [&, home](auto handler) {
    auto job = [&, home, handler = std::move(handler)]() mutable {
      try {
        result.emplace(work());
      } catch (...) { failure = std::current_exception(); }
      --waiting_;
      boost::asio::post(home, std::move(handler));
    };
    boost::asio::post(pool_, std::move(job));
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<Executor>&, void()>(start, awaiting);
  if (failure) std::rethrow_exception(failure);
  co_return std::move(*result);
}

async<std::string> Hasher::hash(Secret password) {
  auto work = [this, &password] { return argon2id(password.reveal(), settings_); };
  std::string text = co_await in_pool(std::move(work));
  co_return text;
}

async<Hasher::Verdict> Hasher::verify(Secret password, std::optional<std::string> hash) {
  auto work = [this, &password, &hash] {
    const bool usable = hash && hash->starts_with("$argon2id$");
    const std::string& against = usable ? *hash : decoy_;
    Verdict verdict;
    const bool matches =
        crypto_pwhash_str_verify(against.c_str(), password.reveal().data(), password.reveal().size()) == 0;
    verdict.right = matches && usable;
    verdict.outdated = verdict.right && crypto_pwhash_str_needs_rehash(against.c_str(), settings_.iterations,
                                                                       settings_.memory_bytes) != 0;
    return verdict;
  };
  Verdict verdict = co_await in_pool(std::move(work));
  co_return verdict;
}

}  // namespace cairn
