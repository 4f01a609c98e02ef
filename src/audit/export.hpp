#pragma once
#include "audit/audit.hpp"

// The record as a file: all entries that the filter leaves, oldest first, made while they are sent.
namespace cairn::audit {

BOOST_DEFINE_ENUM_CLASS(Format, csv, jsonl)

struct ExportFilter : Filter {
  ExportFilter() = default;
  std::optional<Format> format;
};
BOOST_DESCRIBE_STRUCT(ExportFilter, (Filter), (format))

struct Csv {
  static constexpr std::string_view name = "text/csv; charset=utf-8";
  static constexpr std::string_view description = "One line per entry, with a header line; RFC 4180.";
};
struct Jsonl {
  static constexpr std::string_view name = "application/x-ndjson";
  static constexpr std::string_view description = "One entry per line, as the list has them.";
};

struct ServerExportFilter : ServerFilter {
  ServerExportFilter() = default;
  std::optional<Format> format;
};
BOOST_DESCRIBE_STRUCT(ServerExportFilter, (ServerFilter), (format))

void mount_export(api::Api& api);

// A page of an organization's record, with audit.view only; and of the server's, nothing for who does not administer
// it.
async<api::Page<Entry>> read_organization(pg::ReadTx& tx, organization::OrganizationId organization, Filter filter);
async<api::Page<Entry>> read_server(pg::ReadTx& tx, ServerFilter filter);

}  // namespace cairn::audit
