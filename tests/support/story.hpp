#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/stack.hpp"

// The small steps that stories over HTTP are told in. Each fails the test when it does not succeed.
namespace cairn::support {

inline std::string made(const Reply& reply, std::string_view member = "id") {
  EXPECT_EQ(reply.status, 201u) << reply.body;
  return reply.status == 201 ? text_of(reply, member) : std::string();
}
inline std::string me(Client& client) { return text_of(client.get("/me"), "id"); }
inline std::string code(const Reply& reply) { return text_of(reply, "code"); }
// Where the first thing is that is wrong with an input.
inline std::string pointer(const Reply& reply) { return text_of(reply.json().at("errors").at(0), "pointer"); }

inline std::string make_organization(Client& owner, std::string_view slug) {
  return made(owner.post("/organizations", fmt::format(R"({{"name":"{0}","slug":"{0}"}})", slug)));
}
inline std::string make_project(Client& client, const std::string& organization,
                                std::string_view visibility = "organization", std::string_view name = "Bridge") {
  return made(client.post("/organizations/" + organization + "/projects",
                          fmt::format(R"({{"name":"{}","visibility":"{}"}})", name, visibility)));
}
inline std::string make_task(Client& client, const std::string& project, std::string_view body = R"({"title":"Dig"})") {
  return made(client.post("/projects/" + project + "/tasks", body));
}
// A new person in an organization.
inline std::unique_ptr<Client> colleague(const Stack& stack, Client& owner, const std::string& organization,
                                         std::string_view name, std::string_view role) {
  auto person = stack.person(name);
  made(owner.post("/organizations/" + organization + "/members",
                  fmt::format(R"({{"email":"{}","role":"{}"}})", Stack::email(name), role)),
       "user_id");
  return person;
}
inline Reply add_to_project(Client& by, const std::string& project, const std::string& user, std::string_view role) {
  return by.post("/projects/" + project + "/members", fmt::format(R"({{"user_id":"{}","role":"{}"}})", user, role));
}

}  // namespace cairn::support
