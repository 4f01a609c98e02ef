#include "account/mail_token.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include "job/outbox.hpp"
#include "redis/keys.hpp"

namespace cairn::account {
namespace {

std::chrono::seconds lifetime(Purpose purpose) {
  return purpose == Purpose::reset ? redis::ttl::password_reset : redis::ttl::email_verification;
}

const pg::Sql<void(Hash, Email, std::int64_t)> begin_verification{"account.begin_verification", R"sql(
  select app.begin_verification($1, $2, make_interval(mins => $3::bigint::int)))sql"};

std::string key(Purpose purpose, const Hash& hash) {
  return purpose == Purpose::reset ? redis::keys::password_reset(hex(hash))
                                   : redis::keys::email_verification(hex(hash));
}

}  // namespace

std::int64_t minutes(Purpose purpose) {
  return std::chrono::duration_cast<std::chrono::minutes>(lifetime(purpose)).count();
}

std::string link(const api::Call& call, std::string_view page, const MailToken& token) {
  return link(call.core.shared.base_url, page, token);
}

std::string link(std::string_view base_url, std::string_view page, const MailToken& token) {
  return fmt::format("{}/{}?token={}", base_url, page, token.text);
}

MailToken MailToken::make() {
  std::array<unsigned char, 32> random;
  randombytes_buf(random.data(), random.size());
  std::array<char, 44> encoded;
  sodium_bin2base64(encoded.data(), encoded.size(), random.data(), random.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  MailToken token;
  token.text = encoded.data();
  token.hash = sha256(token.text);
  return token;
}

async<> send_verification(pg::Tx& tx, const api::Call& call, const MailToken& token, const Email& to) {
  co_await tx.run(begin_verification, token.hash, to, minutes(Purpose::verification));
  job::Mail mail;
  mail.kind = "verification";
  mail.to = to;
  mail.subject = "Confirm your e-mail address";
  mail.text = fmt::format(
      "Somebody, hopefully you, gave this address to Cairn.\n\nConfirm it here, within {} minutes:\n{}\n\n"
      "If it was not you, do nothing.\n",
      minutes(Purpose::verification), link(call, "verify", token));
  mail.good_for = std::chrono::minutes(minutes(Purpose::verification));
  co_await job::post(tx, mail);
}

async<> send_notice(pg::Tx& tx, const api::Call& call, const Email& to, std::string_view subject,
                    std::string_view what) {
  job::Mail mail;
  mail.kind = "notice";
  mail.to = to;
  mail.subject = subject;
  mail.text = fmt::format("At {} {}.\n\nIf it was not you, set a new password at once:\n{}/reset\n",
                          Instant::now().text().substr(0, 19) + "Z", what, call.core.shared.base_url);
  co_await job::post(tx, mail);
}

async<> remember(api::Call& call, Purpose purpose, const Hash& hash) {
  const auto name = key(purpose, hash);
  co_await call.core.redis.command("SET", name, "1", "EX", lifetime(purpose));
}

async<> forget(api::Call& call, Purpose purpose, const Hash& hash) {
  const auto name = key(purpose, hash);
  co_await call.core.redis.command("GETDEL", name);
}

}  // namespace cairn::account
