#include "api/recall.hpp"

#include <fmt/format.h>

#include <array>

#include "base/hash.hpp"
#include "base/vault.hpp"

namespace cairn::api {
namespace {

const redis::Script keep_newer{R"lua(
  local old = redis.pcall('GET', KEYS[1])
  local there = type(old) == 'string' and tonumber(string.match(old, '\n%d+:(%d+):'))
  if there and there > tonumber(string.match(ARGV[1], '\n%d+:(%d+):')) then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1)lua"};

constexpr std::size_t mark_length = 32;
constexpr unsigned told_every = 32;

// "<xmin>:<xmax>:..."
bool is_newer(std::string_view seen, std::string_view than) {
  const auto xmax = [](std::string_view snapshot) {
    const auto at = snapshot.find(':') + 1;
    return snapshot.substr(at, snapshot.find(':', at) - at);
  };
  const auto ours = xmax(than), theirs = xmax(seen);
  return theirs.size() != ours.size() ? theirs.size() > ours.size() : theirs > ours;
}

async<> tell(Core& core, const std::string& key, const KnownAnswer& known, std::chrono::seconds ttl) {
  const auto value = marked(core, key, fmt::format("{}\n{}", known.seen, known.content));
  const auto seconds = std::to_string(ttl.count());
  const std::array<std::string_view, 1> keys = {key};
  const std::array<std::string_view, 2> args = {value, seconds};
  co_await core.redis.script(keep_newer, keys, args);
}

async<std::shared_ptr<KnownAnswer>> from_redis(Core& core, const std::string& key) {
  const auto reply = co_await core.redis.command("GET", key);
  if (!reply || reply->type != redis::Reply::Type::string) co_return nullptr;
  const auto text = unmarked(core, key, reply->text);
  const auto line = text.find('\n');
  if (line == std::string_view::npos) co_return nullptr;
  auto known = std::make_shared<KnownAnswer>(std::string(text.substr(0, line)), std::string(text.substr(line + 1)));
  core.answers.add(key, known);
  co_return known;
}

}  // namespace

// What was written by another version may have another shape.
std::string marked(const Core& core, std::string_view key, std::string_view text) {
  return fmt::format("{}\n{}", Vault::in(core.shared.config.data_dir).mark({CAIRN_VERSION, key, text}), text);
}
std::string_view unmarked(const Core& core, std::string_view key, std::string_view value) {
  if (value.size() <= mark_length) return {};
  const auto text = value.substr(mark_length + 1);
  const auto mark = Vault::in(core.shared.config.data_dir).mark({CAIRN_VERSION, key, text});
  return value.starts_with(mark + '\n') ? text : std::string_view();
}

std::string params_hash(std::initializer_list<std::string_view> params) {
  std::string text;
  for (const auto param : params) text.append(std::to_string(param.size())).append(":").append(param);
  return hex(sha256(text));
}

async<std::shared_ptr<KnownAnswer>> recall(Core& core, const std::string& key) {
  auto known = core.answers.find(key);
  if (!known) known = co_await from_redis(core, key);
  co_return known;
}

async<std::shared_ptr<KnownAnswer>> recall_newer(Core& core, const std::string& key, const KnownAnswer& known) {
  const auto as_of = known.seen;
  auto found = co_await from_redis(core, key);
  if (found && !is_newer(found->seen, as_of)) found = nullptr;
  co_return found;
}

async<> remember(Core& core, const std::string& key, std::string seen, std::string content, std::chrono::seconds ttl) {
  const auto known = std::make_shared<KnownAnswer>(std::move(seen), std::move(content));
  core.answers.add(key, known);
  co_await tell(core, key, *known, ttl);
}

async<> renew(Core& core, const std::string& key, KnownAnswer& known, std::string seen, std::chrono::seconds ttl) {
  if (seen == known.seen) co_return;
  known.seen = std::move(seen);
  if (++known.renewals % told_every != 0) co_return;
  co_await tell(core, key, known, ttl);
}

}  // namespace cairn::api
