#include "server/endpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/memory_info.h"
#include "base/name_hash.h"
#include "base/units.h"
#include "http/body_room.h"
#include "server/dialect.h"
#include "server/json_body.h"
#include "server/machine_status.h"
#include "server/memory_share.h"
#include "server/metrics.h"
#include "server/model_card.h"
#include "server/model_service.h"
#include "server/ollama_library.h"
#include "server/request_bounds.h"
#include "server/responses.h"
#include "server/web_assets.h"
#include "server/worker.h"

namespace flashmoe::server {
namespace {

using SteadyTime = std::chrono::steady_clock;
/// GET /v1/models/ID.
constexpr std::string_view kModelsPrefix = "/v1/models/";
constexpr std::string_view kModelPath = "/v1/models/{id}";
/// GET and DELETE /v1/responses/ID.
constexpr std::string_view kResponsesPrefix = "/v1/responses/";
constexpr std::string_view kResponsePath = "/v1/responses/{id}";
/// GET /v1/responses/ID/input_items.
constexpr std::string_view kInputItemsSuffix = "/input_items";
constexpr std::string_view kInputItemsPath = "/v1/responses/{id}/input_items";
const std::string kOtherEndpoint = "other";

using ReadBody = std::function<ApiResult<DialectRequest>(const Json&, const std::string&)>;

/// Of the memory budget, what responses may take that clients may go on from: they are text.
constexpr std::uint64_t kResponsesShare = 64;

class ModelEndpoints : public Endpoints {
 public:
  ModelEndpoints(Engine& engine, HttpServer& http, const ServerOptions& options)
      : engine_(engine),
        http_(http),
        options_(options),
        service_(engine, options.allow_control_tokens),
        responses_(engine.memory_plan().budget_bytes / kResponsesShare),
        bounds_(request_bounds(engine.memory_plan().request_bytes, options.body_size_max)),
        waiting_(bounds_.waiting_max) {
    const auto post_task = [&http](std::function<void()> task) { http.post(std::move(task)); };
    small_answers_ = std::make_shared<BodyRoom>(bounds_.small_answers_max, post_task);
    large_answers_ = std::make_shared<BodyRoom>(bounds_.large_answers_max, post_task);
    card_ = {.id = options_.model_id,
             .model_type = engine.info().model_type,
             .digest = fmt::format("{:016x}", name_hash(engine.info().identity)),
             .context = engine.memory_plan().context,
             .size = engine.info().file_bytes,
             .format = engine.info().file_format,
             .created = unix_seconds()};
    add_routes();
  }

  Status open() {
    FM_ASSIGN_OR_RETURN(scheduler_, engine_.new_scheduler(options_.scheduler));
    return Status();
  }

  void handle(HttpRequest request, const std::shared_ptr<Responder>& responder) override {
    if (const auto refused = refusal_of(request)) {
      // What is not ours is not named: clients may ask for anything.
      const auto methods = methods_at(request.path);
      return refuse(*responder, error_json_of(request),
                    methods != routes_.end() ? methods->first : kOtherEndpoint, *refused);
    }
    route_of(request)->handle(request, responder);
  }

  std::optional<ApiError> refusal_of(const HttpRequest& request) const override {
    const Route* const route = route_of(request);
    if (const auto refused =
            check_access(options_.access, request, route == nullptr || route->needs_key)) {
      return refused;
    }
    if (route != nullptr) return std::nullopt;
    const auto methods = methods_at(request.path);
    if (methods == routes_.end()) {
      return ApiError{.status = 404,
                      .message = fmt::format("there is nothing at {}", request.path),
                      .code = "not_found"};
    }
    return ApiError{.status = 405,
                    .message = fmt::format("{} does not take {}", request.path, request.method),
                    .allowed_methods = names_of(methods->second)};
  }

  const RequestBounds& bounds() const override { return bounds_; }

  void drain(std::chrono::seconds patience) override { scheduler_->stop(patience); }
  void close() override {
    scheduler_.reset();
    // Leases that end with the connections have nothing left to tell.
    small_answers_.reset();
    large_answers_.reset();
    small_requests_.reset();
    large_requests_.reset();
  }

