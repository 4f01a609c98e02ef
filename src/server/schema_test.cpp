// The specification's schema, which migration 1 is, lives on under its own names in the migrated one; and what the
// runtime role cannot do there.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "pg/migrate.hpp"
#include "support/world.hpp"

namespace cairn {
namespace {

using support::Database;
using support::Stack;
using support::text_of;

// Each part of the schema as one line; its nullability apart, because it may become stricter.
constexpr auto columns = R"sql(
  select format('%s.%s %s default %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                pg_get_expr(d.adbin, d.adrelid))
  from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on (d.adrelid, d.adnum) = (c.oid, a.attnum)
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
    and c.relname <> 'schema_migrations')sql";
constexpr auto not_null = R"sql(
  select format('%s.%s not null', c.relname, a.attname) from pg_attribute a join pg_class c on c.oid = a.attrelid
  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and a.attnotnull)sql";
constexpr auto enums = R"sql(
  select format('%s: %s', t.typname, string_agg(e.enumlabel, ', ' order by e.enumsortorder))
  from pg_type t join pg_enum e on e.enumtypid = t.oid where t.typnamespace = 'public'::regnamespace group by t.typname)sql";
constexpr auto indexes = "select indexdef from pg_indexes where schemaname = 'public'";
constexpr auto constraints = R"sql(
  select format('%s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
  where connamespace = 'public'::regnamespace)sql";
constexpr auto functions = R"sql(
  select format('%s(%s) returns %s', proname, pg_get_function_arguments(oid), prorettype::regtype)
  from pg_proc where pronamespace = 'public'::regnamespace)sql";
constexpr auto triggers = "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal";

std::vector<std::string> lines(Database& database, const std::string& query) {
  std::vector<std::string> found;
  for (auto& row : database.rows(query)) found.push_back(std::move(row.front()));
  std::sort(found.begin(), found.end());
  return found;
}

TEST(TheSpecification, LivesOnInTheMigratedSchemaUnderItsOwnNames) {
  const support::Sandbox sandbox;
  Database(support::servers().superuser_url).run("create database only_the_spec owner cairn_owner");
  const auto spec_url = support::servers().owner_url + " dbname=only_the_spec";
  pg::migrate(spec_url, {}, std::span(pg::migrations()).first(1));
  Database spec(spec_url), migrated(sandbox.owner_url);
  const std::vector<std::pair<std::string, std::size_t>> parts{
      {columns, 75}, {not_null, 30}, {enums, 10}, {indexes, 35}, {constraints, 20}, {functions, 2}, {triggers, 10}};
  for (const auto& [query, at_least] : parts) {
    const auto wanted = lines(spec, query), found = lines(migrated, query);
    EXPECT_GE(wanted.size(), at_least) << query;
    for (const auto& line : wanted) EXPECT_TRUE(std::binary_search(found.begin(), found.end(), line)) << line;
  }
}

class TheRuntimeRole : public testing::Test {
 protected:
  TheRuntimeRole() {
    const support::World world(stack, "a");
    const auto token =
        text_of(world.as(api::Access::owner).post("/me/tokens", R"({"name":"x","scopes":["read"]})"), "token");
    EXPECT_EQ(stack.with_token(token)->get("/organizations").status, 200u);
    stack.database().run("insert into project_members (project_id, user_id) select p.id, p.created_by from projects p");
  }
  const Stack stack;
};

TEST_F(TheRuntimeRole, CannotRewriteTheRecord) {
  auto app = stack.app_database();
  app.run("select set_config('app.user_id', (select user_id::text from app.live_sessions limit 1), false)");
  EXPECT_NE(app.value("select count(*) from audit_logs"), "0");
  for (const auto* statement :
       {"update audit_logs set action = 'login'", "delete from audit_logs", "truncate audit_logs",
        "insert into audit_logs (entity_type, entity_id, action) values ('tasks', gen_random_uuid(), 'create')",
        "alter table audit_logs disable trigger all", "drop table audit_logs", "set session_replication_role = replica",
        "select app.record('update', 'tasks', gen_random_uuid(), '{}')"})
    EXPECT_EQ(app.failure(statement), "42501") << statement;
}

