// What somebody may do, and why: for people and interfaces to read. Nothing is decided from these replies.
#include <boost/json/parse.hpp>

#include "api/recall.hpp"
#include "organization/permissions.hpp"
#include "redis/keys.hpp"

namespace cairn::organization {
namespace {

using account::AccountId;

// What Redis keeps under permissions:user:{userId}:org:{orgId}.
struct Kept {
  Kept() = default;
  std::string stamp;
  Permissions permissions;
};
BOOST_DESCRIBE_STRUCT(Kept, (), (stamp, permissions))

// `stamp` names the very rows that the permissions follow from, at their versions, and what an API token leaves of
// them: what was kept under another is out of date.
struct Head {
  Head() = default;
  std::string stamp;
  Role role = Role::member;
  std::vector<PermissionName> permissions;
  bool may_ask = false;
};
BOOST_DESCRIBE_STRUCT(Head, (), (stamp, role, permissions, may_ask))

const pg::Sql<Head(OrganizationId, AccountId, std::int64_t)> head{"organization.permissions", R"sql(
  select encode(sha256(convert_to(concat_ws(' ', o.id, o.version, n.mask,
           (select string_agg(concat_ws(' ', i.id, i.version, p.visibility), ' ' order by i.id)
            from project_members i join projects p on p.id = i.project_id
            where i.user_id = $2 and i.organization_id = $1)), 'UTF8')), 'hex') as stamp,
         o.role,
         array(select p.name from app.permissions p where p.bit & o.rights & n.mask <> 0 order by p.bit) as permissions,
         o.user_id = app.actor() or m.rights & $3 <> 0 or m.role = 'owner' as may_ask
  from user_organizations o join app.memberships m on m.organization_id = o.organization_id
  cross join lateral (select case when o.user_id = app.actor() then app.token_rights() else -1 end as mask) n
  where o.organization_id = $1 and o.user_id = $2)sql"};

const pg::Sql<ProjectPermissions(OrganizationId, AccountId)> in_projects{"organization.project_permissions", R"sql(
  select i.project_id, i.role,
         array(select n.name from app.permissions n
               where n.bit & app.rights_in_project(o, p.visibility, i.role)
                     & case when i.user_id = app.actor() then app.token_rights() else -1 end <> 0
               order by n.bit) as permissions
  from project_members i join projects p on p.id = i.project_id
  join user_organizations o on o.organization_id = i.organization_id and o.user_id = i.user_id
  where i.organization_id = $1 and i.user_id = $2 order by i.project_id)sql"};

async<Permissions> read(pg::ReadTx& tx, OrganizationId organization, AccountId user, Head own) {
  Permissions permissions;
  permissions.organization_id = organization;
  permissions.user_id = user;
  permissions.role = own.role;
  permissions.permissions = std::move(own.permissions);
  permissions.projects = co_await tx.all(in_projects, organization, user);
  co_return permissions;
}

std::optional<Permissions> kept_under(const std::string& stamp, std::string_view text) {
  boost::system::error_code error;
  const auto document = boost::json::parse(text, error);
  if (error) return std::nullopt;
  Kept kept;
  json::Decoder decoder;
  json::decode(decoder, document, kept);
  if (!decoder.ok() || kept.stamp != stamp) return std::nullopt;
  return std::move(kept.permissions);
}

// Redis saves the second statement; that what it holds is still so, the first one says.
async<Permissions> own(api::Call& call, pg::ReadTx& tx, OrganizationId organization) {
  const AccountId user{*call.identity.user};
  auto row = co_await tx.one(head, organization, user, permission::member_edit);
  const auto key = redis::keys::user_permissions(user.value, organization.value);
  const auto reply = co_await call.core.redis.command("GET", key);
  if (reply && reply->type == redis::Reply::Type::string) {
    auto permissions = kept_under(row.stamp, api::unmarked(call.core, key, reply->text));
    if (permissions) co_return std::move(*permissions);
  }
  Kept kept;
  kept.stamp = row.stamp;
  kept.permissions = co_await read(tx, organization, user, std::move(row));
  std::string text;
  json::encode(text, kept);
  text = api::marked(call.core, key, text);
  co_await call.core.redis.command("SET", key, text, "EX", redis::ttl::permissions);
  co_return std::move(kept.permissions);
}

async<Permissions> of_member(pg::ReadTx& tx, OrganizationId organization, AccountId user) {
  auto row = co_await tx.one(head, organization, user, permission::member_edit);
  if (!row.may_ask) refuse(Standing(), permission::member_edit);
  Permissions permissions = co_await read(tx, organization, user, std::move(row));
  co_return permissions;
}

struct Decision {
  Decision() = default;
  bool allowed = false;
  std::string rule;
  std::optional<Role> role;
  std::optional<ProjectRole> project_role;
  bool may_ask = false;
};
BOOST_DESCRIBE_STRUCT(Decision, (), (allowed, rule, role, project_role, may_ask))

const pg::Sql<Decision(OrganizationId, AccountId, PermissionName, std::optional<Uuid>, std::int64_t)> decision{
    "organization.explain_permission", R"sql(
  select e.allowed, e.rule, e.role, e.project_role,
         o.user_id = app.actor() or m.rights & $5 <> 0 or m.role = 'owner' as may_ask
  from user_organizations o join app.memberships m on m.organization_id = o.organization_id
  cross join lateral app.explain_permission(o.user_id, o.organization_id, $3, $4) e
  where o.organization_id = $1 and o.user_id = $2)sql"};

std::string words(Rule rule, const Decision& found) {
  const auto role = found.role ? std::string(json::Codec<Role>::name(*found.role)) : std::string();
  const auto in_project =
      found.project_role ? std::string(json::Codec<ProjectRole>::name(*found.project_role)) : std::string();
  switch (rule) {
    case Rule::not_a_member: return "Not a member of the organization.";
    case Rule::organization_inactive: return "The organization is not active: its owners read it, nobody changes it.";
    case Rule::private_project: return "The project is private, and this is not one of its members.";
    case Rule::denied: return "Denied by name to this member.";
    case Rule::granted: return "Granted by name to this member.";
    case Rule::role: return "The role in the organization gives it: " + role + ".";
    case Rule::project_role: return "The role in the project gives it: " + in_project + ".";
    case Rule::none: break;
  }
  if (!in_project.empty())
    return "Neither the role in the organization (" + role + ") nor that in the project (" + in_project +
           ") gives it here, and it is not granted by name.";
  return "The role in the organization (" + role + ") does not give it, and it is not granted by name.";
}

async<Explanation> explain(pg::ReadTx& tx, OrganizationId organization, AccountId user, Question question) {
  const auto found =
      co_await tx.one(decision, organization, user, question.permission, question.project, permission::member_edit);
  if (!found.may_ask) refuse(Standing(), permission::member_edit);
  Explanation explanation;
  explanation.allowed = found.allowed;
  explanation.rule = pg::Codec<Rule>::parse(found.rule);
  explanation.detail = words(explanation.rule, found);
  co_return explanation;
}

}  // namespace

void mount_permissions(api::Api& api) {
  using api::Access;
  api.get("/organizations/{organization}/permissions", own,
          {.id = "permission.own",
           .summary = "What may I do here?",
           .description = "In the whole organization, and beside it in each project that the caller is a member of.",
           .allow = Access::member});
  api.get("/organizations/{organization}/members/{user}/permissions", of_member,
          {.id = "permission.of_member",
           .summary = "What may this member do?",
           .description = "Anybody may ask about themselves.",
           .allow = Access::admin});
  api.get("/organizations/{organization}/members/{user}/permissions/explain", explain,
          {.id = "permission.explain",
           .summary = "Why may this member do something, or why not?",
           .description = "Anybody may ask about themselves.",
           .allow = Access::admin});
}

}  // namespace cairn::organization
