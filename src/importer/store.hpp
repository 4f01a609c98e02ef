#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "importer/database.hpp"
#include "importer/mapper.hpp"

namespace cairn::importer {

enum class Outcome { created, present, refused };

struct Written {
  Written() = default;
  Outcome outcome = Outcome::present;
  std::string reason;  // why PostgreSQL refused it
};

// The tables an import writes, as one actor and one request. Everything but the users rows of placeholder people is
// written as cairn_app, under the policies that hold for requests.
class Store {
 public:
  // Throws std::runtime_error when there is no such organization, or no member of it who may import.
  // organization: slug or id. as: e-mail of the actor; empty: the longest-standing owner.
  Store(const std::string& url, const std::string& organization, const std::string& as);

  const std::string& organization() const { return slug_; }
  const std::string& actor() const { return actor_email_; }
  const std::string& request_id() const { return request_id_; }

  void begin();  // waits for another import into this organization
  void commit();
  void rollback();

  // One element for each draft, in their order. Inside a transaction; on an exception roll back and give up.
  std::vector<Written> write(std::span<const Draft> drafts, const Mapper& names);

  std::uint64_t people_created() const { return people_created_; }
  std::uint64_t projects_created() const { return projects_created_; }

 private:
  void find_actor(const std::string& as);
  void mark_present(std::span<const Draft> drafts, std::vector<Written>& written);
  void enter_projects(std::span<const Draft* const> drafts, const std::vector<Project>& projects);
  void enter_people(std::span<const Draft* const> drafts, const std::vector<Person>& people);
  void find_members(const std::vector<Person>& people, const std::vector<std::size_t>& wanted);
  void create_placeholders(const std::vector<Person>& people, const std::vector<std::size_t>& wanted);
  void insert(std::span<const Draft* const> drafts, std::map<std::string, Written*, std::less<>>& written);
  void insert_all(std::span<const Draft* const> drafts, std::map<std::string, Written*, std::less<>>& written);
  std::string placeholder_address(const Person& person) const;

  Database database_;
  std::string organization_id_, slug_, actor_id_, actor_email_, request_id_;
  std::vector<std::string> person_ids_, project_ids_;  // by index in Mapper; empty: not known yet
  std::uint64_t people_created_ = 0, projects_created_ = 0;
  bool staged_ = false;  // the staging table holds rows of this transaction
};

}  // namespace cairn::importer
