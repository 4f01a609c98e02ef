#include "cli/administrator.hpp"

#include <fmt/format.h>
#include <sodium.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "account/mail_token.hpp"
#include "admin/admin.hpp"
#include "server/server.hpp"

namespace cairn::cli {
namespace {

namespace bj = boost::json;
using account::MailToken;
using account::Purpose;
using importer::Result;

constexpr std::array columns{"id",     "email",          "first_name",    "last_name", "role",
                             "status", "email_verified", "last_login_at", "created_at"};
// As the API writes them.
#define CAIRN_USER_COLUMNS                                                        \
  "select id, email, first_name, last_name, role, status, email_verified, "       \
  "to_char(last_login_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), " \
  "to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from users "

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bj::object json_of(const Result& result, int row) {
  bj::object user;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto column = static_cast<int>(i);
    auto& member = user[columns[i]];
    if (columns[i] == std::string_view("email_verified"))
      member = result.at(row, column) == "t";
    else if (!result.null(row, column))
      member = bj::string(result.at(row, column));
  }
  return user;
}

void print_line(const Result& result, int row) {
  fmt::print("{}  {:<40} {:<8} {:<10} {} {}\n", result.at(row, 0), result.at(row, 1), result.at(row, 4),
             result.at(row, 5), result.at(row, 2), result.at(row, 3));
}

}  // namespace

Administrator::Administrator(const Config& config, const std::string& owner_url, bool json)
    : database_(owner_url),
      base_url_(server::base_url(config, config.server.listen.port)),
      mails_(!config.mail.url.empty()),
      json_(json) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium cannot be used");
}

void Administrator::begin() {
  database_.query("begin");
  database_.query(
      "select set_config('app.system', 'system:cli', true), set_config('app.user_agent', 'cairn admin', true), "
      "set_config('app.request_id', $1, true)",
      {Uuid::make().text()});
}

std::string Administrator::find(const std::string& who) {
  const auto found = database_.query("select id from users where email = $1 or id::text = $1", {lower(who)});
  if (found.rows() != 1) throw std::runtime_error(fmt::format("nobody has the address or id \"{}\"", who));
  return std::string(found.at(0, 0));
}

// Whoever may read the database may have the link too, where there is no mail to bring it.
void Administrator::finish(const std::string& id, const std::string& link) {
  const auto user = database_.query(CAIRN_USER_COLUMNS "where id = $1", {id});
  database_.query("commit");
  if (json_) {
    auto object = json_of(user, 0);
    if (!link.empty() && !mails_) object["link"] = link;
    fmt::print("{}\n", bj::serialize(object));
    return;
  }
  print_line(user, 0);
  if (link.empty()) return;
  if (mails_)
    fmt::print("a mail with a link to set the password by is on its way\n");
  else
    fmt::print("no SMTP server is set (mail.url); this link sets the password, once and within {} minutes:\n{}\n",
               account::minutes(Purpose::reset), link);
}

void Administrator::create_user(const std::string& email, const std::string& first_name, const std::string& last_name,
                                const std::string& role, bool verified) {
  const auto id = Uuid::make().text();
  const auto token = MailToken::make();
  const auto link = account::link(base_url_, "reset", token);
  const auto letter = admin::welcome(base_url_, link);
  begin();
  try {
    database_.query("select app.make_user($1, $2, $3, $4, $5, $6)",
                    {id, lower(email), first_name, last_name, role, verified ? "true" : "false"});
  } catch (const importer::DatabaseError& error) {
    if (error.state() == "23505") throw std::runtime_error(email + " has an account already");
    throw;
  }
  database_.query("select app.post_reset($1, decode($2, 'hex'), $3, $4, make_interval(mins => $5))",
                  {id, hex(token.hash), letter.subject, letter.text, std::to_string(account::minutes(Purpose::reset))});
  finish(id, link);
}

void Administrator::list_users(const std::string& email, const std::string& role, const std::string& status) {
  const auto found = database_.query(CAIRN_USER_COLUMNS R"sql(
    where ($1 = '' or email collate "C" ^@ $1) and ($2 = '' or role::text = $2) and ($3 = '' or status::text = $3)
    order by email collate "C")sql",
                                     {lower(email), role, status});
  bj::array users;
  for (int row = 0; row < found.rows(); ++row) {
    if (json_)
      users.push_back(json_of(found, row));
    else
      print_line(found, row);
  }
  if (json_) fmt::print("{}\n", bj::serialize(users));
}

void Administrator::set_standing(const std::string& who, const char* statement, const std::string& value) {
  begin();
  const auto id = find(who);
  const auto changed = database_.query(statement, {id, value});
  if (changed.at(0, 0) != "t") throw std::runtime_error("this account was given up, or never was anybody's");
  finish(id, {});
}

void Administrator::set_status(const std::string& who, const std::string& status) {
  set_standing(who, "select app.set_standing($1, null, $2, null)", status);
}
void Administrator::set_role(const std::string& who, const std::string& role) {
  set_standing(who, "select app.set_standing($1, $2, null, null)", role);
}

void Administrator::remove_second_factor(const std::string& who) {
  begin();
  const auto id = find(who);
  database_.query("select app.drop_second_factor($1)", {id});
  finish(id, {});
}

void Administrator::show_record(const std::string& who, const std::string& since, int most) {
  const auto id = who.empty() ? std::string() : find(who);
  const auto found = database_.query(R"sql(
    select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as created_at, action, entity_type, entity_id,
           coalesce((select email from users u where u.id = e.user_id), metadata->>'actor', '-') as who,
           coalesce(metadata->>'event', metadata->>'outcome', metadata->>'reason', '') as what,
           to_jsonb(e) - '{xid,seq}'::text[] as entry
    from (select * from audit_logs
          where ($1 = '' or user_id::text = $1 or (entity_type = 'users' and entity_id::text = $1))
            and ($2 = '' or created_at >= nullif($2, '')::timestamptz)
          order by created_at desc, seq desc limit $3) as e
    order by e.created_at, e.seq)sql",
                                     {id, since, std::to_string(most)});
  for (int row = 0; row < found.rows(); ++row) {
    if (json_)
      fmt::print("{}\n", found.at(row, 6));
    else
      fmt::print("{}  {:<6} {:<18} {}  {} {}\n", found.at(row, 0), found.at(row, 1), found.at(row, 2), found.at(row, 3),
                 found.at(row, 4), found.at(row, 5));
  }
}

void Administrator::reset_password(const std::string& who) {
  const auto token = MailToken::make();
  const auto link = account::link(base_url_, "reset", token);
  const auto letter = admin::reset(link);
  begin();
  const auto id = find(who);
  const auto posted = database_.query(
      "select app.post_reset($1, decode($2, 'hex'), $3, $4, make_interval(mins => $5))",
      {id, hex(token.hash), letter.subject, letter.text, std::to_string(account::minutes(Purpose::reset))});
  if (posted.at(0, 0) != "t") throw std::runtime_error("only an account that is active gets such a mail");
  finish(id, link);
}

}  // namespace cairn::cli
