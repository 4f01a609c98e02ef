#include "api/paging.hpp"
#include "audit/checkpoint.hpp"

namespace cairn::audit {

struct SignedCheckpoint : json::Read {
  SignedCheckpoint() = default;
  std::int64_t number = 0;
  Instant made_at;
  std::int64_t entries = 0;
  std::string signed_text, public_key, signature;
};
BOOST_DESCRIBE_STRUCT(SignedCheckpoint, (), (number, made_at, entries, signed_text, public_key, signature))

namespace {

const pg::Family<SignedCheckpoint> all_checkpoints{
    "checkpoint.list",
    "select t.number, t.made_at, t.entries, t.signed as signed_text, t.public_key, t.signature "
    "from app.signed_checkpoints t where true",
    {},
    {{"number", "t.number", "t.number"}}};

async<api::Page<SignedCheckpoint>> list(pg::ReadTx& tx, api::PageQuery query) {
  const auto key_of = [](const SignedCheckpoint& row, unsigned, api::Cursor& cursor) { cursor.key = row.number; };
  const auto bind_key = [](pg::Params& params, unsigned, const api::Cursor& cursor) {
    params.add(cursor.key).add(cursor.key);
  };
  return api::read_page(tx, all_checkpoints, api::Selection(), std::move(query), "-number", key_of, bind_key);
}

}  // namespace

void mount_checkpoints(api::Api& api) {
  api.get(
      "/admin/checkpoints", list,
      {.id = "checkpoint.list",
       .summary = "The record's signed checkpoints",
       .description = "To be kept where nobody who can write to the database can: `cairn audit verify` compares the "
                      "record with them.",
       .allow = api::Access::server_admin});
}

}  // namespace cairn::audit

namespace cairn::json {
template<>
inline constexpr auto member_docs<audit::SignedCheckpoint> =
    std::to_array<MemberDoc>({{"entries", "Since the checkpoint before."},
                              {"signed_text", "What the signature is of, as it is."},
                              {"public_key", "Ed25519, in hex."},
                              {"signature", "In hex."}});
}  // namespace cairn::json