 private:
  struct Route {
    bool needs_key = true;
    /// May take the body out of the request.
    std::function<void(HttpRequest&, const std::shared_ptr<Responder>&)> handle;
  };
  using Methods = std::map<std::string, Route>;
  using Routes = std::map<std::string, Methods, std::less<>>;

  /// By its path; names of models, which may have slashes, and ids of responses are one path each.
  Routes::const_iterator methods_at(const std::string& path) const {
    if (path.starts_with(kModelsPrefix)) return routes_.find(kModelPath);
    if (path.starts_with(kResponsesPrefix)) {
      return routes_.find(path.ends_with(kInputItemsSuffix) ? kInputItemsPath : kResponsePath);
    }
    return routes_.find(path);
  }

  /// Null: there is nothing for this method at the path.
  const Route* route_of(const HttpRequest& request) const {
    const auto methods = methods_at(request.path);
    if (methods == routes_.end()) return nullptr;
    const auto method = methods->second.find(request.method == "HEAD" ? "GET" : request.method);
    return method == methods->second.end() ? nullptr : &method->second;
  }

  static std::string names_of(const Methods& methods) {
    std::string names;
    for (const auto& [name, route] : methods) names += (names.empty() ? "" : ", ") + name;
    return names;
  }

  void refuse(Responder& responder, ErrorJson error_json, const std::string& endpoint,
              const ApiError& error) {
    responder.send(error_response(error, error_json));
    done({.endpoint = endpoint, .status = error.status, .error = error.message});
  }
  void refuse(Responder& responder, const std::string& endpoint, const ApiError& error) {
    refuse(responder, error_json_of(endpoint), endpoint, error);
  }

  void done(const ReplyRecord& record) {
    metrics_.record(record);
    if (options_.on_request) options_.on_request(record);
  }

  void get(const std::string& path, bool needs_key, std::function<HttpResponse()> answer) {
    routes_[path]["GET"] = {
        .needs_key = needs_key,
        .handle = [answer = std::move(answer)](const HttpRequest&,
                                               const std::shared_ptr<Responder>& responder) {
          responder->send(answer());
        }};
  }

  /// A question whose JSON body is worked off beside the server's thread.
  void post(const std::string& path, std::function<ApiResult<std::string>(Json& body)> answer) {
    post(path, bounds_.bodies.small_size_max, std::move(answer));
  }
  /// The same of a question whose answer has any number of tokens.
  void post_counting(const std::string& path,
                     std::function<ApiResult<std::string>(Json& body)> answer) {
    post(path, bounds_.counted_small_size_max, std::move(answer));
  }
  void post(const std::string& path, std::size_t small_size_max,
            std::function<ApiResult<std::string>(Json& body)> answer) {
    respond(path, "POST", small_size_max,
            [answer = std::move(answer)](Json& body) -> ApiResult<HttpResponse> {
              ApiResult<std::string> text = answer(body);
              if (!text.ok()) return text.error();
              return json_response(std::move(*text));
            });
  }
  void respond(const std::string& path, const char* method,
               std::function<ApiResult<HttpResponse>(Json& body)> answer) {
    respond(path, method, bounds_.bodies.small_size_max, std::move(answer));
  }
  void respond(const std::string& path, const char* method, std::size_t small_size_max,
               std::function<ApiResult<HttpResponse>(Json& body)> answer) {
    routes_[path][method] = {
        .handle = [this, path, small_size_max, answer = std::move(answer)](
                      HttpRequest& request, const std::shared_ptr<Responder>& responder) {
          with_body(path, request, small_size_max, responder,
                    [this, path, answer, responder](Json& body) {
                      ApiResult<HttpResponse> answered = guarded([&] { return answer(body); });
                      if (answered.ok()) return responder->send(std::move(*answered));
                      refuse(*responder, path, answered.error());
                    });
        }};
  }

  /// A body that waits to be read, with its place in the server's memory.
  struct Incoming {
    std::string text;
    BodyLease lease;
  };

