#include "server/endpoints.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/memory_info.h"
#include "base/name_hash.h"
#include "server/dialect.h"
#include "server/machine_status.h"
#include "server/metrics.h"
#include "server/model_card.h"
#include "server/model_service.h"
#include "server/responses.h"
#include "server/worker.h"

namespace flashmoe::server {
namespace {

using SteadyTime = std::chrono::steady_clock;
using ReadBody = ApiResult<DialectRequest> (*)(const Json&, const std::string&);

class ModelEndpoints : public Endpoints {
 public:
  ModelEndpoints(Engine& engine, HttpServer& http, const ServerOptions& options)
      : engine_(engine),
        http_(http),
        options_(options),
        service_(engine, options.allow_control_tokens) {
    card_ = {.id = options_.model_id,
             .model_type = engine.info().model_type,
             .digest = fmt::format("{:016x}", name_hash(engine.info().identity)),
             .context = engine.memory_plan().context,
             .size = options_.model_size,
             .created = unix_seconds()};
    add_routes();
  }

  Status open() {
    FM_ASSIGN_OR_RETURN(scheduler_, engine_.new_scheduler(options_.scheduler));
    return Status();
  }

  void handle(const HttpRequest& request, const std::shared_ptr<Responder>& responder) override {
    const auto path = routes_.find(request.path);
    const Route* route = nullptr;
    if (path != routes_.end()) {
      const auto method = path->second.find(request.method == "HEAD" ? "GET" : request.method);
      if (method != path->second.end()) route = &method->second;
    }
    if (const auto refused =
            check_access(options_.access, request, route == nullptr || route->needs_key)) {
      return refuse(*responder, request.path, *refused);
    }
    if (route == nullptr) {
      const bool is_known = path != routes_.end();
      return refuse(
          *responder, request.path,
          {.status = is_known ? 405u : 404u,
           .message = is_known ? fmt::format("{} does not take {}", request.path, request.method)
                               : fmt::format("there is nothing at {}", request.path)});
    }
    route->handle(request, responder);
  }

  void drain(std::chrono::seconds patience) override { scheduler_->stop(patience); }
  void close() override {
    scheduler_.reset();
    worker_.reset();
  }

 private:
  struct Route {
    bool needs_key = true;
    std::function<void(const HttpRequest&, const std::shared_ptr<Responder>&)> handle;
  };

  void refuse(Responder& responder, const std::string& endpoint, const ApiError& error) {
    responder.send(error_response(error, error_json_of(endpoint)));
    // What is not ours is not named: clients may ask for anything.
    done({.endpoint = routes_.contains(endpoint) ? endpoint : "other",
          .status = error.status,
          .error = error.message});
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
  void post(const std::string& path,
            std::function<ApiResult<std::string>(const Json& body)> answer) {
    routes_[path]["POST"] = {
        .handle = [this, path, answer = std::move(answer)](
                      const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
          worker_->add([this, path, answer, responder, text = request.body] {
            ApiResult<Json> body = parse_body(text);
            ApiResult<std::string> answered = body.ok() ? guarded([&] { return answer(*body); })
                                                        : ApiResult<std::string>(body.error());
            if (answered.ok()) return responder->send(json_response(*answered));
            refuse(*responder, path, answered.error());
          });
        }};
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

  void generate(const std::string& path, ReadBody read) {
    routes_[path]["POST"] = {.handle = [this, path, read](
                                           const HttpRequest& request,
                                           const std::shared_ptr<Responder>& responder) {
      worker_->add([this, path, read, responder, text = request.body, begun = SteadyTime::now()] {
        const auto fail = [&](const ApiError& error) { refuse(*responder, path, error); };
        ApiResult<Json> body = parse_body(text);
        if (!body.ok()) return fail(body.error());
        ApiResult<DialectRequest> wanted = guarded([&] { return read(*body, named(*body)); });
        if (!wanted.ok()) return fail(wanted.error());
        if (is_for_loading(wanted->wanted)) {
          return responder->send(json_response(loaded_json(*body)));
        }
        ApiResult<PreparedRequest> prepared = guarded([&] {
          return std::visit([this](auto& want) { return service_.prepare(std::move(want)); },
                            wanted->wanted);
        });
        if (!prepared.ok()) return fail(prepared.error());
        begin_reply(path, begun, responder, std::move(wanted->writer), std::move(*prepared));
      });
    }};
  }

  void begin_reply(const std::string& path, SteadyTime::time_point begun,
                   const std::shared_ptr<Responder>& responder, std::unique_ptr<ReplyWriter> writer,
                   PreparedRequest prepared) {
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
            .time_limit = options_.time_limit},
        std::move(prepared));
    reply->start();
  }

  /// Any name is answered to, with the name that was asked for: clients compare.
  std::string named(const Json& body) const {
    const auto name = body.find("model");
    return name != body.end() && name->is_string() ? name->get<std::string>() : options_.model_id;
  }

  /// Ollama's clients load a model by asking it nothing.
  static bool is_for_loading(const std::variant<ChatRequest, CompletionRequest>& wanted) {
    if (const auto* chat = std::get_if<ChatRequest>(&wanted)) return chat->messages.empty();
    return std::get<CompletionRequest>(wanted).prompts.empty();
  }
  std::string loaded_json(const Json& body) const {
    const bool is_unload = body.contains("keep_alive") && body["keep_alive"] == 0;
    return dump({{"model", named(body)},
                 {"created_at", "1970-01-01T00:00:00Z"},
                 {"message", {{"role", "assistant"}, {"content", ""}}},
                 {"response", ""},
                 {"done", true},
                 {"done_reason", is_unload ? "unload" : "load"}});
  }

