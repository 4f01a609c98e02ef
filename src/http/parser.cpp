#include "http/parser.hpp"

#include "http/uri.hpp"

#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace cairn::http {
namespace {

namespace beast = boost::beast;

constexpr std::size_t body_room = 4096;           // what a read of a body finds free behind the longest header
constexpr std::size_t longest_method = 32;        // RFC 9112 section 3: longer than any implemented is a 501
constexpr std::size_t kept_capacity = 64 * 1024;  // of a body's memory between requests

constexpr bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_decimal(char c) { return c >= '0' && c <= '9'; }

Method method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get: return Method::get;
    case beast::http::verb::head: return Method::head;
    case beast::http::verb::post: return Method::post;
    case beast::http::verb::put: return Method::put;
    case beast::http::verb::patch: return Method::patch;
    case beast::http::verb::delete_: return Method::del;
    case beast::http::verb::options: return Method::options;
    default: return Method::other;
  }
}

// uri-host [":" port] (RFC 3986 section 3.2) by its characters: no user, path or blank can hide in it.
bool is_authority(std::string_view text) {
  constexpr std::string_view marks = "-._~%!$&'()*+,;=:[]";
  return std::ranges::all_of(text, [&](char c) {
    return is_decimal(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || marks.find(c) != marks.npos;
  });
}

bool decodes(std::string_view target) {
  auto const plain = [](char c) { return c != '%' && static_cast<unsigned char>(c) < 0x80; };
  return std::ranges::all_of(target, plain) || percent_decode(target);
}

// HTTP/x.y, well-formed, at the end of the request line: then only the version itself is wrong.
bool names_a_version(std::string_view request_line) {
  auto const version = request_line.substr(request_line.rfind(' ') + 1);
  return version.size() == 8 && version.starts_with("HTTP/") && is_decimal(version[5]) && version[6] == '.' &&
         is_decimal(version[7]);
}

}  // namespace

std::size_t ChunkDecoder::decode(std::string_view wire, std::string& body) {
  std::size_t used = 0;
  while (used < wire.size() && state_ < State::done) {
    if (state_ != State::data) {
      state_ = next(wire[used++]);
      continue;
    }
    auto const piece = wire.substr(used, chunk_left_);
    body.append(piece);
    used += piece.size();
    chunk_left_ -= piece.size();
    if (chunk_left_ == 0) state_ = State::data_cr;
  }
  return used;
}

ChunkDecoder::State ChunkDecoder::next(char c) {
  auto const expect = [c](char wanted, State then) { return c == wanted ? then : State::malformed; };
  switch (state_) {
    case State::size_start: chunk_left_ = digits_ = 0; return add_digit(c);
    case State::size:
      if (c == ';') return State::extension;
      return c == '\r' ? State::size_lf : add_digit(c);
    case State::extension: return c == '\r' ? State::size_lf : overhead(c, State::extension);
    case State::size_lf:
      body_left_ -= chunk_left_;
      return expect('\n', chunk_left_ == 0 ? State::trailer_start : State::data);
    case State::data_cr: return expect('\r', State::data_lf);
    case State::data_lf: return expect('\n', State::size_start);
    case State::trailer_start:
      if (is_blank(c)) return State::malformed;
      return c == '\r' ? State::final_lf : overhead(c, State::trailer);
    case State::trailer: return c == '\r' ? State::trailer_lf : overhead(c, State::trailer);
    case State::trailer_lf: return expect('\n', State::trailer_start);
    case State::final_lf: return expect('\n', State::done);
    default: return state_;
  }
}

ChunkDecoder::State ChunkDecoder::add_digit(char c) {
  unsigned digit = 0;
  if (std::from_chars(&c, &c + 1, digit, 16).ec != std::errc{} || ++digits_ > 16) return State::malformed;
  chunk_left_ = chunk_left_ * 16 + digit;
  return chunk_left_ > body_left_ ? State::body_too_large : State::size;
}

ChunkDecoder::State ChunkDecoder::overhead(char c, State same) {
  if (is_control(c)) return State::malformed;
  if (overhead_left_ == 0) return State::overhead_too_large;
  --overhead_left_;
  return same;
}

// Beast's grammar of a whole header, with what it leaves to its users: Host, and no ambiguity about the body's end.
class Parser::Head final : public beast::http::basic_parser<true> {
 public:
  explicit Head(Parser& parser) : parser_(parser) {
    header_limit(static_cast<std::uint32_t>(parser.capacity_));
    skip(true);
  }

  Step check() {
    if (hosts_ > 1 || (hosts_ == 0 && !parser_.http_1_0_)) return bad("The request needs exactly one Host field.");
    if (chunked_ && sized_) return bad("The request has both Content-Length and Transfer-Encoding.");
    if (chunked_ && parser_.http_1_0_) return bad("HTTP/1.0 has no Transfer-Encoding.");
    if (parser_.body_left_ > parser_.limits_.body_bytes) return parser_.fault(413, "The body is too large.");
    parser_.body_kind_ = chunked_ ? Body::chunked : parser_.body_left_ > 0 ? Body::sized : Body::none;
    parser_.keep_alive_ = keep_alive();
    return Step::complete;
  }