  /// Reads the body beside the server's thread, and calls `use` there. Small bodies do not wait for
  /// those larger than `small_size_max`.
  void with_body(const std::string& path, HttpRequest& request, std::size_t small_size_max,
                 const std::shared_ptr<Responder>& responder, std::function<void(Json& body)> use) {
    auto incoming = std::make_shared<Incoming>(
        Incoming{std::move(request.body), std::move(request.body_lease)});
    const bool is_small = incoming->text.size() <= small_size_max;
    auto read = [this, path, responder, use = std::move(use), incoming](bool is_small) {
      ApiResult<Json> body =
          parse_body(incoming->text, is_small ? bounds_.json_small_max : bounds_.json_large_max);
      // What looked small may take much.
      if (!body.ok() && body.error().code == kBodyTooLarge && is_small) return false;
      *incoming = {};
      body.ok() ? use(*body) : refuse(*responder, path, body.error());
      return true;
    };
    if (!is_small) return large_requests_->add([read] { read(false); });
    small_requests_->add([this, read] {
      if (!read(true)) large_requests_->add([read] { read(false); });
    });
  }

  /// What a library throws where a check of ours was not enough ends the request, not the server.
  template <typename Fn>
  static auto guarded(Fn&& fn) -> decltype(fn()) {
    try {
      return fn();
    } catch (const std::exception& failure) {
      return bad_request({}, fmt::format("the request could not be read: {}", failure.what()));
    }
  }

  /// What a body asks for, with what this server makes of it whatever its dialect.
  ApiResult<DialectRequest> read_body(const ReadBody& read, const Json& body) {
    ApiResult<DialectRequest> request = guarded([&] { return read(body, named(body)); });
    if (!request.ok()) return request;
    for (const Omissions::Entry& entry : request->omitted.entries()) {
      if (options_.is_content_strict) return refusal_of(entry);
      request->notes.push_back(
          fmt::format("{}: this model reads text; a placeholder stands for what is of type {} "
                      "(--strict-content refuses it)",
                      entry.where, entry.kind));
    }
    auto* const chat = std::get_if<ChatRequest>(&request->wanted);
    if (chat != nullptr && !service_.keeps_system_in_place()) fold_system_messages(chat->messages);
    return request;
  }

  static ApiError refusal_of(const Omissions::Entry& unreadable) {
    return bad_request(
        unreadable.where,
        fmt::format("{}: this model reads text, not what is of type {}; leave it out, or start the "
                    "server without --strict-content",
                    unreadable.where, unreadable.kind));
  }

  void generate(const std::string& path, ReadBody read) {
    routes_[path]["POST"] = {
        .handle = [this, path, read](HttpRequest& request,
                                     const std::shared_ptr<Responder>& responder) {
          with_body(path, request, bounds_.bodies.small_size_max, responder,
                    [this, path, read, responder, begun = SteadyTime::now()](Json& body) {
                      prepare(path, body, read, begun, responder);
                    });
        }};
  }

  void prepare(const std::string& path, Json& body, ReadBody read, SteadyTime::time_point begun,
               const std::shared_ptr<Responder>& responder) {
    const auto fail = [&](const ApiError& error) { refuse(*responder, path, error); };
    ApiResult<DialectRequest> wanted = read_body(read, body);
    body = Json();  // what is wanted of it has been copied
    if (!wanted.ok()) return fail(wanted.error());
    if (wanted->answer) return responder->send(json_response(*wanted->answer));
    ApiResult<PreparedRequest> prepared = guarded([&] {
      return std::visit([this](auto& want) { return service_.prepare(std::move(want)); },
                        wanted->wanted);
    });
    if (!prepared.ok()) return fail(prepared.error());
    prepared->notes.insert(prepared->notes.begin(), wanted->notes.begin(), wanted->notes.end());
    std::size_t size = 0;
    for (const PreparedPrompt& prompt : prepared->prompts) {
      size += prompt.ids.size() * sizeof(prompt.ids[0]) + prompt.echo.size();
    }
    const std::size_t answer =
        wanted->writer->is_stream() ? 0 : answer_bytes(*prepared, *wanted->writer);
    std::shared_ptr<void> lease = waiting_.take(size);
    if (lease == nullptr && size > bounds_.waiting_max) {
      return fail(bad_request(
          "prompt", fmt::format("all prompts together are {}, and the memory for requests is for "
                                "{}; ask for fewer at once, or give more --memory",
                                format_size(size), format_size(bounds_.waiting_max))));
    }
    if (lease == nullptr) {
      return fail({.status = 429,
                   .message = "as many long prompts wait as there is memory for; come back soon",
                   .retry_after_seconds = 1});
    }
    begin_reply(path, begun, responder, std::move(wanted->writer), std::move(*prepared),
                std::move(lease), answer);
  }

