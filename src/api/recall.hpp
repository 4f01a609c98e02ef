#pragma once
// Answers that Redis remembers. None is given before PostgreSQL has said, in the statement that authorises the request,
// that it still holds: see app.still_holds() in db/migrations/0027_caches.sql and docs/adr/0011.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "api/endpoint.hpp"

namespace cairn::api {

// `seen`: what app.still_holds() takes. Empty: nothing is remembered.
struct Recalled {
  Recalled() = default;
  std::string seen, content;
};
async<Recalled> recall(Core& core, std::string key);
// Never replaces an answer by an older one, however late it comes.
async<> remember(Core& core, std::string key, std::string_view seen, std::string_view content,
                 std::chrono::seconds ttl);

// Redis may hold anything: only what could be a `seen` goes to PostgreSQL.
bool could_be_seen(std::string_view text);

// A Row is a T with two more members: `holds`, and `seen` of an answer that is new. `sql` makes no new one when the
// remembered one holds.
template<class T, class Row, class Key>
async<T> remembered(Call& call, pg::ReadTx& tx, const pg::Sql<Row(Key, std::string)>& sql, Key id, std::string key,
                    std::chrono::seconds ttl) {
  auto known = co_await recall(call.core, key);
  T value;
  if (!known.seen.empty()) {
    json::Decoder decoder;
    try {
      json::decode(decoder, json::parse(known.content), value);
    } catch (const Problem&) { known.seen.clear(); }
    if (!decoder.ok()) known.seen.clear();
  }
  const Row row = co_await tx.one(sql, id, known.seen);
  if (row.holds) co_return value;
  row.give(value);
  std::string content;
  json::encode(content, value);
  co_await remember(call.core, std::move(key), row.seen, content, ttl);
  co_return value;
}

}  // namespace cairn::api
