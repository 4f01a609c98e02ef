#include "profile/profile.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace cairn::profile {
namespace {

namespace fs = std::filesystem;
using organization::OrganizationId;

// The files of the system's database: what is a file of compiled zones below its directory is the name of a zone.
std::set<std::string, std::less<>> read_zones() {
  std::set<std::string, std::less<>> names{"UTC"};
  const fs::path top = "/usr/share/zoneinfo";
  std::error_code ignored;
  fs::recursive_directory_iterator at(top, fs::directory_options::skip_permission_denied, ignored);
  for (; at != fs::recursive_directory_iterator(); at.increment(ignored)) {
    const auto name = at->path().lexically_relative(top).string();
    if (at.depth() == 0 && at->is_directory(ignored) && (name == "posix" || name == "right")) {
      at.disable_recursion_pending();
      continue;
    }
    if (!at->is_regular_file(ignored) || name == "localtime" || name == "posixrules") continue;
    std::string magic(4, '\0');
    if (std::ifstream(at->path(), std::ios::binary).read(magic.data(), 4) && magic == "TZif") names.insert(name);
  }
  return names;
}

const pg::Sql<Profile()> own{"profile.own", R"sql(
  select user_id, avatar_url, bio, phone, company, department, job_title, timezone, preferences, created_at, updated_at,
         version
  from user_profiles where user_id = app.actor())sql"};

const pg::Sql<Profile(Change<std::optional<Url<500>>>, Change<std::optional<Bio>>, Change<std::optional<Phone>>,
                      Change<std::optional<Text<1, 200>>>, Change<std::optional<Text<1, 100>>>,
                      Change<std::optional<Text<1, 100>>>, Change<TimeZone>, Change<JsonObject>,
                      std::optional<std::int64_t>)>
    update_own{"profile.update", R"sql(
  update user_profiles set
    avatar_url = case when $1 then $2 else avatar_url end, bio = case when $3 then $4 else bio end,
    phone = case when $5 then $6 else phone end, company = case when $7 then $8 else company end,
    department = case when $9 then $10 else department end, job_title = case when $11 then $12 else job_title end,
    timezone = case when $13 then $14 else timezone end, preferences = case when $15 then $16 else preferences end
  where user_id = app.actor() and ($17::bigint is null or version = $17)
  returning user_id, avatar_url, bio, phone, company, department, job_title, timezone, preferences, created_at, updated_at,
            version)sql"};

const pg::Sql<Colleague(OrganizationId, AccountId)> of_member{"profile.of_member", R"sql(
  select u.id as user_id, u.first_name, u.last_name, p.avatar_url, p.bio, p.company, p.department, p.job_title, p.timezone,
         u.version + p.version as version
  from app.memberships m join user_organizations o on o.organization_id = m.organization_id
       join users u on u.id = o.user_id join user_profiles p on p.user_id = u.id
  where m.organization_id = $1 and o.user_id = $2)sql"};

async<Profile> show(pg::ReadTx& tx) { return tx.one(own); }

async<Profile> edit(pg::Tx& tx, api::IfMatch match, Edit edit) {
  auto profile =
      co_await tx.maybe_finish(update_own, edit.avatar_url, edit.bio, edit.phone, edit.company, edit.department,
                               edit.job_title, edit.timezone, edit.preferences, match.version);
  if (!profile) throw Problem(Kind::stale, "It has changed: read it again before you change it.");
  co_return std::move(*profile);
}

async<Colleague> show_member(pg::ReadTx& tx, OrganizationId id, AccountId user) { return tx.one(of_member, id, user); }

}  // namespace

std::string TimeZone::problem(std::string_view value) {
  static const auto zones = read_zones();
  if (value.size() <= 50 && zones.contains(value)) return {};
  return "must be a name of the IANA time zone database, such as Europe/Warsaw";
}

std::string Phone::problem(std::string_view value) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto rest = value.starts_with('+') ? value.substr(1) : value;
  const auto allowed = [&](char c) { return digit(c) || std::string_view(" ()./-").find(c) != std::string_view::npos; };
  if (value.size() > 20 || std::ranges::count_if(rest, digit) < 3 || !std::ranges::all_of(rest, allowed) ||
      rest.front() == ' ' || rest.back() == ' ')
    return "must be a telephone number such as +48 22 555 01 23, of at most 20 characters";
  return {};
}

void mount(api::Api& api) {
  using api::Access;
  api.get("/me/profile", show, {.id = "profile.show", .summary = "Show my profile", .allow = Access::user});
  api.patch("/me/profile", edit,
            {.id = "profile.edit", .summary = "Change my profile", .allow = Access::user, .problems = "stale"});
  api.get("/organizations/{organization}/members/{user}/profile", show_member,
          {.id = "member.profile",
           .summary = "Show a colleague's profile",
           .description = "Without the telephone number and the preferences, which are the colleague's own.",
           .allow = Access::member});
}

}  // namespace cairn::profile
