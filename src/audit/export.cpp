#include "audit/export.hpp"

namespace cairn::audit {
namespace {

using organization::OrganizationId;

constexpr std::int64_t page_size = 200;

// RFC 4180. What a spreadsheet would take for a formula gets an apostrophe in front.
void append_field(std::string& out, std::string_view text, bool last = false) {
  constexpr std::string_view formula = "=+-@\t\r";
  const bool dangerous = !text.empty() && formula.find(text.front()) != std::string_view::npos;
  if (dangerous || text.find_first_of(",\"\r\n") != std::string_view::npos) {
    out.push_back('"');
    if (dangerous) out.push_back('\'');
    for (const char c : text) {
      if (c == '"') out.push_back('"');
      out.push_back(c);
    }
    out.push_back('"');
  } else {
    out += text;
  }
  out += last ? "\r\n" : ",";
}

void append_csv(std::string& out, const Entry& entry) {
  const auto optional = [&](const auto& value) {
    if (!value)
      append_field(out, "");
    else if constexpr (requires { value->text(); })
      append_field(out, value->text());
    else
      append_field(out, *value);
  };
  append_field(out, entry.id.text());
  append_field(out, entry.position);
  append_field(out, entry.created_at.text());
  append_field(out, json::Codec<Action>::name(entry.action));
  append_field(out, entry.entity_type);
  append_field(out, entry.entity_id.text());
  optional(entry.user_id);
  optional(entry.user_name);
  optional(entry.token_id);
  optional(entry.actor);
  optional(entry.request_id);
  optional(entry.ip_address);
  optional(entry.user_agent);
  optional(entry.event);
  append_field(out, entry.changes.str(), true);
}
constexpr std::string_view csv_header =
    "id,position,created_at,action,entity_type,entity_id,user_id,user_name,token_id,actor,request_id,ip_address,"
    "user_agent,event,changes\r\n";

// One page at a time, each with the caller's rights as they are by then.
class Lines final : public http::Source {
 public:
  Lines(const api::Call& call, OrganizationId organization, ExportFilter filter, api::Page<Entry> first)
      : afterwards_(call),
        organization_(organization),
        format_(filter.format.value_or(Format::jsonl)),
        filter_(std::move(filter)),
        page_(std::move(first)) {}

  async<void> next(std::string& piece) override {
    if (!begun_ && format_ == Format::csv) piece += csv_header;
    if (begun_) {
      if (!filter_.cursor) co_return;
      std::function<async<api::Page<Entry>>(pg::ReadTx&)> work = [this](pg::ReadTx& tx) {
        return read_organization(tx, organization_, filter_);
      };
      page_ = co_await afterwards_.read(std::move(work));
    }
    begun_ = true;
    for (const auto& entry : page_.data) {
      if (format_ == Format::csv) {
        append_csv(piece, entry);
      } else {
        json::encode(piece, entry);
        piece.push_back('\n');
      }
    }
    filter_.cursor = std::move(page_.next_cursor);
    page_ = api::Page<Entry>();
  }

 private:
  api::Afterwards afterwards_;
  const OrganizationId organization_;
  const Format format_;
  Filter filter_;
  api::Page<Entry> page_;
  bool begun_ = false;
};

async<api::Stream<Jsonl, Csv>> export_record(api::Call& call, pg::ReadTx& tx, OrganizationId organization,
                                             ExportFilter filter) {
  filter.limit = api::Limit{page_size};
  filter.sort = "position";
  auto first = co_await read_organization(tx, organization, filter);
  const bool csv = filter.format == Format::csv;
  call.response.add_header("Content-Disposition",
                           csv ? R"(attachment; filename="record.csv")" : R"(attachment; filename="record.jsonl")");
  auto lines = std::make_shared<Lines>(call, organization, std::move(filter), std::move(first));
  if (csv) co_return api::Stream<Jsonl, Csv>::of<Csv>(std::move(lines));
  co_return api::Stream<Jsonl, Csv>::of<Jsonl>(std::move(lines));
}

}  // namespace

void mount_export(api::Api& api) {
  api.get("/organizations/{organization}/audit/export", export_record,
          {.id = "audit.export",
           .summary = "An organization's record as a file",
           .description = "Oldest first, with the filters of the list; `cursor`, of a list in the order of position, "
                          "says where to begin. The caller's rights are checked as it goes: a reply that breaks off "
                          "is not whole.",
           .allow = api::Access::admin});
}

}  // namespace cairn::audit