 private:
  using Error = beast::error_code;
  using Text = beast::string_view;

  Step bad(std::string_view detail) { return parser_.fault(400, detail); }
  void refuse(Error& error, unsigned status, std::string_view detail) {
    parser_.fault(status, detail);
    error = beast::http::error::bad_value;
  }

  void on_request_impl(beast::http::verb verb, Text method, Text target, int version, Error& error) override {
    auto& request = parser_.request_;
    parser_.http_1_0_ = version == 10;
    request.method = method_of(verb);
    request.method_text = method;
    request.target = target;
    if (verb == beast::http::verb::connect) return refuse(error, 501, "This server is not a proxy.");
    if (!split(target)) return refuse(error, 400, "The request target is malformed.");
    if (!decodes(target)) return refuse(error, 400, "The request target does not decode to UTF-8 without NUL.");
  }

  bool split(std::string_view target) {
    auto& request = parser_.request_;
    if (target.find('#') != target.npos) return false;
    for (std::string_view scheme : {"http://", "https://"}) {
      if (!beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
      target.remove_prefix(scheme.size());
      auto const authority = target.substr(0, target.find_first_of("/?"));
      if (authority.empty() || !is_authority(authority)) return false;
      target.remove_prefix(authority.size());
      break;
    }
    auto const mark = std::min(target.find('?'), target.size());
    request.path = target.substr(0, mark);
    request.query = target.substr(std::min(mark + 1, target.size()));
    if (target == "*") return request.method == Method::options;
    if (request.path.empty() && target.data() != request.target.data()) request.path = "/";
    return request.path.starts_with('/');
  }

  void on_field_impl(beast::http::field field, Text name, Text value, Error& error) override {
    parser_.request_.headers.push_back({name, value});
    switch (field) {
      case beast::http::field::host:
        ++hosts_;
        if (!is_authority(value)) refuse(error, 400, "The Host field is malformed.");
        return;
      case beast::http::field::content_length: {
        auto const end = value.data() + value.size();
        auto const [rest, failure] = std::from_chars(value.data(), end, parser_.body_left_);
        // Beast would take "5, 5", and two fields that agree.
        if (std::exchange(sized_, true) || rest != end || failure != std::errc{} || !is_decimal(value[0]))
          refuse(error, 400, "The request's Content-Length is not one number.");
        return;
      }
      case beast::http::field::transfer_encoding:
        if (std::exchange(chunked_, true)) return refuse(error, 400, "The request has two Transfer-Encoding fields.");
        // RFC 9112 section 6.3: without a final "chunked" the body's end cannot be known.
        if (!beast::iequals(value.substr(value.size() - std::min<std::size_t>(value.size(), 7)), "chunked"))
          return refuse(error, 400, "The request's Transfer-Encoding does not end in chunked.");
        if (value.size() != 7) refuse(error, 501, "No Transfer-Encoding but chunked is known.");
        return;
      case beast::http::field::expect:
        if (parser_.http_1_0_) return;
        parser_.expects_continue_ = beast::iequals(value, "100-continue");
        if (!parser_.expects_continue_) refuse(error, 417, "No expectation but 100-continue is known.");
        return;
      default: return;
    }
  }

  void on_response_impl(int, Text, int, Error&) override {}
  void on_header_impl(Error&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, Error&) override {}
  std::size_t on_body_impl(Text, Error&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, Text, Error&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text, Error&) override { return 0; }
  void on_finish_impl(Error&) override {}

  Parser& parser_;
  int hosts_ = 0;
  bool sized_ = false, chunked_ = false;
};

Parser::Parser(Limits const& limits, boost::asio::ip::address const& peer)
    : limits_(limits),
      capacity_(limits.header_bytes + body_room),
      buffer_(std::make_unique_for_overwrite<char[]>(capacity_)) {
  request_.peer = peer;
}

std::span<char> Parser::space() {
  if (!head_end_) compact();
  return {buffer_.get() + end_, capacity_ - end_};
}

Parser::Step Parser::step() {
  if (status_) return Step::fault;
  if (!head_end_)
    if (auto const step = read_head(); step != Step::complete) return step;
  return body_kind_ == Body::none ? Step::complete : body_kind_ == Body::sized ? read_body() : read_chunks();
}

void Parser::next() {
  begin_ = scanned_ = line_ = tail_;
  head_end_ = lines_ = 0;
  skipped_line_ = false;
  // A fault before the next request line is whole must not show the last request's.
  request_.method = Method::other;
  request_.method_text = request_.target = request_.path = request_.query = request_.body = {};
  request_.headers.clear();
  body_.clear();
  if (body_.capacity() > kept_capacity) body_.shrink_to_fit();
}

void Parser::forget() { begin_ = head_end_ = end_ = 0; }

Parser::Step Parser::fault(unsigned status, std::string_view detail) {
  status_ = status;
  detail_ = detail;
  return Step::fault;
}

// Looks at each byte once, and only for what must hold before the header is whole; the grammar is Beast's.
Parser::Step Parser::scan() {
  auto const limit = begin_ + limits_.header_bytes;
  auto const stop = std::min(end_, limit);
  auto const data = buffer_.get();
  while (scanned_ < stop) {
    if (scanned_ == line_ && line_ != begin_ && is_blank(data[line_])) return fault(400, "A field is folded.");
    scanned_ = static_cast<std::size_t>(std::find_if(data + scanned_, data + stop, is_control) - data);
    if (line_ == begin_ && check_request_line() == Step::fault) return Step::fault;
    if (scanned_ + 1 >= stop && (scanned_ == stop || data[scanned_] == '\r')) break;
    if (data[scanned_] != '\r' || data[scanned_ + 1] != '\n')
      return fault(400, "The header holds a control character.");
    auto const empty = scanned_ == line_;
    line_ = scanned_ += 2;
    if (empty && lines_ > 0) {
      head_end_ = tail_ = scanned_;
      return Step::complete;
    }
    if (empty) {  // RFC 9112 section 2.2: one empty line before a request is forgiven
      if (std::exchange(skipped_line_, true)) return fault(400, "The request line is missing.");
      begin_ = line_;
      return scan();
    }
    if (++lines_ > limits_.headers + 1) return fault(431, "The header has too many fields.");
  }
  return end_ < limit ? Step::need_more : fault(431, "The header is too large.");
}

Parser::Step Parser::check_request_line() {
  auto const line = text(begin_, scanned_);
  auto const blank = std::min(line.find(' '), line.size());
  if (blank > longest_method) return fault(501, "The method is not known.");
  auto const target = line.substr(std::min(blank + 1, line.size()));
  if (std::min(target.find(' '), target.size()) > limits_.target_bytes) return fault(414, "The target is too long.");
  return Step::complete;
}

Parser::Step Parser::read_head() {
  if (auto const step = scan(); step != Step::complete) return step;
  if (auto const step = parse_head(); step != Step::complete) return step;
  chunks_ = ChunkDecoder{limits_};
  auto const arrived = end_ - head_end_;
  if (body_kind_ == Body::none || (body_kind_ == Body::sized && arrived >= body_left_) || begin_ == 0)
    return Step::complete;
  compact();  // so that a body always finds room behind its header, which moves what the request points to
  return parse_head();
}

Parser::Step Parser::parse_head() {
  request_.headers.clear();
  request_.body = {};
  body_left_ = 0;
  expects_continue_ = false;
  auto const head = text(begin_, head_end_);
  Head parser{*this};
  beast::error_code error;
  parser.put(boost::asio::buffer(head), error);
  if (status_) return Step::fault;
  if (!error && parser.is_done()) return parser.check();
  if (error == beast::http::error::bad_version && names_a_version(head.substr(0, head.find('\r'))))
    return fault(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
  return fault(400, "The header is malformed.");
}

Parser::Step Parser::read_body() {
  auto const arrived = text(head_end_, end_).substr(0, body_left_);
  body_left_ -= arrived.size();
  if (body_left_ == 0) {
    tail_ = head_end_ + arrived.size();
    request_.body = body_.empty() ? arrived : std::string_view{body_.append(arrived)};
    return Step::complete;
  }
  body_.append(arrived);
  end_ = head_end_;
  return arrived.empty() && std::exchange(expects_continue_, false) ? Step::wants_continue : Step::need_more;
}

Parser::Step Parser::read_chunks() {
  auto const arrived = text(head_end_, end_);
  auto const used = chunks_.decode(arrived, body_);
  switch (chunks_.state()) {
    case ChunkDecoder::State::done:
      tail_ = head_end_ + used;
      request_.body = body_;
      return Step::complete;
    case ChunkDecoder::State::malformed: return fault(400, "The chunked coding is malformed.");
    case ChunkDecoder::State::body_too_large: return fault(413, "The body is too large.");
    case ChunkDecoder::State::overhead_too_large: return fault(431, "The trailer is too large.");
    default: break;
  }
  end_ = head_end_;
  return arrived.empty() && std::exchange(expects_continue_, false) ? Step::wants_continue : Step::need_more;
}

void Parser::compact() {
  if (begin_ == 0) return;
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  for (auto* offset : {&scanned_, &line_, &end_}) *offset -= begin_;
  if (head_end_) head_end_ -= begin_;
  begin_ = 0;
}

}  // namespace cairn::http
