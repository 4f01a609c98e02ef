#pragma once
#include <boost/json/value.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::support {

struct Reply {
  Reply() = default;
  unsigned status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  boost::json::value json() const;
  std::string header(std::string_view lower_case_name) const;  // empty when there is none
};

// Why `value` does not fit `schema` (the subset of JSON Schema 2020-12 that our own OpenAPI document uses; references
// are looked up in `document`, a keyword outside the subset is a problem too); empty when it fits.
std::string schema_problem(const boost::json::value& value, const boost::json::value& schema,
                           const boost::json::value& document, const std::string& at = "");

// What the server says of itself in its OpenAPI document.
class Contract {
 public:
  explicit Contract(boost::json::value document);

  const boost::json::value& document() const { return document_; }
  // Every operation with its method in upper case and its path.
  struct Operation {
    Operation() = default;
    std::string method, path;
    const boost::json::object* description = nullptr;
  };
  const std::vector<Operation>& operations() const { return operations_; }
  // The operation that a request is for; nullptr when there is none.
  const boost::json::object* operation(std::string_view method, std::string_view target) const;
  // Why this is no reply that the document has for the request; empty when it is one.
  std::string problem(std::string_view method, std::string_view target, const Reply& reply) const;

 private:
  boost::json::value document_;
  std::vector<Operation> operations_;
};

}  // namespace cairn::support