  /// What a whole answer takes at most until it is sent, roughly: what is told of the prompts, and
  /// all that may be generated.
  std::size_t answer_bytes(const PreparedRequest& request, const ReplyWriter& writer) const {
    const std::size_t each = writer.bytes_kept(request.settings.top_logprobs);
    std::size_t bytes = 0;
    for (const PreparedPrompt& prompt : request.prompts) {
      bytes += prompt.echo.size();
      if (request.scores_prompts) bytes += prompt.token_count * each;
    }
    for (const std::size_t prompt : request.choices) {
      const std::size_t room = card_.context - request.prompts[prompt].token_count;
      bytes += std::min(request.settings.max_tokens.value_or(room), room) * each;
    }
    return bytes;
  }

  void begin_reply(const std::string& path, SteadyTime::time_point begun,
                   const std::shared_ptr<Responder>& responder, std::unique_ptr<ReplyWriter> writer,
                   PreparedRequest prepared, std::shared_ptr<void> lease, std::size_t answer) {
    const auto reply = std::make_shared<Reply>(
        Reply::Parts{
            .http = http_,
            .scheduler = *scheduler_,
            .service = service_,
            .responder = responder,
            .writer = std::move(writer),
            .refuse = [error_json = error_json_of(path)](
                          const ApiError& error) { return error_response(error, error_json); },
            .on_done = [this](const ReplyRecord& record) { done(record); },
            .endpoint = path,
            .begun = begun,
            .time_limit = options_.time_limit,
            .lease = std::move(lease),
            .answers = answer <= bounds_.small_answer_max ? small_answers_ : large_answers_,
            .answer_bytes = answer},
        std::move(prepared));
    reply->start();
  }

  /// Any name is answered to, with the name that was asked for: clients compare.
  std::string named(const Json& body) const {
    const auto name = body.find("model");
    return name != body.end() && name->is_string() ? name->get<std::string>() : options_.model_id;
  }

  void add_routes();
  void add_model_routes();
  void add_response_routes();
  void add_ollama_routes();

