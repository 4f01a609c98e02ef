#include "importer/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/id.hpp"
#include "base/text.hpp"

namespace cairn::importer {
namespace {

// No password hash looks like this, so no password fits.
constexpr std::string_view unusable_password = "!";

std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

Store::Store(const std::string& url, const std::string& organization, const std::string& as)
    : database_(url), request_id_(Uuid::make().text()) {
  const auto login = database_.query(
      "select current_user <> 'cairn_app' and pg_has_role(current_user, oid, 'MEMBER') from pg_roles"
      " where rolname = 'cairn_app'");
  if (login.rows() == 0 || login.at(0, 0) != "t") {
    throw std::runtime_error("an import needs the login of the database's owner, which may become cairn_app");
  }
  const auto found = database_.query(
      "select id, slug from organizations where (slug = $1 or id::text = lower($1)) and deleted_at is null",
      {organization});
  if (found.rows() != 1) throw std::runtime_error(fmt::format("there is no organization \"{}\"", organization));
  organization_id_ = found.at(0, 0);
  slug_ = found.at(0, 1);
  find_actor(as);
  database_.query("set role cairn_app");
  database_.query(R"sql(
    create temp table import_tasks (
      external_id varchar(200), project_id uuid, assigned_to uuid, created_by uuid, title varchar(200),
      description text, status task_status, priority task_priority, due_date timestamptz, created_at timestamptz,
      estimated_hours integer, actual_hours integer, tags text[], metadata jsonb
    ) on commit delete rows)sql");
  database_.query("reset role");
}

void Store::find_actor(const std::string& as) {
  const auto found = database_.query(R"sql(
    select u.id, u.email from user_organizations m join users u on u.id = m.user_id
    where m.organization_id = $1 and u.status = 'active'
      and case when $2 = '' then m.role = 'owner' else u.email = $2 and m.role in ('owner', 'admin') end
    order by m.joined_at, m.id limit 1)sql",
                                     {organization_id_, lower(as)});
  if (found.rows() == 0) {
    throw std::runtime_error(as.empty() ? fmt::format("organization \"{}\" has no active owner", slug_)
                                        : fmt::format("{} is no active owner or administrator of \"{}\"", as, slug_));
  }
  actor_id_ = found.at(0, 0);
  actor_email_ = found.at(0, 1);
}

void Store::begin() {
  database_.query("begin");
  // The limits of the role are those of a request. Bulk statements may take longer, and so may waiting one's turn.
  database_.query(R"sql(
    select set_config('app.user_id', $1, true), set_config('app.request_id', $2, true),
           set_config('app.user_agent', 'cairn import', true), set_config('role', 'cairn_app', true),
           set_config('statement_timeout', '30min', true), set_config('lock_timeout', '30min', true),
           set_config('idle_in_transaction_session_timeout', '0', true))sql",
                  {actor_id_, request_id_});
  database_.query("select app.learn_access()");
  // Imports into one organization take turns: two at once would wait for each other's keys, each holding some.
  database_.query("select pg_advisory_xact_lock(hashtextextended('cairn import ' || $1, 0))", {organization_id_});
  staged_ = false;
}

void Store::commit() { database_.query("commit"); }
void Store::rollback() { database_.query("rollback"); }

std::vector<Written> Store::write(std::span<const Draft> drafts, const Mapper& names) {
  std::vector<Written> written(drafts.size());
  mark_present(drafts, written);
  std::vector<const Draft*> fresh;
  std::map<std::string, Written*, std::less<>> by_key;
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    if (written[i].outcome == Outcome::present) continue;
    fresh.push_back(&drafts[i]);
    by_key.emplace(drafts[i].external_id, &written[i]);
  }
  if (fresh.empty()) return written;
  enter_projects(fresh, names.projects());
  enter_people(fresh, names.people());
  insert(fresh, by_key);
  return written;
}

// Tasks that are there already need no people and no projects, and nothing of them is changed.
void Store::mark_present(std::span<const Draft> drafts, std::vector<Written>& written) {
  std::map<std::string_view, Written*, std::less<>> by_key;
  std::vector<std::string_view> keys;
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    written[i].outcome = Outcome::refused;
    keys.emplace_back(drafts[i].external_id);
    by_key.emplace(drafts[i].external_id, &written[i]);
  }
  const auto present =
      database_.query("select external_id from tasks where organization_id = $1 and external_id = any($2::text[])",
                      {organization_id_, array_text(keys)});
  for (int row = 0; row < present.rows(); ++row) by_key.at(present.at(row, 0))->outcome = Outcome::present;
}

