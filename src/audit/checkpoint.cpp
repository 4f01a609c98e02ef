#include "audit/checkpoint.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <boost/json/object.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "base/codec.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "base/key_file.hpp"
#include "base/log.hpp"
#include "pg/error.hpp"

namespace cairn::audit {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t most_problems = 1000;

struct Next {
  Next() = default;
  std::int64_t number = 0;
  Instant made_at;
  std::string since, before;
  std::int64_t entries = 0;
  Bytes digest, previous;
  std::string signed_text;
};
BOOST_DESCRIBE_STRUCT(Next, (), (number, made_at, since, before, entries, digest, previous, signed_text))

const pg::Sql<std::string()> enter{"checkpoint.enter", R"sql(select set_config('app.system', 'checkpoint', true))sql"};
const pg::Sql<Next()> next_checkpoint{"checkpoint.next", R"sql(
  select number, made_at, since::text as since, before::text as before, entries, digest, previous, signed as signed_text
  from app.next_checkpoint())sql"};
const pg::Sql<void(std::int64_t, Instant, std::string, std::string, std::int64_t, Bytes, Bytes, Bytes, Bytes)>
    add_checkpoint{"checkpoint.add", R"sql(
  select app.add_checkpoint($1, $2, $3::text::xid8, $4::text::xid8, $5, $6, $7, $8, $9))sql"};

// PostgreSQL's text form of bytea.
Bytes unescaped(std::string_view text) {
  return from_hex(text.substr(std::min<std::size_t>(2, text.size()))).value_or(Bytes());
}

bool is_signed(std::string_view text, const Bytes& signature, const Bytes& key) {
  return signature.size() == crypto_sign_BYTES && key.size() == crypto_sign_PUBLICKEYBYTES &&
         crypto_sign_verify_detached(signature.data(), bytes_of(text).data(), text.size(), key.data()) == 0;
}

// One transaction of the owner, in which everything is as of one moment.
class Look {
 public:
  explicit Look(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str()), PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw pg::unavailable(PQerrorMessage(connection_.get()));
    rows("begin isolation level repeatable read read only");
  }
  using Rows = std::vector<std::vector<std::string>>;
  Rows rows(const char* sql) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql), PQclear);
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
      throw pg::unavailable(PQerrorMessage(connection_.get()));
    Rows rows(static_cast<std::size_t>(PQntuples(result.get())));
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (int column = 0; column < PQnfields(result.get()); ++column)
        rows[i].emplace_back(PQgetvalue(result.get(), static_cast<int>(i), column));
    return rows;
  }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

struct Checkpoint {
  Checkpoint() = default;
  std::string signed_text;
  Bytes key, signature;
  bool operator==(const Checkpoint&) const = default;
};

std::string member(const boost::json::value& line, std::string_view name) {
  const auto* object = line.if_object();
  const auto* found = object ? object->if_contains(name) : nullptr;
  if (!found || !found->is_string())
    throw std::runtime_error(fmt::format("no export of checkpoints: {} is missing", name));
  return std::string(found->get_string());
}

std::map<std::int64_t, Checkpoint> exported_checkpoints(const std::string& text) {
  std::map<std::int64_t, Checkpoint> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const auto value = json::parse(line);
    const auto* number = value.is_object() ? value.get_object().if_contains("number") : nullptr;
    if (!number || !number->is_int64()) throw std::runtime_error("no export of checkpoints: number is missing");
    auto& checkpoint = found[number->get_int64()];
    checkpoint.signed_text = member(value, "signed_text");
    checkpoint.key = from_hex(member(value, "public_key")).value_or(Bytes());
    checkpoint.signature = from_hex(member(value, "signature")).value_or(Bytes());
  }
  return found;
}

}  // namespace

std::optional<PublicKey> parse_key(std::string_view text) {
  const auto bytes = from_hex(text);
  PublicKey key;
  if (!bytes || bytes->size() != key.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  return key;
}

SigningKey SigningKey::open(const fs::path& file) {
  const auto seed = key_in(file, "the key of checkpoints (docs/verify.md)");
  static_assert(sizeof seed == crypto_sign_SEEDBYTES);
  SigningKey key;
  crypto_sign_seed_keypair(key.public_key_.data(), key.secret_.data(), seed.data());
  return key;
}

std::string SigningKey::sign(std::string_view text) const {
  std::string signature(crypto_sign_BYTES, '\0');
  crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr, bytes_of(text).data(), text.size(),
                       secret_.data());
  return signature;
}