  Engine& engine_;
  HttpServer& http_;
  const ServerOptions& options_;
  const ModelService service_;
  ModelCard card_;
  Metrics metrics_;
  ResponseStore responses_;
  Routes routes_;
  const RequestBounds bounds_;
  MemoryShare waiting_;
  std::shared_ptr<BodyRoom> small_answers_;
  std::shared_ptr<BodyRoom> large_answers_;
  std::unique_ptr<Worker> small_requests_ = std::make_unique<Worker>();
  std::unique_ptr<Worker> large_requests_ = std::make_unique<Worker>(release_free_memory);
  std::unique_ptr<Scheduler> scheduler_;
};

void ModelEndpoints::add_routes() {
  generate("/v1/chat/completions", read_openai_chat);
  generate("/v1/completions", read_openai_completion);
  generate("/v1/messages", read_anthropic_messages);
  add_response_routes();
  add_model_routes();
  get("/health", false, [] { return json_response(R"({"status":"ok"})"); });
  post_counting("/v1/messages/count_tokens", [this](Json& body) -> ApiResult<std::string> {
    body["max_tokens"] = 1;
    ApiResult<DialectRequest> wanted = read_body(read_anthropic_messages, body);
    body = Json();
    if (!wanted.ok()) return wanted.error();
    ApiResult<std::size_t> count =
        service_.count_tokens(std::move(std::get<ChatRequest>(wanted->wanted)), bounds_.tokens_max);
    if (!count.ok()) return count.error();
    return dump({{"input_tokens", *count}});
  });
  for (const char* path : {"/v1/embeddings", "/api/embed", "/api/embeddings"}) {
    post(path, [](const Json&) -> ApiResult<std::string> {
      return ApiError{.status = 501,
                      .message = "this model generates text; it has no embeddings to give",
                      .code = "not_supported"};
    });
  }
  get("/metrics", true, [this] {
    return HttpResponse{
        .content_type = "text/plain; version=0.0.4; charset=utf-8",
        .body = metrics_.text(card_.id, scheduler_->statistics(), engine_.memory_plan(),
                              read_process_memory().rss_bytes, http_.connection_count())};
  });
  get("/props", true, [this] {
    const Json settings = {{"n_ctx", card_.context}};
    return json_response(dump({{"default_generation_settings", settings},
                               {"model_alias", card_.id},
                               {"model_type", card_.model_type},
                               {"request_bytes", engine_.memory_plan().request_bytes},
                               {"body_size_max", bounds_.bodies.size_max},
                               {"total_slots", scheduler_->statistics().places},
                               {"tool_call_syntax", name_of(service_.tool_syntax())},
                               {"build_info", "flash-moe"}}));
  });
  post_counting("/tokenize", [this](const Json& body) -> ApiResult<std::string> {
    Fields fields(body);
    std::optional<std::string> text = fields.text("content");
    if (!text) text = fields.text("prompt");
    const bool is_whole = fields.boolean("add_special").value_or(false);
    if (fields.error()) return *fields.error();
    if (!text) return bad_request("content", "content: is missing");
    ApiResult<std::vector<std::int32_t>> ids =
        service_.tokenize(*text, is_whole, bounds_.tokens_max);
    if (!ids.ok()) return ids.error();
    return dump({{"tokens", *ids}, {"count", ids->size()}, {"max_model_len", card_.context}});
  });
  post("/detokenize", [this](const Json& body) -> ApiResult<std::string> {
    Fields fields(body);
    const Json* const tokens = fields.array("tokens");
    std::vector<std::int32_t> ids;
    std::size_t size = 0;
    if (tokens != nullptr) {
      for (const Json& id : *tokens) {
        if (!id.is_number_integer() || id < 0 || id > 0x7fffffff) {
          fields.fail("tokens", "must be token ids");
          break;
        }
        ids.push_back(id.get<std::int32_t>());
        size += engine_.token_bytes(ids.back()).size();
      }
      if (size > bounds_.json_large_max) {
        fields.fail("tokens", fmt::format("stand for {} of text; {} are the most",
                                          format_size(size), format_size(bounds_.json_large_max)));
      }
    } else {
      fields.fail("tokens", "is missing");
    }
    if (fields.error()) return *fields.error();
    const Result<std::string> text = engine_.detokenize(ids);
    if (!text.ok()) return error_of(text.status());
    // As llama-server calls it, and as vLLM does.
    return dump({{"content", *text}, {"prompt", *text}});
  });
  get("/tokenizer_info", true, [this] {
    const std::vector<std::int32_t>& eos_ids = engine_.info().eos_token_ids;
    const Json eos = eos_ids.empty() ? Json() : Json(engine_.token_bytes(eos_ids.front()));
    return json_response(dump({{"eos_token", eos}, {"model_max_length", card_.context}}));
  });
  post("/apply-template", [this](const Json& body) -> ApiResult<std::string> {
    ApiResult<DialectRequest> wanted = read_body(read_openai_chat, body);
    if (!wanted.ok()) return wanted.error();
    ApiResult<ChatPrompt> prompt = service_.render(std::move(std::get<ChatRequest>(wanted->wanted)),
                                                   /*add_generation_prompt=*/true);
    if (!prompt.ok()) return prompt.error();
    return dump({{"prompt", prompt->text}});
  });
  routes_["/v1/cache/status"]["GET"] = {
      .handle = [this](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
        responder->send(json_response(
            dump(machine_status_json(card_, engine_, *scheduler_, request.query == "map=1"))));
      }};
  add_ollama_routes();
}

/// OpenAI's and Anthropic's clients ask at the same paths.
void ModelEndpoints::add_model_routes() {
  routes_["/v1/models"]["GET"] = {.handle = [this](const HttpRequest& request,
                                                   const std::shared_ptr<Responder>& responder) {
    responder->send(
        json_response(dump(speaks_anthropic(request) ? anthropic_models_json(card_, request.query)
                                                     : openai_models_json(card_))));
  }};
  routes_[std::string(kModelPath)]["GET"] = {
      .handle = [this](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
        const std::string_view id = std::string_view(request.path).substr(kModelsPrefix.size());
        if (id == card_.id) {
          return responder->send(json_response(dump(
              speaks_anthropic(request) ? anthropic_model_json(card_) : openai_model_json(card_))));
        }
        refuse(*responder, error_json_of(request), std::string(kModelPath),
               {.status = 404,
                .message = fmt::format("model: {} is not here; this server has {}", id, card_.id),
                .param = "model",
                .code = "model_not_found"});
      }};
}

void ModelEndpoints::add_response_routes() {
  generate("/v1/responses", [this](const Json& body, const std::string& model) {
    return read_openai_response(body, model, responses_);
  });
  const auto answer_by_id = [this](ApiResult<std::string> (ResponseStore::*answer)(
                                const std::string&)) {
    return [this, answer](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
      const std::string id = request.path.substr(kResponsesPrefix.size());
      ApiResult<std::string> body = (responses_.*answer)(id);
      if (body.ok()) return responder->send(json_response(std::move(*body)));
      refuse(*responder, std::string(kResponsePath), body.error());
    };
  };
  Methods& methods = routes_[std::string(kResponsePath)];
  methods["GET"] = {.handle = answer_by_id(&ResponseStore::get)};
  methods["DELETE"] = {.handle = answer_by_id(&ResponseStore::erase)};
  routes_[std::string(kInputItemsPath)]["GET"] = {
      .handle = [this](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
        std::string id = request.path.substr(kResponsesPrefix.size());
        id.resize(id.size() - std::min(id.size(), kInputItemsSuffix.size()));
        ApiResult<std::string> body = responses_.input_items(id, request.query);
        if (body.ok()) return responder->send(json_response(std::move(*body)));
        refuse(*responder, std::string(kInputItemsPath), body.error());
      }};
}

void ModelEndpoints::add_ollama_routes() {
  generate("/api/chat", read_ollama_chat);
  generate("/api/generate", read_ollama_generate);
  routes_["/"]["GET"] = {
      .needs_key = false,
      .handle = [](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
        responder->send(root_response(request));
      }};
  for (const WebAsset& asset : web_assets()) {
    routes_[std::string(asset.path)]["GET"] = {
        .needs_key = false,
        .handle = [](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
          responder->send(*web_response(request));
        }};
  }
  get("/api/version", true, [] { return json_response(R"({"version":"0.14.0"})"); });
  for (const char* path : {"/api/tags", "/api/ps"}) {
    get(path, true, [this] { return json_response(dump(ollama_models_json(card_))); });
  }
  post("/api/show", [this](const Json&) -> ApiResult<std::string> {
    return dump(ollama_show_json(card_, engine_.info(), service_));
  });
  respond("/api/pull", "POST", [this](const Json& body) { return ollama_pull(card_, body); });
  for (const auto& [path, method] :
       {std::pair("/api/create", "POST"), std::pair("/api/copy", "POST"),
        std::pair("/api/push", "POST"), std::pair("/api/delete", "DELETE")}) {
    respond(path, method, [path = std::string(path)](const Json&) -> ApiResult<HttpResponse> {
      return ollama_unchangeable(path);
    });
  }
}

}  // namespace

Result<std::unique_ptr<Endpoints>> Endpoints::create(Engine& engine, HttpServer& http,
                                                     const ServerOptions& options) {
  auto endpoints = std::make_unique<ModelEndpoints>(engine, http, options);
  FM_RETURN_IF_ERROR(endpoints->open());
  return std::unique_ptr<Endpoints>(std::move(endpoints));
}

}  // namespace flashmoe::server
