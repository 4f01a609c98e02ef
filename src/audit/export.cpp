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
  append_field(out, entry.changes.str());
  optional(entry.organization_id);
  optional(entry.outcome);
  optional(entry.operation);
  append_field(out, entry.reason.value_or(std::string()), true);
}
constexpr std::string_view csv_header =
    "id,position,created_at,action,entity_type,entity_id,user_id,user_name,token_id,actor,request_id,ip_address,"
    "user_agent,event,changes,organization_id,outcome,operation,reason\r\n";

// One page at a time, each with the caller's rights as they are by then.
template<class F>
class Lines final : public http::Source {
 public:
  using Read = std::function<async<api::Page<Entry>>(pg::ReadTx&, const F&)>;

  Lines(const api::Call& call, Read read, Format format, F filter, api::Page<Entry> first)
      : afterwards_(call),
        read_(std::move(read)),
        format_(format),
        filter_(std::move(filter)),
        page_(std::move(first)) {}

  async<void> next(std::string& piece) override {
    if (!begun_ && format_ == Format::csv) piece += csv_header;
    if (begun_) {
      if (!filter_.cursor) co_return;
      std::function<async<api::Page<Entry>>(pg::ReadTx&)> work = [this](pg::ReadTx& tx) { return read_(tx, filter_); };
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
  const Read read_;
  const Format format_;
  F filter_;
  api::Page<Entry> page_;
  bool begun_ = false;
};

using File = api::Stream<Jsonl, Csv>;

// Reads the first page before the reply begins, so that a refusal is one.
template<class F>
async<File> file(api::Call& call, pg::ReadTx& tx, typename Lines<F>::Read read, std::optional<Format> format,
                 F filter) {
  filter.limit = api::Limit{page_size};
  auto first = co_await read(tx, filter);
  const bool csv = format == Format::csv;
  call.response.add_header("Content-Disposition",
                           csv ? R"(attachment; filename="record.csv")" : R"(attachment; filename="record.jsonl")");
  auto lines = std::make_shared<Lines<F>>(call, std::move(read), format.value_or(Format::jsonl), std::move(filter),
                                          std::move(first));
  if (csv) co_return File::of<Csv>(std::move(lines));
  co_return File::of<Jsonl>(std::move(lines));
}

async<File> export_organization(api::Call& call, pg::ReadTx& tx, OrganizationId organization, ExportFilter filter) {
  filter.sort = "position";
  Lines<Filter>::Read read = [organization](pg::ReadTx& reading, const Filter& rest) {
    return read_organization(reading, organization, rest);
  };
  return file<Filter>(call, tx, std::move(read), filter.format, filter);
}

async<File> export_server(api::Call& call, pg::ReadTx& tx, ServerExportFilter filter) {
  filter.sort = "created_at";
  Lines<ServerFilter>::Read read = [](pg::ReadTx& reading, const ServerFilter& rest) {
    return read_server(reading, rest);
  };
  return file<ServerFilter>(call, tx, std::move(read), filter.format, filter);
}

}  // namespace

void mount_export(api::Api& api) {
  api.get("/organizations/{organization}/audit/export", export_organization,
          {.id = "audit.export",
           .summary = "An organization's record as a file",
           .description = "Oldest first, with the filters of the list; `cursor`, of a list in the order of position, "
                          "says where to begin. The caller's rights are checked as it goes: a reply that breaks off "
                          "is not whole.",
           .allow = api::Access::admin});
  api.get("/admin/audit/export", export_server,
          {.id = "admin_audit.export",
           .summary = "The record of the whole server as a file",
           .description = "Oldest first, with the filters of the list; `cursor`, of a list in the order of created_at, "
                          "says where to begin. A reply that breaks off is not whole.",
           .allow = api::Access::server_admin});
}

}  // namespace cairn::audit
