#include "support/smtp.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <stdexcept>

namespace cairn::support {

namespace bj = boost::json;

SmtpServer::SmtpServer(const std::vector<std::string>& options) {
  std::array<int, 2> input{}, output{};
  if (pipe2(input.data(), O_CLOEXEC) != 0 || pipe2(output.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  // Debian's, whatever else is called python3.
  std::vector<std::string> words{"/usr/bin/python3", CAIRN_SMTP_SERVER};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  child_ = fork();
  if (child_ == 0) {
    dup2(input[0], STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(input[0]);
  close(output[1]);
  input_ = input[1];
  output_ = output[0];
  port_ = static_cast<std::uint16_t>(next().at("port").as_int64());
}

SmtpServer::~SmtpServer() {
  close(input_);
  close(output_);
  waitpid(child_, nullptr, 0);
}

bj::object SmtpServer::next() {
  std::size_t end = 0;
  while ((end = unread_.find('\n')) == std::string::npos) {
    pollfd waiting{output_, POLLIN, 0};
    if (poll(&waiting, 1, 30'000) != 1) throw std::runtime_error("the SMTP server has nothing to say");
    std::array<char, 4096> bytes;
    const auto n = read(output_, bytes.data(), bytes.size());
    if (n <= 0) throw std::runtime_error("the SMTP server has gone");
    unread_.append(bytes.data(), static_cast<std::size_t>(n));
  }
  auto said = bj::parse(unread_.substr(0, end)).as_object();
  unread_.erase(0, end + 1);
  return said;
}

std::string SmtpServer::mail_for(const std::string& to) {
  const auto mail = next();
  EXPECT_EQ(bj::serialize(mail.at("to")), "[\"" + to + "\"]");
  return std::string(mail.at("text").as_string());
}

bool SmtpServer::silent() const {
  pollfd waiting{output_, POLLIN, 0};
  return unread_.empty() && poll(&waiting, 1, 0) == 0;
}

std::uint16_t unused_port() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool found = bind(listener, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                     getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(listener);
  if (!found) throw std::runtime_error("no port is free");
  return ntohs(address.sin_port);
}

}  // namespace cairn::support
