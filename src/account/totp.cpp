#include "account/totp.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>

#include <algorithm>

#include "account/again.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "base/vault.hpp"

namespace cairn::account::totp {

namespace {

constexpr std::int64_t seconds_per_step = 30;
constexpr std::size_t recovery_codes = 10, recovery_bytes = 10;

struct Stored {
  Stored() = default;
  std::optional<Instant> confirmed_at;
  std::int32_t recovery_codes_left = 0;
};
BOOST_DESCRIBE_STRUCT(Stored, (), (confirmed_at, recovery_codes_left))

struct Factor {
  Factor() = default;
  Uuid user_id;
  std::vector<std::uint8_t> secret;  // sealed; of those from before, plain
  bool confirmed = false;
  std::int64_t last_step = 0;
  std::int32_t locked_seconds = 0;
};
BOOST_DESCRIBE_STRUCT(Factor, (), (user_id, secret, confirmed, last_step, locked_seconds))

using Hash = std::array<std::uint8_t, 32>;

const pg::Sql<Stored()> factor_state{"totp.state", R"sql(
  select confirmed_at, recovery_codes_left from app.second_factor_state())sql"};
const pg::Sql<bool(std::vector<std::uint8_t>)> begin_factor{"totp.begin", "select app.begin_second_factor($1)"};
const pg::Sql<Factor()> locked_factor{"totp.locked", R"sql(
  select app.actor() as user_id, secret, confirmed, last_step, locked_seconds from app.second_factor())sql"};
const pg::Sql<void(std::vector<std::uint8_t>)> seal_factor{"totp.seal", "select app.seal_second_factor($1)"};
const pg::Sql<bool(std::int64_t)> use_step{"totp.use_step", "select app.use_step($1)"};
const pg::Sql<bool(Hash)> use_recovery_code{"totp.use_recovery_code", "select app.use_recovery_code($1)"};
const pg::Sql<void()> refuse_code{"totp.refuse_code", "select app.refuse_code()"};
const pg::Sql<bool(std::int64_t, std::vector<std::uint8_t>)> confirm_factor{"totp.confirm", R"sql(
  select app.confirm_second_factor($1, $2))sql"};
const pg::Sql<void()> remove_factor{"totp.remove", "select app.remove_second_factor()"};

const Vault& vault(const api::Call& call) { return Vault::in(call.core.shared.config.data_dir); }

bool is_plain(const Factor& factor) { return factor.secret.size() == std::tuple_size_v<Secret>; }

// As matching_step; no code fits a secret that was sealed with another key.
std::optional<std::int64_t> step_of(const api::Call& call, const Factor& factor, std::string_view given) {
  std::optional<std::vector<std::uint8_t>> plain = factor.secret;
  if (!is_plain(factor)) plain = vault(call).open(factor.secret, factor.user_id);
  if (!plain || plain->size() != std::tuple_size_v<Secret>) {
    log::error("a second factor was sealed with another key than that in secrets.key",
               {{"request_id", call.request_id}});
    return std::nullopt;
  }
  Secret secret{};
  std::ranges::copy(*plain, secret.begin());
  return matching_step(secret, given, Instant::now(), factor.last_step);
}

// "abcd-efgh-..." as it is shown; typed() makes of it what is hashed.
std::string grouped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    if (i != 0) out.push_back('-');
    out += text.substr(i, 4);
  }
  return out;
}

[[noreturn]] void wrong_code(Kind kind) {
  Problem problem(kind, "invalid_code", "The code is wrong, or was used already.");
  if (kind == Kind::invalid) problem.errors.emplace_back("/code", "invalid_code", "is wrong, or was used already");
  throw std::move(problem);
}

Problem not_enabled() { return Problem(Kind::conflict, "totp_not_enabled", "There is no second factor to use."); }

// Leaves the factor locked until `tx` ends.
async<Factor> factor_of(pg::Tx& tx) {
  auto factor = co_await tx.maybe(locked_factor);
  if (!factor) throw not_enabled();
  if (factor->locked_seconds > 0) {
    Problem problem(Kind::rate_limited, "totp_locked",
                    "Too many wrong codes: the second factor is locked for a while.");
    problem.retry_after = factor->locked_seconds;
    throw std::move(problem);
  }
  co_return *factor;
}

async<State> show(pg::ReadTx& tx) {
  const auto stored = co_await tx.maybe(factor_state);
  State state;
  if (stored && stored->confirmed_at) {
    state.enabled = true;
    state.confirmed_at = stored->confirmed_at;
    state.recovery_codes_left = stored->recovery_codes_left;
  }
  co_return state;
}

async<Enrolment> start(api::Call& call, Start given) {
  const auto email = co_await again(call, std::move(given.password), "/password");
  const auto secret = make_secret();
  const auto sealed = vault(call).seal(secret, *call.identity.user);
  pg::Tx tx = call.write();
  const bool begun = co_await tx.finish(begin_factor, sealed);
  if (!begun) throw Problem(Kind::conflict, "totp_enabled", "There is a second factor; remove it first.");
  Enrolment enrolment;
  enrolment.secret = base32(secret);
  auto account = email.str();
  account.replace(account.find('@'), 1, "%40");
  enrolment.otpauth_uri = fmt::format("otpauth://totp/Cairn:{}?secret={}&issuer=Cairn", account, enrolment.secret);
  co_return enrolment;
}

