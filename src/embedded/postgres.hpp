#pragma once
#include "embedded/child.hpp"

namespace cairn::embedded {

// Throws when no suitable PostgreSQL is installed: a new cluster takes any supported major version, an existing one
// only its own.
Recipe postgres_recipe(const Site&);

// Makes the cluster when there is none. It is built under another name, so one that was begun is never taken for a
// finished one.
void ensure_cluster(const Site&, const Recipe&);

// Through the running server: the roles, the database `cairn`, and what only a superuser can install. Changes only what
// is missing, as after a restore.
void bootstrap(const Site&);

std::string conninfo(const std::filesystem::path& sockets, std::string_view user, std::string_view database = "cairn");

}  // namespace cairn::embedded
