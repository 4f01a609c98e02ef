#pragma once
#include <array>
#include <cstdint>
#include <string_view>

// The permissions of app.permissions as bits, which tell what a membership may do: the only names that statements
// check.
namespace cairn::organization::permission {

inline constexpr std::int64_t task_create = 1, task_edit = 2, task_delete = 4, project_create = 8, project_edit = 16,
                              project_delete = 32, project_members = 64, project_view_private = 128,
                              member_invite = 256, member_edit = 512, member_remove = 1024, organization_edit = 2048,
                              organization_delete = 4096, audit_view = 8192;

// As people write them.
struct Named {
  std::string_view name;
  std::int64_t bit;
};
inline constexpr auto all = std::to_array<Named>({{"task.create", task_create},
                                                  {"task.edit", task_edit},
                                                  {"task.delete", task_delete},
                                                  {"project.create", project_create},
                                                  {"project.edit", project_edit},
                                                  {"project.delete", project_delete},
                                                  {"project.members", project_members},
                                                  {"project.view_private", project_view_private},
                                                  {"member.invite", member_invite},
                                                  {"member.edit", member_edit},
                                                  {"member.remove", member_remove},
                                                  {"organization.edit", organization_edit},
                                                  {"organization.delete", organization_delete},
                                                  {"audit.view", audit_view}});

}  // namespace cairn::organization::permission
