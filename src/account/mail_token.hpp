#pragma once
// Links in mails. Whoever has one has read the mail, so each is good once, for a short time, for one person and
// address. PostgreSQL keeps the digest and decides (app.mail_tokens); Redis has it under the specification's keys
// meanwhile.
#include "api/endpoint.hpp"
#include "base/text.hpp"
#include "session/session.hpp"

namespace cairn::account {

enum class Purpose { verification, reset };

struct MailToken {
  MailToken() = default;
  std::string text;  // 256 random bits in base64url
  Hash hash{};

  static MailToken make();
};

// How long a token is good, here and in Redis.
std::int64_t minutes(Purpose purpose);
// Never from the request: whoever sends a Host header must not choose where a link leads.
std::string link(const api::Call& call, std::string_view page, const MailToken& token);
std::string link(std::string_view base_url, std::string_view page, const MailToken& token);

// Queues the mail with which `to`, the actor's address or the one to be, is confirmed. `remember` the token afterwards.
async<> send_verification(pg::Tx& tx, const api::Call& call, const MailToken& token, const Email& to);
// Tells the person at `to` what has happened to the account.
async<> send_notice(pg::Tx& tx, const api::Call& call, const Email& to, std::string_view subject,
                    std::string_view what);

// Redis hears of a token after it was issued, and after it was used.
async<> remember(api::Call& call, Purpose purpose, const Hash& hash);
async<> forget(api::Call& call, Purpose purpose, const Hash& hash);

}  // namespace cairn::account
