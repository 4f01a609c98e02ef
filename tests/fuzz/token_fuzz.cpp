// A token has one spelling and stands for itself only.

#include "api/credentials.hpp"
#include "fuzz/fuzz.hpp"
#include "session/session.hpp"

namespace cairn::fuzz {

void run(std::string_view bytes) {
  // As it comes in a request.
  http::Request request;
  request.headers.push_back({"Authorization", bytes});
  const auto given = api::credentials(request).token;
  require(given.empty() || bytes.ends_with(given), "a bearer token is the rest of its field");
  for (const auto text : {bytes, given}) {
    const auto token = session::Token::parse(text);
    if (!token) continue;
    const std::string_view prefix = token->use == session::Use::session   ? "cairn_s_"
                                    : token->use == session::Use::refresh ? "cairn_r_"
                                                                          : "cairn_t_";
    require(token->text == text && text.starts_with(prefix) && text.size() == 72, "a token is what was given");
    require(token->hash == sha256(text), "it is known by its hash");
    auto other = token->text;
    other.back() = other.back() == 'A' ? 'B' : 'A';
    const auto neighbour = session::Token::parse(other);
    require(neighbour && neighbour->user == token->user && neighbour->hash != token->hash, "the next one is another");
  }

  Uuid user;
  std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), 16), reinterpret_cast<char*>(user.bytes.data()));
  const auto made = session::Token::make(user);
  const auto back = session::Token::parse(made.text);
  require(back && back->user == user && back->hash == made.hash, "a token of ours is one");
}

}  // namespace cairn::fuzz
