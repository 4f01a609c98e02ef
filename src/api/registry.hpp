#pragma once
// The registry of endpoints, filled by `get/post/put/patch/del`. A handler's signature is its contract:
//   pg::ReadTx& / pg::Tx&    a transaction that may read / write; a Tx is committed before the reply is sent
//   Call&                    the request itself and its core (and no Tx then, or besides)
//   Id<E>...                 the {names} of the path, in order
//   IfMatch                  the If-Match header
//   a described struct       last: the query of get and del, the JSON body of the others
//   result                   T or Page<T>, maybe Encoded: 200, Created<T>: 201 + Location, Stream<Media...>: 200 piece
//                            by piece, nothing: 204; a member `version` makes the ETag
// Router, validation, OpenAPI and the contract tests all read this list and nothing else.
#include <boost/mp11/list.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "api/endpoint.hpp"
#include "pg/error.hpp"

namespace cairn::api {

inline constexpr std::string_view prefix = "/api/v1";

// The named values of a query string, decoded; a name given twice is an error. Throws Problem.
using QueryValues = std::vector<std::pair<std::string, std::string>>;
QueryValues query_values(const http::Request& request);
// The request's JSON body. Throws Problem when the content type or the document is not acceptable.
boost::json::value body_document(const Call& call);
// Throws Problem (malformed) unless the request has no body and, for endpoints without a query struct, no query.
void expect_no_body(const Call& call);
IfMatch if_match(const Call& call);
Uuid path_id(const Call& call, std::size_t index);
// Ends the reply of a row that has a version: sets the ETag, and turns the reply into 304 when the client has it
// already. True when the body must not be written.
bool conditional(Call& call, std::int64_t version);
void set_location(Call& call, std::string id);
[[noreturn]] void throw_invalid(json::Decoder& decoder);
// That something was committed.
void announce(Call& call);

namespace detail {

template<class T>
struct is_id : std::false_type {};
template<class E>
struct is_id<Id<E>> : std::true_type {};
template<class T>
struct is_page : std::false_type {};
template<class T>
struct is_page<Page<T>> : std::true_type {
  using item = T;
};
template<class T>
struct is_created : std::false_type {};
template<class T>
struct is_created<Created<T>> : std::true_type {
  using item = T;
};

template<class T>
struct decoded {
  using type = T;
};
template<class T>
struct decoded<Encoded<T>> {
  using type = T;
};

template<class T>
struct is_stream : std::false_type {};
template<class... Media>
struct is_stream<Stream<Media...>> : std::true_type {};

template<class A>
using plain = std::remove_cvref_t<A>;
template<class A>
inline constexpr bool is_read = std::is_same_v<A, pg::ReadTx&>;
template<class A>
inline constexpr bool is_write = std::is_same_v<A, pg::Tx&>;
template<class A>
inline constexpr bool is_input =
    json::Described<plain<A>> && !is_id<plain<A>>::value && !std::is_same_v<plain<A>, IfMatch>;

template<class... A>
inline constexpr bool reads = (is_read<A> || ...);
template<class... A>
inline constexpr bool writes = (is_write<A> || ...);
template<class... A>
inline constexpr std::size_t ids = (std::size_t{is_id<plain<A>>::value} + ... + 0);
template<class... A>
inline constexpr bool matches = (std::is_same_v<plain<A>, IfMatch> || ...);
template<class... A>
struct input_of {
  using type = void;
};
template<class A, class... Rest>
struct input_of<A, Rest...> {
  using type = std::conditional_t<is_input<A>, plain<A>, typename input_of<Rest...>::type>;
};

template<json::Described T>
T decode_query(const http::Request& request) {
  T query;
  json::Decoder decoder;
  auto values = query_values(request);
  boost::mp11::mp_for_each<json::members_of<T>>([&](auto member) {
    using Member = std::remove_cvref_t<decltype(query.*member.pointer)>;
    const auto given =
        std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.first == member.name; });
    if (given != values.end()) {
      decoder.at_parameter(member.name);
      json::Codec<Member>::from_text(decoder, given->second, query.*member.pointer);
      values.erase(given);
      return;
    }
    if constexpr (!is_optional<Member>::value) {
      decoder.at_parameter(member.name);
      decoder.fail("required", "is required");
    }
  });
  for (const auto& [name, value] : values) {
    decoder.at_parameter(name);
    decoder.fail("unknown_parameter", "is not a parameter of this endpoint");
  }
  if (!decoder.ok()) throw_invalid(decoder);
  return query;
}

