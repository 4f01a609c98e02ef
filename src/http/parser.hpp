#pragma once
#include "http/listener.hpp"
#include "http/message.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace cairn::http {

// Strips the chunked coding (RFC 9112 section 7.1) strictly: lines end in CRLF, only ';' ends a size early. Extensions
// and trailers are dropped, and together may be as long as a header.
class ChunkDecoder {
 public:
  enum class State {
    size_start,
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,
    trailer_lf,
    final_lf,
    done,
    malformed,
    body_too_large,
    overhead_too_large,
  };

  ChunkDecoder() = default;
  explicit ChunkDecoder(Limits const& limits) : body_left_(limits.body_bytes), overhead_left_(limits.header_bytes) {}

  // Appends the decoded bytes to `body`; returns how many bytes of `wire` it used: all of them, until it is done.
  std::size_t decode(std::string_view wire, std::string& body);
  State state() const { return state_; }

 private:
  State next(char c);
  State add_digit(char c);
  State overhead(char c, State same);

  State state_ = State::size_start;
  std::uint64_t chunk_left_ = 0;
  std::size_t digits_ = 0, body_left_ = 0, overhead_left_ = 0;
};

// Turns one connection's bytes into requests, without any I/O. Its answers depend on the bytes alone, never on how they
// were split into reads; limits hold while a header or body is still incomplete.
class Parser {
 public:
  enum class Step {
    need_more,       // read into space(), commit(), step() again
    wants_continue,  // the same, but the client waits for a 100 (Continue) first; said once
    complete,        // request() may be used until next()
    fault,           // status() and detail() say why; the connection's bytes have lost their meaning
  };
  enum class Phase { idle, header, body };

  Parser(Limits const& limits, boost::asio::ip::address const& peer);

  std::span<char> space();
  void commit(std::size_t size) { end_ += size; }
  Step step();
  void next();
  // Drops all bytes: space() is the whole buffer again, and step() must not be called any more.
  void forget();

  Phase phase() const { return head_end_ ? Phase::body : begin_ < end_ ? Phase::header : Phase::idle; }
  Request const& request() const { return request_; }
  // What the complete request's version and Connection field ask for.
  bool keep_alive() const { return keep_alive_; }
  bool http_1_0() const { return http_1_0_; }
  unsigned status() const { return status_; }
  std::string_view detail() const { return detail_; }

 private:
  class Head;
  enum class Body { none, sized, chunked };

  std::string_view text(std::size_t from, std::size_t to) const { return {buffer_.get() + from, to - from}; }
  Step fault(unsigned status, std::string_view detail);
  Step scan();
  Step check_request_line();
  Step read_head();
  Step parse_head();
  Step read_body();
  Step read_chunks();
  void compact();

  Limits const& limits_;
  std::size_t const capacity_;
  std::unique_ptr<char[]> const buffer_;
  // In the buffer: [begin_, head_end_) the request's header, from tail_ on what follows the request, to end_.
  std::size_t begin_ = 0, head_end_ = 0, tail_ = 0, end_ = 0;
  // Of the header: [begin_, scanned_) is free of forbidden bytes, the line at line_ is being read.
  std::size_t scanned_ = 0, line_ = 0, lines_ = 0;
  bool skipped_line_ = false;

  Request request_;
  Body body_kind_ = Body::none;
  std::uint64_t body_left_ = 0;
  ChunkDecoder chunks_;
  std::string body_;  // of bodies that did not arrive whole
  bool keep_alive_ = false, http_1_0_ = false, expects_continue_ = false;

  unsigned status_ = 0;
  std::string_view detail_;
};

}  // namespace cairn::http