async<> seal(pg::Pool& database, const SigningKey& key, std::chrono::seconds patience) {
  pg::Tx tx = database.write(pg::prelude(enter), std::chrono::steady_clock::now() + patience);
  const auto next = co_await tx.maybe(next_checkpoint);
  if (!next) co_return;
  const auto signature = key.sign(next->signed_text);
  const Bytes signature_bytes(signature.begin(), signature.end());
  const Bytes key_bytes(key.public_key().begin(), key.public_key().end());
  co_await tx.run(add_checkpoint, next->number, next->made_at, next->since, next->before, next->entries, next->digest,
                  next->previous, key_bytes, signature_bytes);
  co_await tx.commit();
  log::info("the record has a checkpoint", {{"number", next->number}, {"entries", next->entries}});
}

std::string export_checkpoints(const std::string& owner_conninfo) {
  std::string out;
  Look look(owner_conninfo);
  for (const auto& row :
       look.rows("select number, app.checkpoint_text(number, made_at, since, before, entries, digest, "
                 "previous), public_key, signature from app.checkpoints order by number")) {
    const boost::json::object line{{"number", std::stoll(row[0])},
                                   {"signed_text", row[1]},
                                   {"public_key", row[2].substr(2)},
                                   {"signature", row[3].substr(2)}};
    out += json::text(line) + "\n";
  }
  return out;
}

Verification verify(const std::string& owner_conninfo, const std::vector<PublicKey>& trusted,
                    const std::optional<std::string>& exported) {
  if (sodium_init() < 0) throw std::runtime_error("libsodium does not start");
  Verification result;
  const auto report = [&](std::string problem) {
    if (result.problems.size() < most_problems) result.problems.push_back(std::move(problem));
  };
  Look look(owner_conninfo);

  std::map<std::int64_t, Checkpoint> there;
  std::string previous, before = "0";
  for (const auto& row : look.rows("select number, made_at, since, before, entries, digest, previous, public_key, "
                                   "signature, signed, entries_now, digest_now from app.checked_checkpoints()")) {
    const auto number = std::stoll(row[0]);
    auto& checkpoint = there[number];
    checkpoint.signed_text = row[9];
    checkpoint.key = unescaped(row[7]);
    checkpoint.signature = unescaped(row[8]);
    const auto wrong = [&](std::string_view what) { report(fmt::format("checkpoint {}: {}", number, what)); };
    if (!is_signed(checkpoint.signed_text, checkpoint.signature, checkpoint.key)) wrong("its signature is false");
    if (std::ranges::none_of(trusted, [&](const auto& key) { return std::ranges::equal(key, checkpoint.key); }))
      wrong(fmt::format("its key is not known here: {}", hex(checkpoint.key)));
    if (number != ++result.checkpoints || row[2] != before || !std::ranges::equal(unescaped(row[6]), sha256(previous)))
      wrong("does not follow the one before");
    if (row[4] != row[10])
      wrong(fmt::format("{} entries were signed, {} are there", row[4], row[10]));
    else if (row[5] != row[11])
      wrong("the entries are not those that were signed");
    previous = checkpoint.signed_text;
    previous.append(checkpoint.signature.begin(), checkpoint.signature.end());
    before = row[3];
    result.last_made_at = row[1];
    result.covered += std::stoll(row[10]);
  }
  if (exported) {
    for (const auto& [number, checkpoint] : exported_checkpoints(*exported)) {
      if (!is_signed(checkpoint.signed_text, checkpoint.signature, checkpoint.key))
        report(fmt::format("checkpoint {} of the export: its signature is false", number));
      const auto found = there.find(number);
      if (found == there.end())
        report(fmt::format("checkpoint {} of the export is not there", number));
      else if (found->second != checkpoint)
        report(fmt::format("checkpoint {} is not that of the export", number));
    }
  }
  for (const auto& row : look.rows("select entity_type, entity_id, seq, problem from app.record_problems()"))
    report(fmt::format("{} {} {}{}", row[0], row[1], row[3], row[2].empty() ? "" : fmt::format(" (entry {})", row[2])));
  const auto counted = look.rows("select count(*), count(*) filter (where metadata ? 'redacted') from audit_logs");
  result.entries = std::stoll(counted[0][0]);
  result.redacted = std::stoll(counted[0][1]);
  return result;
}

}  // namespace cairn::audit