template<json::Described T>
T decode_body(const Call& call) {
  T body;
  json::Decoder decoder;
  json::decode(decoder, body_document(call), body);
  if (!decoder.ok()) throw_invalid(decoder);
  return body;
}

// What the handler gets besides its transaction, decoded from the request before any connection is taken.
template<bool HasBody, class... A>
class Inputs {
 public:
  using Input = typename input_of<A...>::type;

  explicit Inputs(Call& call) : call_(call) {
    for (std::size_t i = 0; i < ids<A...>; ++i) path_ids_[i] = path_id(call, i);
    if constexpr (matches<A...>) match_ = if_match(call);
    if constexpr (std::is_void_v<Input>)
      expect_no_body(call);
    else if constexpr (HasBody)
      input_ = decode_body<Input>(call);
    else
      input_ = decode_query<Input>(call.request);
  }

  template<class R, class Transaction>
  async<R> call(async<R> (*handler)(A...), Transaction& tx) {
    next_id_ = 0;
    // Braces evaluate left to right, so path ids are handed out in order.
    std::tuple<A...> arguments{argument<A>(tx)...};
    return std::apply(handler, std::move(arguments));
  }

 private:
  template<class A1, class Transaction>
  A1 argument(Transaction& tx) {
    if constexpr (is_read<A1> || is_write<A1>)
      return tx;
    else if constexpr (std::is_same_v<A1, Call&>)
      return call_;
    else if constexpr (is_id<plain<A1>>::value)
      return A1{path_ids_[next_id_++]};
    else if constexpr (std::is_same_v<A1, IfMatch>)
      return match_;
    else
      return input_;  // a copy: the call may be made again after a serialization failure
  }

  Call& call_;
  std::array<Uuid, 4> path_ids_{};
  std::size_t next_id_ = 0;
  IfMatch match_{};
  std::conditional_t<std::is_void_v<Input>, std::monostate, Input> input_{};
};

template<class T>
void write_row(Call& call, const T& row) {
  if constexpr (requires { row.version; }) {
    if (conditional(call, row.version)) return;
  }
  api::encode(call.response.body(), row);
}

template<class T>
void write(Call& call, const T& result) {
  if constexpr (is_created<T>::value) {
    call.response.status = 201;
    if constexpr (requires { result.value.id; }) set_location(call, result.value.id.text());
    write_row(call, result.value);
  } else if constexpr (is_stream<T>::value) {
    call.response.content_type = result.type;
    call.response.stream(result.source);
  } else {
    write_row(call, result);
  }
}

struct None {};

// The transact and encode stages, once.
template<bool HasBody, class R, class... A>
async<> attempt(Call& call, async<R> (*handler)(A...), Inputs<HasBody, A...>& inputs) {
  if constexpr (writes<A...>) {
    pg::Tx tx = call.write();
    if constexpr (std::is_void_v<R>) {
      co_await inputs.call(handler, tx);
      co_await tx.commit();
      announce(call);
      call.response.status = 204;
    } else {
      R result = co_await inputs.call(handler, tx);
      co_await tx.commit();
      announce(call);
      write(call, result);
    }
  } else if constexpr (reads<A...>) {
    pg::ReadTx tx = call.read();
    R result = co_await inputs.call(handler, tx);
    write(call, result);
  } else {
    None none;
    if constexpr (std::is_void_v<R>) {
      co_await inputs.call(handler, none);
      call.response.status = 204;
    } else {
      R result = co_await inputs.call(handler, none);
      write(call, result);
    }
  }
}