async<RecoveryCodes> confirm(api::Call& call, pg::Tx& tx, Confirmation given) {
  const auto factor = co_await factor_of(tx);
  if (factor.confirmed) throw Problem(Kind::conflict, "totp_enabled", "The second factor is in use already.");
  const auto step = step_of(call, factor, typed(given.code.str()));
  if (!step) {
    co_await tx.finish(refuse_code);
    wrong_code(Kind::invalid);
  }
  RecoveryCodes made;
  std::vector<std::uint8_t> hashes;
  for (std::size_t i = 0; i < recovery_codes; ++i) {
    std::array<std::uint8_t, recovery_bytes> random;
    randombytes_buf(random.data(), random.size());
    const auto text = base32(random);
    const auto hash = sha256(text);
    hashes.insert(hashes.end(), hash.begin(), hash.end());
    made.recovery_codes.push_back(grouped(text));
  }
  co_await tx.one(confirm_factor, *step, hashes);
  co_return made;
}

async<> remove(api::Call& call, Removal given) {
  co_await again(call, std::move(given.password), "/password");
  pg::Tx tx = call.write();
  co_await demand(call, tx, given.code.str(), Kind::invalid);
  co_await tx.finish(remove_factor);
}

}  // namespace

Secret make_secret() {
  Secret secret;
  randombytes_buf(secret.data(), secret.size());
  return secret;
}

std::string base32(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const auto byte : bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 5; count -= 5) out.push_back(digits[bits >> (count - 5) & 31]);
  }
  if (count > 0) out.push_back(digits[bits << (5 - count) & 31]);
  return out;
}

std::int64_t step_at(Instant moment) { return moment.micros / 1'000'000 / seconds_per_step; }

std::string code(const Secret& secret, std::int64_t step) {
  std::array<unsigned char, 8> counter;
  for (std::size_t i = 0; i < counter.size(); ++i) counter[i] = static_cast<unsigned char>(step >> (56 - 8 * i));
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned length = 0;
  HMAC(EVP_sha1(), secret.data(), static_cast<int>(secret.size()), counter.data(), counter.size(), mac.data(), &length);
  // RFC 4226 section 5.3: where the last half-byte says, 31 bits.
  const std::size_t at = mac[length - 1] & 15;
  const auto number = (std::uint32_t{mac[at]} & 127) << 24 | std::uint32_t{mac[at + 1]} << 16 |
                      std::uint32_t{mac[at + 2]} << 8 | std::uint32_t{mac[at + 3]};
  return fmt::format("{:06}", number % 1'000'000);
}

std::optional<std::int64_t> matching_step(const Secret& secret, std::string_view given, Instant now,
                                          std::int64_t last) {
  std::optional<std::int64_t> found;
  const auto current = step_at(now);
  for (const auto step : {current - 1, current, current + 1}) {
    const auto right = code(secret, step);
    const bool equal = given.size() == right.size() && sodium_memcmp(given.data(), right.data(), right.size()) == 0;
    if (equal && step > last && !found) found = step;
  }
  return found;
}

std::string typed(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' && c != '-') out.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  return out;
}

async<> demand(api::Call& call, pg::Tx& tx, std::string given, Kind kind) {
  const auto factor = co_await factor_of(tx);
  if (!factor.confirmed) throw not_enabled();
  const auto text = typed(given);
  bool good = false;
  if (const auto step = step_of(call, factor, text)) {
    good = co_await tx.one(use_step, *step);
    if (good && is_plain(factor)) {
      const auto sealed = vault(call).seal(factor.secret, factor.user_id);
      co_await tx.run(seal_factor, sealed);
    }
  } else if (text.size() > 6) {
    good = co_await tx.one(use_recovery_code, sha256(text));
  }
  if (good) co_return;
  co_await tx.finish(refuse_code);
  wrong_code(kind);
}

void mount(api::Api& api) {
  using api::Access;
  api.get("/me/totp", show, {.id = "totp.show", .summary = "Is my second factor on?", .allow = Access::user});
  api.post("/me/totp", start,
           {.id = "totp.begin",
            .summary = "Begin to add a second factor",
            .description = "The secret is for an authenticator app (RFC 6238); the factor is asked for once a code has "
                           "confirmed it.",
            .allow = Access::user,
            .problems = "totp_enabled,wrong_password",
            .rate = api::Rate::login});
  api.post("/me/totp/confirm", confirm,
           {.id = "totp.confirm",
            .summary = "Confirm the second factor with a code",
            .description = "The recovery codes are shown once; each stands for one code of the app.",
            .allow = Access::user,
            .problems = "invalid_code,totp_enabled,totp_locked,totp_not_enabled",
            .rate = api::Rate::login});
  api.post("/me/totp/removal", remove,
           {.id = "totp.remove",
            .summary = "Remove the second factor",
            .allow = Access::user,
            .problems = "invalid_code,totp_locked,totp_not_enabled,wrong_password",
            .rate = api::Rate::login});
}

}  // namespace cairn::account::totp
