#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/stack.hpp"

namespace cairn::support {

// An organization with somebody of each role, a project and a task, and somebody of each role on the server, against
// which any endpoint can be called. It must not outlive the stack.
class World {
 public:
  // `name` begins the names of its accounts and the slugs of its organizations.
  World(const Stack& stack, std::string name);

  // Somebody who has exactly the role, or `owner` for endpoints that need none. Who has one on the server is in no
  // organization.
  Client& as(api::Access role) const;
  // The path of an endpoint with this world's ids in it.
  std::string path(const api::Endpoint& endpoint) const;
  // A body that the endpoint accepts; empty for endpoints without one. An endpoint that needs one and is not known here
  // fails the test.
  std::string body(const api::Endpoint& endpoint) const;
  // `who` of this world stands for anybody like them: what is_done_once() is done by a new person each time.
  Reply call(const api::Endpoint& endpoint, Client& who) const;
  // What one can do once in a life, or needs a token or code that body() cannot know.
  static bool is_done_once(const api::Endpoint& endpoint);
  // Makes a new organization with the same people, a new project and a new task: the old ones may be gone. Who
  // ended a session gets a new one, and so for tokens.
  void renew();

  // The id that stands for a {name} of a path.
  std::string id_of(std::string_view path_name) const;

  std::string organization, project, task, invitation, user;  // the ids; `user` is a member whom nobody here acts as
  std::string session, api_token;                             // of the owner, whose other device and API token they are
  std::string refresh_token;                                  // of `user`, not used yet
  std::string trashed;                                        // a task that was deleted

 private:
  Reply call_once(const api::Endpoint& endpoint) const;
  Reply log_in(std::string_view role) const;

  const Stack& stack_;
  std::string name_;
  unsigned organizations_ = 0;
  std::array<std::unique_ptr<Client>, 6> people_;  // member to owner, and of the server
  std::string member_, manager_;                   // their ids
  std::unique_ptr<Client> host_;                   // who invites these people elsewhere
  std::string token_, guest_token_;                // of invitations of the owner and of somebody new
};

std::string_view method_of(const api::Endpoint& endpoint);
bool takes_body(const api::Endpoint& endpoint);
// A path with other ids, by name.
std::string path_with(const api::Endpoint& endpoint, const std::vector<std::pair<std::string, std::string>>& ids);

}  // namespace cairn::support