void Store::enter_projects(std::span<const Draft* const> drafts, const std::vector<Project>& projects) {
  project_ids_.resize(projects.size());
  std::map<std::string_view, std::size_t> wanted;
  for (const auto* draft : drafts) {
    if (project_ids_[draft->project].empty()) wanted.emplace(projects[draft->project].external_id, draft->project);
  }
  if (wanted.empty()) return;
  std::vector<std::string_view> keys, titles;
  for (const auto& [key, index] : wanted) {
    keys.push_back(key);
    titles.emplace_back(projects[index].name);
  }
  const auto key_array = array_text(keys);
  const auto created = database_.query(R"sql(
    insert into projects (organization_id, external_id, name, created_by)
    select $1, p.external_id, p.name, $2 from unnest($3::text[], $4::text[]) as p (external_id, name)
    on conflict (organization_id, external_id) where external_id is not null do nothing
    returning 1)sql",
                                       {organization_id_, actor_id_, key_array, array_text(titles)});
  projects_created_ += static_cast<std::uint64_t>(created.rows());
  const auto found = database_.query(
      "select external_id, id from projects where organization_id = $1 and external_id = any($2::text[])",
      {organization_id_, key_array});
  for (int row = 0; row < found.rows(); ++row) project_ids_[wanted.at(found.at(row, 0))] = found.at(row, 1);
}

// The organization's id, not its slug: slugs change hands, and a placeholder must stay in its organization.
std::string Store::placeholder_address(const Person& person) const {
  return fmt::format("{}@{}.import.invalid", person.local_part, organization_id_);
}

void Store::enter_people(std::span<const Draft* const> drafts, const std::vector<Person>& people) {
  person_ids_.resize(people.size());
  std::vector<std::size_t> wanted;
  const auto collect = [&](auto&& indexes) {
    for (const auto index : indexes) {
      if (person_ids_[index].empty()) wanted.push_back(index);
    }
    std::ranges::sort(wanted);
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  };
  for (const auto* draft : drafts) collect(draft->people);
  if (wanted.empty()) return;
  // cairn_app can neither see nor write users that are nobody's colleagues yet.
  database_.query("set local role none");
  find_members(people, wanted);
  std::erase_if(wanted, [&](std::size_t index) { return !person_ids_[index].empty(); });
  if (!wanted.empty()) create_placeholders(people, wanted);
  database_.query("set local role cairn_app");
}

void Store::find_members(const std::vector<Person>& people, const std::vector<std::size_t>& wanted) {
  std::multimap<std::string, std::size_t, std::less<>> by_address;
  for (const auto index : wanted) {
    by_address.emplace(placeholder_address(people[index]), index);
    if (Email::parse(people[index].value)) by_address.emplace(lower(people[index].value), index);
  }
  std::vector<std::string_view> addresses;
  for (const auto& [address, index] : by_address) addresses.emplace_back(address);
  const auto found = database_.query(R"sql(
    select u.email, u.id from users u join user_organizations m on m.user_id = u.id and m.organization_id = $1
    where u.email = any($2::text[]))sql",
                                     {organization_id_, array_text(addresses)});
  for (int row = 0; row < found.rows(); ++row) {
    const auto [begin, end] = by_address.equal_range(found.at(row, 0));
    for (auto entry = begin; entry != end; ++entry) person_ids_[entry->second] = found.at(row, 1);
  }
}

