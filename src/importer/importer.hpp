#pragma once
#include <filesystem>
#include <map>
#include <ostream>
#include <string>

#include "importer/report.hpp"

namespace cairn::importer {

struct Options {
  Options() = default;
  std::string database_url;    // libpq's; the owner's login, which may become cairn_app
  std::filesystem::path file;  // read twice: a file, not a pipe
  std::string organization;    // slug or id
  std::string profile;         // a path, or the name of a shipped profile
  std::string as;  // e-mail of the acting owner or administrator; empty: the organization's longest-standing owner
  std::map<std::string, std::filesystem::path> joins;  // in place of the profile's file, which lies beside `file`
  bool dry_run = false;                                // everything but the commit
  bool atomic = false;                                 // one bad row, and nothing is written
  bool progress = false;                               // a progress line also where the stream is no terminal
};

// Writes the tasks of a CSV file, in transactions of 2,000 (one for all with dry_run and atomic), every change audited
// under one request id. Tasks the organization has already, by external id, are left as they are. Blocks; nothing of an
// unfinished transaction stays when the process is stopped.
// Throws std::runtime_error when there is nothing to start from (file, profile, database, organization, actor) or the
// database fails on the way; bad rows are in the report.
Report run(const Options& options, std::ostream& progress);

}  // namespace cairn::importer