TEST_F(TheRuntimeRole, ReadsNothingBeforeItSaysForWhom) {
  auto database = stack.database();
  auto app = stack.app_database();
  unsigned tables = 0;
  for (const auto& row : database.rows("select format('%I.%I', schemaname, tablename) from pg_tables "
                                       "where schemaname in ('public', 'app')")) {
    const auto count = "select count(*) from " + row[0];
    if (app.failure(count) == "42501") continue;
    ++tables;
    EXPECT_EQ(app.value(count), "0") << row[0];
    EXPECT_NE(database.value(count), "0") << row[0] << " is empty, which shows nothing";
  }
  EXPECT_EQ(tables, 13u);
}

TEST_F(TheRuntimeRole, WritesNothingBeforeItSaysForWhom) {
  auto database = stack.database();
  const auto before = database.digest();
  auto app = stack.app_database();
  for (const auto* table : {"users", "organizations", "projects", "tasks"}) {
    const auto* column = table == std::string_view("users")   ? "first_name"
                         : table == std::string_view("tasks") ? "title"
                                                              : "name";
    EXPECT_EQ(app.failure(fmt::format("update {} set {} = 'x'", table, column)), "");
  }
  EXPECT_EQ(app.failure("delete from tasks"), "");
  EXPECT_EQ(app.failure("insert into organizations (name, slug) values ('x', 'x1')"), "42501");
  EXPECT_EQ(database.digest(), before);
}

TEST_F(TheRuntimeRole, CannotReadSecretsOwnsNothingAndPassesNoWall) {
  auto app = stack.app_database();
  EXPECT_EQ(app.failure("select password_hash from users"), "42501");
  EXPECT_EQ(app.failure("select * from users"), "42501");
  for (const auto* statement :
       {"select token_hash from app.sessions", "select token_hash from app.api_tokens", "select salt from app.devices",
        "select token_hash from refresh_tokens", "select family_id from app.refresh_token_lineage"})
    EXPECT_EQ(app.failure(statement), "42501") << statement;
  EXPECT_EQ(app.failure("create table public.mine (id int)"), "42501");
  EXPECT_EQ(app.failure("create table app.mine (id int)"), "42501");
  EXPECT_EQ(
      app.value(
          "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb from pg_roles where rolname = current_user"),
      "f");
  EXPECT_EQ(app.value("select count(*) from pg_class where relowner = 'cairn_app'::regrole"), "0");
  EXPECT_EQ(
      app.value(
          "select count(*) from pg_class where relkind = 'r' and relnamespace in ('public'::regnamespace, "
          "'app'::regnamespace) and relname <> 'schema_migrations' and not (relrowsecurity and relforcerowsecurity)"),
      "0");
}

TEST_F(TheRuntimeRole, SeesOnlyWhatItsActorDoes) {
  const support::World other(stack, "b");
  auto app = stack.app_database();
  const auto owner = text_of(other.as(api::Access::owner).get("/me"), "id");
  app.run("begin");
  app.run("select set_config('app.user_id', '" + owner + "', true)");
  app.run("select app.learn_access()");
  EXPECT_EQ(app.value("select string_agg(id::text, ' ') from organizations"), other.organization);
  EXPECT_EQ(app.value("select string_agg(id::text, ' ') from projects"), other.project);
  EXPECT_EQ(app.value("select string_agg(id::text, ' ') from tasks"), other.task);
  EXPECT_EQ(app.value("select count(*) from users"), "5");
}

TEST(AWrite, WithoutAnActorIsRefused) {
  const Stack stack;
  const support::World world(stack, "a");
  Database nobody(stack.database_url());
  for (const auto* table : {"users", "user_profiles", "organizations", "user_organizations", "projects", "tasks"}) {
    // What others still refer to is refused for that first.
    const auto refusal = nobody.failure(fmt::format("delete from {}", table));
    EXPECT_TRUE(refusal == "CA001" || refusal == "23503") << table << " " << refusal;
    EXPECT_EQ(nobody.failure(fmt::format("update {} set created_at = created_at - interval '1 day'", table)), "CA001")
        << table;
  }
  EXPECT_EQ(nobody.failure("insert into organizations (name, slug) values ('x', 'x1')"), "CA001");
}

}  // namespace
}  // namespace cairn
