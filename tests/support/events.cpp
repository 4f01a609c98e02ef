#include "support/events.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace cairn::support {

EventStream::EventStream(std::uint16_t port, std::string_view path, std::string_view token, std::string_view last_id)
    : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), last_id_(last_id) {
  const timeval limit{patience.count(), 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(socket_);
    throw std::runtime_error("the server cannot be reached");
  }
  auto request = fmt::format("GET /api/v1{} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n", path, token);
  if (!last_id.empty()) request += fmt::format("Last-Event-ID: {}\r\n", last_id);
  request += "\r\n";
  send(socket_, request.data(), request.size(), MSG_NOSIGNAL);
  auto end = std::string::npos;
  while ((end = wire_.find("\r\n\r\n")) == std::string::npos && receive()) {}
  if (end == std::string::npos || !wire_.starts_with("HTTP/1.1 200 ")) {
    close(socket_);
    throw std::runtime_error(wire_.size() < 9 ? "no answer" : wire_.substr(9));
  }
  wire_.erase(0, end + 4);
}

EventStream::~EventStream() { close(socket_); }

bool EventStream::receive() {
  std::array<char, 65536> part;
  const auto size = recv(socket_, part.data(), part.size(), 0);
  if (size <= 0) return false;
  wire_.append(part.data(), static_cast<std::size_t>(size));
  return true;
}

std::optional<EventStream::Event> EventStream::next() {
  for (const auto end_of_patience = std::chrono::steady_clock::now() + patience;;) {
    // One chunk after the other becomes text.
    for (auto line = wire_.find("\r\n"); line != std::string::npos; line = wire_.find("\r\n")) {
      const auto size = std::stoul(wire_.substr(0, line), nullptr, 16);
      if (wire_.size() < line + 2 + size + 2) break;
      ended_ = size == 0;
      text_.append(wire_, line + 2, size);
      wire_.erase(0, line + 2 + size + 2);
    }
    const auto end = text_.find("\n\n");
    if (end == std::string::npos) {
      if (ended_ || std::chrono::steady_clock::now() > end_of_patience || !receive()) return std::nullopt;
      continue;
    }
    Event event;
    for (std::string_view block(text_.data(), end + 1); !block.empty();) {
      const auto line = block.substr(0, block.find('\n'));
      block.remove_prefix(line.size() + 1);
      if (line.starts_with("id: ")) last_id_ = event.id = line.substr(4);
      if (line.starts_with("event: ")) event.type = line.substr(7);
      if (line.starts_with("data: ")) event.data = line.substr(6);
    }
    text_.erase(0, end + 2);
    if (!event.data.empty()) return event;
  }
}

std::optional<EventStream::Event> EventStream::next(std::string_view type) {
  for (;;) {
    auto event = next();
    if (!event || event->type == type) return event;
  }
}

}  // namespace cairn::support
