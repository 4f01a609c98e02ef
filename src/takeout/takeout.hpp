#pragma once
#include "account/account.hpp"
#include "profile/profile.hpp"

namespace cairn::takeout {

// Everything that is kept about me, as one document.
struct Export : json::Read {
  Export() = default;
  Instant exported_at;
  account::Account account;
  profile::Profile profile;
  RawJson memberships, sessions, api_tokens, tasks, record;
  bool complete = true;
};
BOOST_DESCRIBE_STRUCT(Export, (),
                      (exported_at, account, profile, memberships, sessions, api_tokens, tasks, record, complete))

void mount(api::Api& api);

}  // namespace cairn::takeout

namespace cairn::json {
template<>
inline constexpr auto member_docs<takeout::Export> = std::to_array<MemberDoc>(
    {{"memberships", "My organizations, with my role in each."},
     {"sessions", "Where I am logged in."},
     {"api_tokens", "What programs act in my name."},
     {"tasks", "That I made or that are assigned to me, in the organizations I am a member of."},
     {"record", "What I did, and what was done to my account, newest first."},
     {"complete", "False where tasks and record are more than 32 MiB: their lists have the rest."}});
}  // namespace cairn::json
