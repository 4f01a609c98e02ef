#pragma once
// Tokens that people make for programs. One never does more than its owner may, nor than its scopes say, and reaches
// one organization only if it is bound to it.
#include <boost/describe.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "session/session.hpp"

namespace cairn::session {

BOOST_DEFINE_ENUM_CLASS(Scope, read, write_tasks, write_projects, write_members, write_organizations)

// What an operation needs; nothing: it is never open to API tokens, as all that is about accounts and their security or
// passes an organization on.
std::optional<Scope> scope_of(const api::Endpoint& endpoint);

struct ApiToken;
using ApiTokenId = Id<ApiToken>;

struct ApiToken : json::Read {
  ApiToken() = default;
  ApiTokenId id;
  Text<1, 100> name;
  std::vector<Scope> scopes;
  std::optional<Uuid> organization_id;
  Instant created_at, expires_at;
  std::optional<Instant> last_used_at;
  std::optional<std::string> last_used_ip;
};
BOOST_DESCRIBE_STRUCT(ApiToken, (),
                      (id, name, scopes, organization_id, created_at, expires_at, last_used_at, last_used_ip))

struct NewApiToken : ApiToken {
  NewApiToken() = default;
  std::string token;
};
BOOST_DESCRIBE_STRUCT(NewApiToken, (ApiToken), (token))

struct ApiTokenDraft : json::Written {
  ApiTokenDraft() = default;
  Text<1, 100> name;
  std::vector<Scope> scopes;
  std::optional<Uuid> organization_id;
  std::optional<Instant> expires_at;
};
BOOST_DESCRIBE_STRUCT(ApiTokenDraft, (), (name, scopes, organization_id, expires_at))

struct ApiTokenAccess : Access {
  ApiTokenAccess() = default;
  std::optional<Uuid> organization_id;
  std::int64_t token_rights = 0;
  std::vector<Scope> scopes;
};
BOOST_DESCRIBE_STRUCT(ApiTokenAccess, (Access), (organization_id, token_rights, scopes))

// As Cache, for API tokens. Where each is used from is noted once a minute, and recorded when it is a new address.
class ApiTokens {
 public:
  // Throws Problem: unauthenticated, or forbidden when the token has not the scope that the request needs.
  async<api::Identity> authenticate(api::Call& call, const Token& token, bool anew);

 private:
  struct Entry {
    std::chrono::steady_clock::time_point seen{};
    std::vector<std::string> addresses;  // noted since
    std::shared_ptr<const ApiTokenAccess> access;
  };

  static constexpr std::size_t capacity = 10'000, most_addresses = 64;
  async<std::shared_ptr<const ApiTokenAccess>> check(api::Call& call, const Token& token, bool anew);

  std::unordered_map<Hash, Entry, FirstBytes> entries_;
};

void mount_api_tokens(api::Api& api);

}  // namespace cairn::session

namespace cairn::json {
template<>
inline constexpr auto member_docs<session::NewApiToken> =
    std::to_array<MemberDoc>({{"token", "It is shown once and stored nowhere."}});
template<>
inline constexpr auto member_docs<session::ApiTokenDraft> = std::to_array<MemberDoc>(
    {{"organization_id", "The only organization it reaches; all of one's own when left out."},
     {"expires_at", "After 30 days when left out, at the latest after a year unless the server says otherwise."}});
}  // namespace cairn::json
