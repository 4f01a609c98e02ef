#pragma once
#include <sys/types.h>
#include <boost/json/object.hpp>

#include <string>
#include <vector>

namespace cairn::support {

// A real SMTP server (Debian's python3-aiosmtpd) on a free port of 127.0.0.1 that ends with this object.
class SmtpServer {
 public:
  // `options` as tests/support/smtp_server.py has them.
  explicit SmtpServer(const std::vector<std::string>& options = {});
  ~SmtpServer();
  SmtpServer(const SmtpServer&) = delete;
  SmtpServer& operator=(const SmtpServer&) = delete;

  std::string url() const { return "smtp://127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }
  // The next thing it says, waited for at most half a minute.
  boost::json::object next();
  // The text of the next mail, which must be for `to` alone.
  std::string mail_for(const std::string& to);
  // Whether it has said nothing more.
  bool silent() const;

 private:
  pid_t child_ = -1;
  int input_ = -1, output_ = -1;
  std::string unread_;
  std::uint16_t port_ = 0;
};

// A port of 127.0.0.1 where nobody listens.
std::uint16_t unused_port();

}  // namespace cairn::support