// Until it is done: a transaction that lost to another (40001, 40P01) is tried once more from the start, one that began
// with something out of date about the caller a few times more, after learning anew. Neither has left anything behind.
// What is wrong with an input may be found before PostgreSQL is asked whether the caller still has a session, and
// whoever has lost it is told that first.
template<bool HasBody, class R, class... A>
async<> execute(Call& call, async<R> (*handler)(A...)) {
  std::optional<Inputs<HasBody, A...>> inputs;
  bool lost = false;
  for (unsigned stale = 0;;) {
    std::exception_ptr unacceptable;
    try {
      if (!inputs) inputs.emplace(call);
      co_await attempt<HasBody>(call, handler, *inputs);
      co_return;
    } catch (const pg::Retryable&) {
      if (!writes<A...> || std::exchange(lost, true)) throw;
      continue;
    } catch (const pg::Stale&) {
      if (++stale > 5 || call.authenticator == nullptr) throw;
    } catch (const Problem& problem) {
      const bool about_input = !inputs || problem.kind == Kind::invalid || problem.kind == Kind::malformed;
      if (!about_input || call.authenticator == nullptr) throw;
      unacceptable = std::current_exception();
    }
    call.identity = co_await (*call.authenticator)(call, call.token, true);
    if (unacceptable) std::rethrow_exception(unacceptable);
  }
}

// -- description
// --------------------------------------------------------------------------------------------------------

boost::json::object describe_base(const Endpoint& endpoint, bool matches, bool conditional_reply);
void describe_parameter(boost::json::object& operation, std::string_view name, boost::json::object schema,
                        std::string_view text, bool required);
void describe_body(boost::json::object& operation, boost::json::object schema, bool merge_patch);
void describe_reply(boost::json::object& operation, std::string_view status, std::string_view text,
                    boost::json::object schema, bool etag, bool location);
void describe_stream(boost::json::object& operation, std::string_view type, std::string_view text);

template<class... Media>
void describe_media(boost::json::object& operation, const Stream<Media...>*) {
  (describe_stream(operation, Media::name, Media::description), ...);
}

template<class R>
struct item_of {
  using type = R;
};
template<class T>
struct item_of<Created<T>> {
  using type = T;
};

template<bool HasBody, class Result, class... A>
boost::json::object describe(const Endpoint& endpoint, json::Components& components) {
  using Input = typename Inputs<HasBody, A...>::Input;
  using R = typename decoded<Result>::type;
  constexpr bool versioned = requires(typename item_of<R>::type row) { row.version; };
  auto operation = describe_base(endpoint, matches<A...>, versioned && endpoint_reads(endpoint.method));
  if constexpr (!std::is_void_v<Input>) {
    if constexpr (!HasBody) {
      boost::mp11::mp_for_each<json::members_of<Input>>([&](auto member) {
        using Member = std::remove_cvref_t<decltype(std::declval<Input&>().*member.pointer)>;
        std::string_view text;
        for (const auto& doc : json::member_docs<Input>)
          if (doc.member == member.name) text = doc.text;
        if constexpr (is_optional<Member>::value)
          describe_parameter(operation, member.name, json::Codec<typename Member::value_type>::schema(components), text,
                             false);
        else
          describe_parameter(operation, member.name, json::Codec<Member>::schema(components), text, true);
      });
    } else {
      describe_body(operation, json::Codec<Input>::schema(components), endpoint.method == http::Method::patch);
    }
  }
  if constexpr (std::is_void_v<R>) {
    describe_reply(operation, "204", "Done.", {}, false, false);
  } else if constexpr (is_created<R>::value) {
    describe_reply(operation, "201", "Created.", json::Codec<typename is_created<R>::item>::schema(components),
                   versioned, true);
  } else if constexpr (is_page<R>::value) {
    boost::json::object schema{
        {"type", "object"},
        {"properties",
         {{"data", {{"type", "array"}, {"items", json::Codec<typename is_page<R>::item>::schema(components)}}},
          {"next_cursor",
           {{"type", boost::json::array{"string", "null"}},
            {"description", "Give it as `cursor` to get the next page; null on the last."}}}}},
        {"required", boost::json::array{"data", "next_cursor"}},
        {"additionalProperties", false}};
    describe_reply(operation, "200", "One page.", std::move(schema), false, false);
  } else if constexpr (is_stream<R>::value) {
    describe_reply(operation, "200", "As asked, made while it is sent.", {}, false, false);
    describe_media(operation, static_cast<const R*>(nullptr));
  } else {
    describe_reply(operation, "200", "As asked.", json::Codec<R>::schema(components), versioned, false);
  }
  return operation;
}

}  // namespace detail

