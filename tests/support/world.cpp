#include "support/world.hpp"

#include "account/setup.hpp"
#include "support/letters.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/object.hpp>

#include <algorithm>
#include <atomic>
#include <stdexcept>

namespace cairn::support {
namespace {

constexpr std::array<std::string_view, 6> roles{"member", "manager", "admin", "owner", "servermanager", "serveradmin"};

std::string created(const Reply& reply, std::string_view member = "id") {
  if (reply.status != 201) throw std::runtime_error("not created: " + reply.body);
  return text_of(reply, member);
}

bool lists(Client& client, const std::string& list, const std::string& id) {
  for (const auto& row : client.all(list))
    if (text_of(row, "id") == id) return true;
  return false;
}

}  // namespace

World::World(const Stack& stack, std::string name) : stack_(stack), name_(std::move(name)) {
  for (std::size_t i = 0; i < roles.size(); ++i) people_[i] = stack_.person(fmt::format("{}.{}", name_, roles[i]));
  user = text_of(stack_.person(name_ + ".target")->get("/me"), "id");
  stack_.person(name_ + ".newcomer");
  host_ = stack_.person(name_ + ".host");
  // Nobody could give the first of them their role.
  auto database = stack_.database();
  database.run("select set_config('app.ip', '127.0.0.1', false), set_config('app.request_id', 'world', false)");
  for (const auto* role : {"manager", "admin"})
    database.run(fmt::format("update users set role = '{}' where email = '{}'", role,
                             Stack::email(fmt::format("{}.server{}", name_, role))));
  member_ = text_of(people_[0]->get("/me"), "id");
  manager_ = text_of(people_[1]->get("/me"), "id");
  renew();
}

Client& World::as(api::Access role) const {
  switch (role) {
    case api::Access::member: return *people_[0];
    case api::Access::manager: return *people_[1];
    case api::Access::admin: return *people_[2];
    case api::Access::server_manager: return *people_[4];
    case api::Access::server_admin: return *people_[5];
    default: return *people_[3];
  }
}

Reply World::log_in(std::string_view role) const {
  return stack_.client().post(
      "/sessions", fmt::format(R"({{"email":"{}.{}@example.org","password":"{}"}})", name_, role, Stack::password));
}

void World::renew() {
  auto& owner = *people_[3];
  for (std::size_t i = 0; i < roles.size(); ++i)
    if (people_[i]->get("/me").status == 401) people_[i]->token = created(log_in(roles[i]), "token");
  if (!lists(owner, "/me/sessions", session)) {
    const auto other = stack_.with_token(created(log_in("owner"), "token"));
    for (const auto& row : other->all("/me/sessions"))
      if (text_of(row, "current") == "true") session = text_of(row, "id");
  }
  if (!lists(owner, "/me/tokens", api_token))
    api_token = created(owner.post("/me/tokens", R"({"name":"robot","scopes":["read"]})"));
  auto target = log_in("target");
  if (target.status == 401) {
    as(api::Access::server_admin).patch("/admin/users/" + user, R"({"status":"active","role":"user"})");
    target = log_in("target");
  }
  refresh_token = created(target, "refresh_token");
  organization = created(
      owner.post("/organizations", fmt::format(R"({{"name":"{0}","slug":"{0}-{1}"}})", name_, ++organizations_)));
  for (const auto role : {"member", "manager", "admin", "target"})
    created(owner.post("/organizations/" + organization + "/members",
                       fmt::format(R"({{"email":"{}","role":"{}"}})", Stack::email(fmt::format("{}.{}", name_, role)),
                                   role == std::string_view("target") ? "member" : role)),
            "user_id");
  project = created(owner.post("/organizations/" + organization + "/projects", R"({"name":"Bridge"})"));
  created(owner.post("/projects/" + project + "/members", fmt::format(R"({{"user_id":"{}","role":"viewer"}})", user)),
          "user_id");
  invitation = created(owner.post("/organizations/" + organization + "/invitations",
                                  fmt::format(R"({{"email":"{}.invited@example.org"}})", name_)));
  const auto elsewhere = created(host_->post(
      "/organizations", fmt::format(R"({{"name":"Elsewhere","slug":"{}-host-{}"}})", name_, organizations_)));
  const auto invited = [&](const std::string& email) {
    const auto link = created(
        host_->post("/organizations/" + elsewhere + "/invitations", fmt::format(R"({{"email":"{}"}})", email)), "link");
    return link.substr(link.rfind('=') + 1);
  };
  token_ = invited(Stack::email(name_ + ".owner"));
  guest_token_ = invited(Stack::email(fmt::format("{}.guest{}", name_, organizations_)));
  task = created(owner.post("/projects/" + project + "/tasks", R"({"title":"Dig"})"));
  trashed = created(owner.post("/projects/" + project + "/tasks", R"({"title":"Throw away"})"));
  owner.del("/tasks/" + trashed);
}

std::string World::id_of(std::string_view path_name) const {
  if (path_name == "organization") return organization;
  if (path_name == "project") return project;
  if (path_name == "task") return task;
  if (path_name == "user") return user;
  if (path_name == "invitation") return invitation;
  if (path_name == "session") return session;
  if (path_name == "token") return api_token;
  if (path_name == "entity") return trashed;
  ADD_FAILURE() << "no example of a " << path_name;
  return {};
}

std::string World::path(const api::Endpoint& endpoint) const {
  std::vector<std::pair<std::string, std::string>> ids;
  for (const auto& name : endpoint.path_names) ids.emplace_back(name, id_of(name));
  return path_with(endpoint, ids);
}

std::string World::body(const api::Endpoint& endpoint) const {
  if (!takes_body(endpoint)) return {};
  const auto id = endpoint.spec.id;
  // Different each time where something must be the only one of its kind.
  static std::atomic<unsigned> made{0};
  const unsigned count = ++made;
  if (id == "account.create")
    return fmt::format(R"({{"email":"{}.{}@example.org","password":"{}","first_name":"New","last_name":"Person"}})",
                       name_, count, Stack::password);
  if (id == "session.create")
    return fmt::format(R"({{"email":"{}","password":"{}"}})", Stack::email(name_ + ".owner"), Stack::password);
  if (id == "session.refresh") return fmt::format(R"({{"refresh_token":"{}"}})", refresh_token);
  if (id == "token.create") return R"({"name":"robot","scopes":["read","write_tasks"]})";
  if (id == "account.edit") return fmt::format(R"({{"first_name":"Name {}"}})", count);
  if (id == "organization.create") return fmt::format(R"({{"name":"Made","slug":"{}-made-{}"}})", name_, count);
  if (id == "organization.edit") return R"({"description":"changed"})";
  if (id == "organization.transfer") return fmt::format(R"({{"user_id":"{}"}})", user);
  if (id == "invitation.create") return fmt::format(R"({{"email":"{}.{}@example.org"}})", name_, count);
  if (id == "invitation.accept") return fmt::format(R"({{"token":"{}"}})", token_);
  if (id == "invitation.preview") return fmt::format(R"({{"token":"{}"}})", guest_token_);
  if (id == "invitation.register")
    return fmt::format(R"({{"token":"{}","password":"{}","first_name":"New","last_name":"Guest"}})", guest_token_,
                       Stack::password);
  if (id == "admin_user.create")
    return fmt::format(R"({{"email":"{}.{}@example.org","first_name":"New","last_name":"Person"}})", name_, count);
  if (id == "admin_user.edit" || id == "admin_organization.edit") return R"({"status":"suspended"})";
  if (id == "member.add") return fmt::format(R"({{"email":"{}"}})", Stack::email(name_ + ".newcomer"));
  if (id == "member.edit") return R"({"role":"manager"})";
  if (id == "project.create") return R"({"name":"Tower","budget":"10.50"})";
  if (id == "project.edit") return R"({"status":"completed"})";
  if (id == "project_member.add") return fmt::format(R"({{"user_id":"{}"}})", manager_);
  if (id == "project_member.edit") return R"({"role":"contributor"})";
  if (id == "undo.run") return fmt::format(R"({{"actor":"{}","since":"2026-01-01T00:00:00Z"}})", member_);
  if (id == "task.create") return R"({"title":"Build","tags":["stone"]})";
  if (id == "task.edit") return R"({"status":"done"})";
  if (id == "profile.edit") return fmt::format(R"({{"job_title":"Mason {}","timezone":"Europe/Warsaw"}})", count);
  if (id == "password_reset.request") return fmt::format(R"({{"email":"{}"}})", Stack::email(name_ + ".owner"));
  // Tokens and codes that are right belong to people of their own: see call().
  if (id == "verification.create") return R"({"token":"made up"})";
  if (id == "password_reset.complete") return fmt::format(R"({{"token":"made up","password":"{}"}})", Stack::password);
  if (id == "account.change_password")
    return fmt::format(R"({{"current_password":"{0}","new_password":"{0}"}})", Stack::password);
  if (id == "account.change_email")
    return fmt::format(R"({{"email":"{}.changed.{}@example.org","password":"{}"}})", name_, count, Stack::password);
  if (id == "account.deactivate" || id == "totp.begin") return fmt::format(R"({{"password":"{}"}})", Stack::password);
  if (id == "totp.confirm") return R"({"code":"000000"})";
  if (id == "totp.remove") return fmt::format(R"({{"password":"{}","code":"000000"}})", Stack::password);
  if (id == "setup.create")
    return fmt::format(R"({{"token":"made up","email":"{}","password":"{}","first_name":"A","last_name":"B"}})",
                       Stack::email("founder"), Stack::password);
  ADD_FAILURE() << "no example of a body for " << id;
  return {};
}

Reply World::call(const api::Endpoint& endpoint, Client& who) const {
  const bool ours = std::any_of(people_.begin(), people_.end(), [&](const auto& one) { return one.get() == &who; });
  if (ours && is_done_once(endpoint)) return call_once(endpoint);
  return who.send(method_of(endpoint), path(endpoint), body(endpoint));
}

bool World::is_done_once(const api::Endpoint& endpoint) {
  constexpr std::array<std::string_view, 6> once{"account.deactivate", "verification.create", "password_reset.complete",
                                                 "totp.confirm",       "totp.remove",         "setup.create"};
  return std::find(once.begin(), once.end(), endpoint.spec.id) != once.end();
}

Reply World::call_once(const api::Endpoint& endpoint) const {
  const auto id = endpoint.spec.id;
  static std::atomic<unsigned> count{0};
  const auto name = fmt::format("{}.once{}", name_, ++count);
  auto database = stack_.database();
  if (id == "account.deactivate") return stack_.person(name)->post(endpoint.path, body(endpoint));
  if (id == "verification.create") {
    stack_.person(name);
    const auto token = token_of(last_mail(database, Stack::email(name)));
    return stack_.client().post(endpoint.path, fmt::format(R"({{"token":"{}"}})", token));
  }
  if (id == "password_reset.complete") {
    stack_.person(name)->post("/password-resets", fmt::format(R"({{"email":"{}"}})", Stack::email(name)));
    const auto token = token_of(last_mail(database, Stack::email(name)));
    return stack_.client().post(endpoint.path,
                                fmt::format(R"({{"token":"{}","password":"{}"}})", token, Stack::password));
  }
  if (id == "totp.confirm" || id == "totp.remove") {
    const auto person = stack_.person(name);
    const auto password = fmt::format(R"("password":"{}")", Stack::password);
    const auto secret = text_of(person->post("/me/totp", "{" + password + "}"), "secret");
    auto confirmed = person->post("/me/totp/confirm", fmt::format(R"({{"code":"{}"}})", totp_code(secret)));
    if (id == "totp.confirm") return confirmed;
    return person->post(endpoint.path, fmt::format(R"({{{},"code":"{}"}})", password, totp_code(secret, 1)));
  }
  // For which nobody may be there.
  const Stack fresh;
  const auto token = account::open_setup(fresh.owner_url());
  return fresh.client().post(endpoint.path, fmt::format(R"({{"token":"{}","email":"a@example.org","password":"{}",)"
                                                        R"("first_name":"A","last_name":"B"}})",
                                                        token.value(), Stack::password));
}

std::string_view method_of(const api::Endpoint& endpoint) {
  switch (endpoint.method) {
    case http::Method::get: return "GET";
    case http::Method::post: return "POST";
    case http::Method::put: return "PUT";
    case http::Method::patch: return "PATCH";
    case http::Method::del: return "DELETE";
    default: throw std::logic_error("an endpoint with a method that nobody asks with");
  }
}

bool takes_body(const api::Endpoint& endpoint) {
  json::Components components;
  return endpoint.describe(components).contains("requestBody");
}

std::string path_with(const api::Endpoint& endpoint, const std::vector<std::pair<std::string, std::string>>& ids) {
  auto path = endpoint.path;
  for (const auto& [name, id] : ids)
    if (const auto at = path.find("{" + name + "}"); at != std::string::npos) path.replace(at, name.size() + 2, id);
  if (endpoint.spec.id == "permission.explain") path += "?permission=task.delete";
  if (endpoint.spec.id == "diff.project") path += "?from=2026-01-01T00:00:00Z";
  return path;
}

}  // namespace cairn::support