  void add_routes();
  void add_ollama_routes();

  Engine& engine_;
  HttpServer& http_;
  const ServerOptions& options_;
  const ModelService service_;
  ModelCard card_;
  Metrics metrics_;
  std::map<std::string, std::map<std::string, Route>, std::less<>> routes_;
  std::unique_ptr<Worker> worker_ = std::make_unique<Worker>();
  std::unique_ptr<Scheduler> scheduler_;
};

void ModelEndpoints::add_routes() {
  for (const char* prefix : {"", "/v1"}) {
    generate(std::string(prefix) + "/chat/completions", read_openai_chat);
    generate(std::string(prefix) + "/completions", read_openai_completion);
    get(std::string(prefix) + "/health", false, [] { return json_response(R"({"status":"ok"})"); });
    get(std::string(prefix) + "/models", true, [this] {
      return json_response(
          dump({{"object", "list"}, {"data", Json::array({openai_model_json(card_)})}}));
    });
  }
  get("/v1/models/" + card_.id, true,
      [this] { return json_response(dump(openai_model_json(card_))); });
  generate("/v1/responses", read_openai_response);
  generate("/v1/messages", read_anthropic_messages);
  post("/v1/messages/count_tokens", [this](const Json& body) -> ApiResult<std::string> {
    Json with_limit = body;
    with_limit["max_tokens"] = 1;
    ApiResult<DialectRequest> wanted = read_anthropic_messages(with_limit, card_.id);
    if (!wanted.ok()) return wanted.error();
    ApiResult<std::size_t> count = service_.count_tokens(std::get<ChatRequest>(wanted->wanted));
    if (!count.ok()) return count.error();
    return dump({{"input_tokens", *count}});
  });
  for (const char* path : {"/v1/embeddings", "/embeddings", "/api/embed", "/api/embeddings"}) {
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
                               {"total_slots", scheduler_->statistics().places},
                               {"tool_call_syntax", to_string(service_.tool_syntax())},
                               {"build_info", "flash-moe"}}));
  });
  post("/tokenize", [this](const Json& body) -> ApiResult<std::string> {
    Fields fields(body);
    std::optional<std::string> text = fields.text("content");
    if (!text) text = fields.text("prompt");
    const bool is_whole = fields.boolean("add_special").value_or(false);
    if (fields.error()) return *fields.error();
    if (!text) return bad_request("content", "content: is missing");
    const Result<std::vector<std::int32_t>> ids =
        is_whole ? engine_.tokenize_raw(*text) : engine_.tokenize(*text);
    if (!ids.ok()) return error_of(ids.status());
    return dump({{"tokens", *ids}});
  });
  post("/detokenize", [this](const Json& body) -> ApiResult<std::string> {
    Fields fields(body);
    const Json* const tokens = fields.array("tokens");
    std::vector<std::int32_t> ids;
    if (tokens != nullptr) {
      for (const Json& id : *tokens) {
        if (!id.is_number_integer() || id < 0 || id > 0x7fffffff) {
          fields.fail("tokens", "must be token ids");
          break;
        }
        ids.push_back(id.get<std::int32_t>());
      }
    } else {
      fields.fail("tokens", "is missing");
    }
    if (fields.error()) return *fields.error();
    const Result<std::string> text = engine_.detokenize(ids);
    if (!text.ok()) return error_of(text.status());
    return dump({{"content", *text}});
  });
  post("/apply-template", [this](const Json& body) -> ApiResult<std::string> {
    ApiResult<DialectRequest> wanted = read_openai_chat(body, card_.id);
    if (!wanted.ok()) return wanted.error();
    ApiResult<ChatPrompt> prompt =
        service_.render(std::get<ChatRequest>(wanted->wanted), /*add_generation_prompt=*/true);
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

void ModelEndpoints::add_ollama_routes() {
  generate("/api/chat", read_ollama_chat);
  generate("/api/generate", read_ollama_generate);
  routes_["/"]["GET"] = {
      .needs_key = false,
      .handle = [](const HttpRequest& request, const std::shared_ptr<Responder>& responder) {
        responder->send(root_response(request));
      }};
  get("/api/version", true, [] { return json_response(R"({"version":"0.12.0"})"); });
  for (const char* path : {"/api/tags", "/api/ps"}) {
    get(path, true, [this] { return json_response(dump(ollama_models_json(card_))); });
  }
  post("/api/show", [this](const Json&) -> ApiResult<std::string> {
    return dump(ollama_show_json(card_, engine_.info(), service_));
  });
}

}  // namespace

Result<std::unique_ptr<Endpoints>> Endpoints::create(Engine& engine, HttpServer& http,
                                                     const ServerOptions& options) {
  auto endpoints = std::make_unique<ModelEndpoints>(engine, http, options);
  FM_RETURN_IF_ERROR(endpoints->open());
  return std::unique_ptr<Endpoints>(std::move(endpoints));
}

}  // namespace flashmoe::server
