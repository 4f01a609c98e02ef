#pragma once
#include <cstdint>

// The permissions of app.permissions as bits, which tell what a membership may do: the only names that statements
// check.
namespace cairn::organization::permission {

inline constexpr std::int64_t task_create = 1, task_edit = 2, task_delete = 4, project_create = 8, project_edit = 16,
                              project_delete = 32, project_members = 64, project_view_private = 128,
                              member_invite = 256, member_edit = 512, member_remove = 1024, organization_edit = 2048,
                              organization_delete = 4096, audit_view = 8192;

}  // namespace cairn::organization::permission
