#pragma once
#include <string>

#include "base/config.hpp"
#include "importer/database.hpp"

namespace cairn::cli {

// What an operator does about accounts: on the database itself, as its owner, and on the record as system:cli. Prints
// what has become of it, as text or as JSON. Everything throws std::runtime_error when it cannot be done; nothing is
// kept then.
class Administrator {
 public:
  Administrator(const Config& config, const std::string& owner_url, bool json);

  void create_user(const std::string& email, const std::string& first_name, const std::string& last_name,
                   const std::string& role, bool verified);
  // Those that fit; what is empty does not matter.
  void list_users(const std::string& email, const std::string& role, const std::string& status);
  // `who`: an address or an id.
  void set_status(const std::string& who, const std::string& status);
  void set_role(const std::string& who, const std::string& role);
  void reset_password(const std::string& who);
  void remove_second_factor(const std::string& who);
  // The newest entries of the record, oldest first. `who`: who did it or whom it was done to; empty: anybody.
  void show_record(const std::string& who, const std::string& since, int most);

 private:
  void begin();
  std::string find(const std::string& who);
  void set_standing(const std::string& who, const char* statement, const std::string& value);
  void finish(const std::string& id, const std::string& link);

  importer::Database database_;
  std::string base_url_;
  bool mails_, json_;
};

}  // namespace cairn::cli
