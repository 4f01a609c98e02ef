#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/config.hpp"
#include "job/message.hpp"

namespace cairn::job {

// Gives mails to the SMTP server, or, where none is configured, writes them as files into <data_dir>/mails. Blocking,
// for one thread; keeps its connection for the next mail.
class Sender {
 public:
  explicit Sender(const Config& config);
  ~Sender();
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // The name of the file that was written; empty when a server has taken the mail. Throws std::runtime_error, whose
  // text holds nothing of the mail and no password. Gives up soon after `stopped` has become true. `kind` becomes a
  // part of the file's name.
  std::string send(const Content& content, const std::string& kind, const std::function<bool()>& stopped = {});

 private:
  void transfer(const Content& content, const std::string& text, const std::function<bool()>& stopped);
  std::string write(const Content& content, const std::string& kind, const std::string& text) const;

  struct Close {
    void operator()(void* handle) const;
  };
  const Config::Mail settings_;
  const std::string directory_;
  Mailbox from_;
  std::unique_ptr<void, Close> curl_;
};

}  // namespace cairn::job