void Store::create_placeholders(const std::vector<Person>& people, const std::vector<std::size_t>& wanted) {
  std::map<std::string, std::size_t, std::less<>> by_address;
  for (const auto index : wanted) by_address.emplace(placeholder_address(people[index]), index);
  std::vector<std::string_view> addresses, first_names, last_names;
  for (const auto& [address, index] : by_address) {
    addresses.emplace_back(address);
    first_names.emplace_back(people[index].first_name);
    last_names.emplace_back(people[index].last_name);
  }
  const auto address_array = array_text(addresses);
  const auto created =
      database_.query(R"sql(
    insert into users (email, password_hash, first_name, last_name, status)
    select p.email, $1, p.first_name, p.last_name, 'inactive'
    from unnest($2::text[], $3::text[], $4::text[]) as p (email, first_name, last_name)
    on conflict do nothing
    returning 1)sql",
                      {unusable_password, address_array, array_text(first_names), array_text(last_names)});
  people_created_ += static_cast<std::uint64_t>(created.rows());
  // Somebody may have registered under such an address by hand: nobody who can log in becomes a member this way.
  const auto found = database_.query("select email, id from users where email = any($1::text[]) and password_hash = $2",
                                     {address_array, unusable_password});
  std::vector<std::string> ids;
  for (int row = 0; row < found.rows(); ++row) {
    const auto entry = by_address.find(found.at(row, 0));
    ids.emplace_back(person_ids_[entry->second] = found.at(row, 1));
    by_address.erase(entry);
  }
  if (!by_address.empty()) {
    throw std::runtime_error(
        fmt::format("the address {} is taken by a user who is not a placeholder", by_address.begin()->first));
  }
  database_.query("set local role cairn_app");
  database_.query(R"sql(
    insert into user_organizations (user_id, organization_id, role)
    select id, $1, 'member' from unnest($2::uuid[]) as id
    on conflict do nothing)sql",
                  {organization_id_, array_text(ids)});
}

// Rows have been checked before they come here; what PostgreSQL refuses all the same is found by halving, so that one
// row costs its neighbours nothing.
void Store::insert(std::span<const Draft* const> drafts, std::map<std::string, Written*, std::less<>>& written) {
  database_.query("savepoint import_batch");
  try {
    insert_all(drafts, written);
    database_.query("release savepoint import_batch");
  } catch (const DatabaseError& error) {
    const bool is_about_data = error.state().starts_with("22") || error.state().starts_with("23");
    if (!is_about_data) throw;
    database_.query("rollback to savepoint import_batch");
    if (drafts.size() == 1) {
      auto& refused = *written.at(drafts.front()->external_id);
      refused.outcome = Outcome::refused;
      refused.reason = error.what();
      return;
    }
    const auto half = drafts.size() / 2;
    insert(drafts.first(half), written);
    insert(drafts.subspan(half), written);
  }
}

void Store::insert_all(std::span<const Draft* const> drafts, std::map<std::string, Written*, std::less<>>& written) {
  if (std::exchange(staged_, true)) database_.query("truncate import_tasks");
  const auto person = [&](std::optional<std::size_t> index) -> std::optional<std::string_view> {
    if (!index) return std::nullopt;
    return person_ids_[*index];
  };
  const auto number = [](std::optional<std::int32_t> value, std::string& text) -> std::optional<std::string_view> {
    if (!value) return std::nullopt;
    return text = fmt::to_string(*value);
  };
  CopyText rows;
  std::string estimated, actual;
  for (const auto* draft : drafts) {
    rows.field(draft->external_id)
        .field(project_ids_[draft->project])
        .field(person(draft->assigned_to))
        .field(draft->created_by ? person(draft->created_by) : actor_id_)
        .field(draft->title)
        .field(draft->description)
        .field(draft->status)
        .field(draft->priority)
        .field(draft->due_date)
        .field(draft->created_at)
        .field(number(draft->estimated_hours, estimated))
        .field(number(draft->actual_hours, actual))
        .field(array_text(draft->tags))
        .field(draft->metadata);
    rows.end_row();
  }
  database_.copy("copy import_tasks from stdin", rows.text());
  const auto created = database_.query(R"sql(
    insert into tasks (organization_id, external_id, project_id, assigned_to, created_by, title, description, status,
                       priority, due_date, created_at, estimated_hours, actual_hours, tags, metadata)
    select $1, t.external_id, t.project_id,
           case when p.visibility = 'organization' or app.sees_project(t.assigned_to, p.id) then t.assigned_to end,
           t.created_by, t.title, t.description, t.status, t.priority, t.due_date, coalesce(t.created_at, now()),
           t.estimated_hours, t.actual_hours, t.tags, t.metadata
    from import_tasks t left join projects p on p.id = t.project_id
    on conflict (organization_id, external_id) where external_id is not null do nothing
    returning external_id)sql",
                                       {organization_id_});
  // What is not returned came in meanwhile by another way than an import.
  for (const auto* draft : drafts) written.at(draft->external_id)->outcome = Outcome::present;
  for (int row = 0; row < created.rows(); ++row) written.find(created.at(row, 0))->second->outcome = Outcome::created;
}

}  // namespace cairn::importer