class Api {
 public:
  // The prelude of endpoints that need no token: it gives the record its address, agent and request.
  using Anonymous = std::function<Identity(Call&)>;
  // Told of each request that was refused although its token is good, before it is answered. Throws nothing.
  using Refused = std::function<async<>(Call&, const Problem&)>;
  // What an API token needs for an endpoint; empty: it is closed to them.
  using Scope = std::function<std::string_view(const Endpoint&)>;

  template<class R, class... A>
  void get(std::string_view path, async<R> (*handler)(A...), Spec spec) {
    static_assert(!detail::writes<A...>, "a GET does not write: take a ReadTx&");
    add<false>(http::Method::get, path, handler, spec);
  }
  template<class R, class... A>
  void post(std::string_view path, async<R> (*handler)(A...), Spec spec) {
    add<true>(http::Method::post, path, handler, spec);
  }
  template<class R, class... A>
  void put(std::string_view path, async<R> (*handler)(A...), Spec spec) {
    add<true>(http::Method::put, path, handler, spec);
  }
  template<class R, class... A>
  void patch(std::string_view path, async<R> (*handler)(A...), Spec spec) {
    add<true>(http::Method::patch, path, handler, spec);
  }
  template<class R, class... A>
  void del(std::string_view path, async<R> (*handler)(A...), Spec spec) {
    add<false>(http::Method::del, path, handler, spec);
  }

  void authenticate_with(Authenticator authenticator, Anonymous anonymous) {
    authenticator_ = std::move(authenticator);
    anonymous_ = std::move(anonymous);
  }
  const Authenticator& authenticator() const { return authenticator_; }
  const Anonymous& anonymous() const { return anonymous_; }
  void report_refusals_to(Refused refused) { refused_ = std::move(refused); }
  const Refused& refused() const { return refused_; }
  void scopes_from(Scope scope) { scope_ = std::move(scope); }
  const Scope& scope() const { return scope_; }

  std::span<const std::unique_ptr<Endpoint>> endpoints() const { return endpoints_; }

 private:
  template<bool HasBody, class R, class... A>
  void add(http::Method method, std::string_view path, async<R> (*handler)(A...), Spec spec) {
    static_assert(!(detail::reads<A...> && detail::writes<A...>), "one transaction per request");
    auto endpoint = std::make_unique<Endpoint>();
    endpoint->method = method;
    endpoint->path = path;
    endpoint->spec = spec;
    endpoint->run = [handler](Call& call) { return detail::execute<HasBody>(call, handler); };
    endpoint->describe = [e = endpoint.get()](json::Components& c) {
      return detail::describe<HasBody, R, A...>(*e, c);
    };
    insert(std::move(endpoint), detail::ids<A...>);
  }
  // Throws std::logic_error when the path has not as many {names} as the handler has ids, or is taken already.
  void insert(std::unique_ptr<Endpoint> endpoint, std::size_t ids);

  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  Authenticator authenticator_;
  Anonymous anonymous_;
  Refused refused_;
  Scope scope_;
};

}  // namespace cairn::api
